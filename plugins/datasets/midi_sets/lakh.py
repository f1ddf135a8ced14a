"""Lakh MIDI (Raffel 2016): LMD-full, named by md5, and LMD-matched, whose songs have folders of their versions.

The split is that of the files' md5, as the field has it (e validates, f tests), and a song's versions stay together. In
LMD-matched it is their folder's name (a track of the Million Song Dataset) that decides, by the hub's own rule; in
LMD-full the md5 of the version that comes first decides for those that are near to it."""

import re
from collections.abc import Callable
from pathlib import Path

from hparams.datasets import LakhHParams
from plugins import hookimpl
from plugins.datasets.midi_sets.files import Facts, Files, by_md5

MD5 = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
TRACK = re.compile(r"TR[A-Z0-9]{16}")


def song(path: str) -> str:
    """The track that a file of LMD-matched is a version of; empty in LMD-full."""
    folder = Path(path).parent.name
    return folder if TRACK.fullmatch(folder) else ""


FACTS = Facts(
    name="lakh",
    license="CC BY 4.0 (the collection; the songs are mostly commercial music)",
    url="https://colinraffel.com/projects/lmd/",
    expected="the folder lmd_full or lmd_matched, or an archive of either (https://colinraffel.com/projects/lmd/)",
    takes=lambda path: MD5.fullmatch(Path(path).stem) is not None,
    leaves="not named by an md5",
    group=song,
    side=lambda path: None if song(path) else by_md5(path),
    split_binds=False,
)


def build(hparams: LakhHParams) -> Files:
    return Files(FACTS, hparams.path)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("lakh", LakhHParams, build)
