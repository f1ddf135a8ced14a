"""ASAP (Foscarin et al., 2020): performances aligned with scores of the same piano works.

All performances of a work, and its score, stay on one side; by default the performances are read."""

from collections.abc import Callable
from pathlib import Path

from hparams.datasets import AsapHParams
from plugins import hookimpl
from plugins.datasets.midi_sets.files import Facts, Files

FACTS = Facts(
    name="asap",
    license="CC BY-NC-SA 4.0 (not for commercial use)",
    url="https://github.com/fosfrancesco/asap-dataset",
    expected="the folder asap-dataset, with composers, works and their MIDI files",
    takes=lambda path: "/" in path and Path(path).stem != "midi_score",
    leaves="scores (midi_score.mid), or outside of a work's folder",
    group=lambda path: str(Path(path).parent.as_posix()),
)


def build(hparams: AsapHParams) -> Files:
    return Files(FACTS, hparams.path)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("asap", AsapHParams, build)
