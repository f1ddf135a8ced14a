"""The Nottingham music database: dance tunes with chords, as ABC or as MIDI."""

from collections.abc import Callable

from hparams.datasets import NottinghamHParams
from plugins import hookimpl
from plugins.datasets.midi_sets.files import Facts, Files

FACTS = Facts(
    name="nottingham",
    license="GPL 3 (Foxley's collection, as jukedeck cleaned it)",
    url="https://github.com/jukedeck/nottingham-dataset",
    expected="the folder nottingham-dataset with ABC_cleaned, or a folder of its ABC or MIDI files",
    extensions=frozenset({".abc", ".mid"}),
    takes=lambda path: "ABC_cleaned" in path or not path.startswith(("ABC/", "MIDI/")),
    leaves="in ABC or MIDI, which hold the tunes of ABC_cleaned again",
)


def build(hparams: NottinghamHParams) -> Files:
    return Files(FACTS, hparams.path)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("nottingham", NottinghamHParams, build)
