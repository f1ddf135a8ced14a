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
SHAPE = '{"RECORDING": {"metadata": {"composer": ...}, "audio_scores": {"SEGMENT": 0.9}}, ...}'
WORK = ("composer", "opus", "piece_number")
FACTS = Facts(
    name="aria_midi",
    license="CC BY-NC-SA 4.0 (not for commercial use)",
    url="https://github.com/loubbrad/aria-midi",
    expected="the folder of aria-midi with data and metadata.json, or an archive of it (https://github.com/loubbrad/aria-midi)",
    takes=lambda path: NAME.fullmatch(Path(path).stem) is not None,
    leaves="not named RECORDING_SEGMENT.mid",
)


def metadata(path: Path, files: list[str]) -> Iterator[tuple[str, Words]]:
    """What metadata.json says of each file, with its segment's `audio_score`; HubError where it is another JSON."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _other(path, f"it is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise _other(path, f"it is {json.dumps(found)[:40]}")
    strange = [name for name in found if not name.isdecimal()]
    if strange:
        raise _other(path, f"{strange[0]!r} is no number of a recording")
    told = {int(name): about for name, about in found.items()}
    for file in files:
        recording, segment = map(int, Path(file).stem.split("_"))
        about = told.get(recording)
        if about is not None:
            parts = about if isinstance(about, dict) else {}
            words, scores = parts.get("metadata"), parts.get("audio_scores", {})
            if not isinstance(words, dict) or not isinstance(scores, dict):
                raise _other(path, f"of {recording} it says {json.dumps(about)[:60]}")
            yield file, words_of({**words, "audio_score": scores.get(str(segment))}, (*words, "audio_score"))


def _other(path: Path, why: str) -> HubError:
    return HubError(f"{path} is not aria-midi's metadata: {why}; expected {SHAPE}; fetch it again")


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
