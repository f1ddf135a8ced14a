"""Aria-MIDI (Bradshaw and Colton, ICLR 2025): transcribed piano recordings, data/.../RECORDING_SEGMENT.mid.

metadata.json holds {recording: {"metadata": {composer, genre, opus ...}, "audio_scores": {segment: score}}}. No split
is published: the segments of a recording, and all recordings of a composer's opus and number, stay on one side.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import HubError
from hparams.datasets import AriaMidiHParams
from plugins import hookimpl
from plugins.datasets.midi_sets.files import Facts
from plugins.datasets.midi_sets.labelled import Labelled
from plugins.datasets.midi_sets.table import Words, words_of

NAME = re.compile(r"(\d+)_(\d+)")
WORK = ("composer", "opus", "piece_number")
FACTS = Facts(
    name="aria_midi",
    license="CC BY-NC-SA 4.0 (not for commercial use)",
    url="https://github.com/loubbrad/aria-midi",
    expected="the folder of aria-midi with data and metadata.json, or an archive of it (https://github.com/loubbrad/aria-midi)",
    takes=lambda path: NAME.fullmatch(Path(path).stem) is not None,
)


def metadata(path: Path, files: list[str]) -> Iterator[tuple[str, Words]]:
    """What metadata.json says of each file, with its segment's `audio_score`; HubError where it is another JSON."""
    try:
        found = {int(recording): about for recording, about in json.loads(path.read_text(encoding="utf-8")).items()}
        for file in files:
            recording, segment = map(int, Path(file).stem.split("_"))
            if recording in found:
                about, scores = found[recording]["metadata"], found[recording].get("audio_scores", {})
                yield file, words_of({**about, "audio_score": scores.get(str(segment))}, (*about, "audio_score"))
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise HubError(f"{path} is not aria-midi's metadata ({type(error).__name__}: {error})") from error


class AriaMidi(Labelled):
    """A segment of a recording is an item."""

    def __init__(self, path: str) -> None:
        super().__init__(FACTS, path, "metadata.json", metadata)

    def group(self, name: str) -> str:
        """The work that a file plays, where it is known exactly, else its recording."""
        work = [self.known[name].get(column, "") for column in WORK]
        return " ".join(work) if all(work) else f"recording {int(Path(name).stem.split('_')[0])}"


def build(hparams: AriaMidiHParams) -> AriaMidi:
    return AriaMidi(hparams.path)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("aria_midi", AriaMidiHParams, build)
