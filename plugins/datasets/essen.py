"""The Essen folk song collection (Schaffrath & Huron), from the corpus of music21, as ABC."""

from collections.abc import Callable

from hparams.datasets import EssenHParams
from plugins import hookimpl
from plugins.datasets.folk_tunes import CorpusTunes


def build(hparams: EssenHParams) -> CorpusTunes:
    return CorpusTunes("essen", "essen 1: every tune of every .abc file of essenFolksong", ("essenFolksong",))


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("essen", EssenHParams, build)
