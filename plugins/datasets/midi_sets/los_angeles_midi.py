"""Los Angeles MIDI dataset (Lev, 2024): MIDI files named by their md5, which decides their side."""

from collections.abc import Callable

from hparams.datasets import LosAngelesMidiHParams
from plugins import hookimpl
from plugins.datasets.midi_sets.files import Facts, Files, by_md5

FACTS = Facts(
    name="los_angeles_midi",
    license="CC BY-NC-SA 4.0 (not for commercial use)",
    url="https://huggingface.co/datasets/projectlosangeles/Los-Angeles-MIDI-Dataset",
    expected="the folder of its MIDI files, or an archive of it",
    side=by_md5,
    split_binds=False,
)


def build(hparams: LosAngelesMidiHParams) -> Files:
    return Files(FACTS, hparams.path)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("los_angeles_midi", LosAngelesMidiHParams, build)
