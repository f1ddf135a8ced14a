"""MidiCaps (Melechovsky, Roy and Herremans, arXiv 2406.02255): files of Lakh MIDI with captions in train.json.

A line of train.json is an object with `location` (lmd_full/1/MD5.mid), `caption`, `test_set` and musical features.
What is called its test set tests; of the rest, md5s that begin with e validate, as in Lakh. A file without a line is
left out.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from core.contracts.dataset import Split
from core.errors import HubError
from core.log import logger
from core.words import agree, counted
from hparams.datasets import MidiCapsHParams
from plugins import hookimpl
from plugins.datasets.midi_sets.files import Facts
from plugins.datasets.midi_sets.labelled import Labelled
from plugins.datasets.midi_sets.lakh import MD5
from plugins.datasets.midi_sets.table import Words, words_of

SHAPE = 'expected an object a line, {"location": "lmd_full/0/MD5.mid", "caption": ...}; mend it or fetch it again'
LISTS = ("genre", "mood")  # the likeliest first, which alone is taken
COLUMNS = (
    *("caption", "test_set", "key", "time_signature", "tempo", "tempo_word", "duration", "duration_word"),
    *("chord_summary", "instrument_summary"),
)
FACTS = Facts(
    name="midicaps",
    license="CC BY-SA 4.0 (the captions; the songs are mostly commercial music)",
    url="https://huggingface.co/datasets/amaai-lab/MidiCaps",
    expected="train.json beside midicaps.tar.gz or its folder lmd_full (https://huggingface.co/datasets/amaai-lab/MidiCaps)",
    takes=lambda path: MD5.fullmatch(Path(path).stem) is not None,
    leaves="not named by an md5",
)


def captions(path: Path, files: list[str]) -> Iterator[tuple[str, Words]]:
    """What train.json says of each file that is there; HubError naming a line that is no caption."""
    places, seen, lost = {Path(file).stem.lower(): file for file in files}, set[str](), 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not line.strip():
                continue
            try:
                name, words = _caption(line)
            except ValueError as error:
                raise HubError(f"{path}: line {number} {error}") from error
            if name in seen:
                raise HubError(f"{path}: line {number} tells of {name} again; expected one line for each file")
            seen.add(name)
            lost += name not in places
            if name in places:
                yield places[name], words
    if lost:
        told = f"{counted(lost, 'file')} that {agree(lost, 'is', 'are')} not there"
        logger.warning("%s tells of %s, of %d", path.name, told, len(seen))


def _caption(line: bytes) -> tuple[str, Words]:
    """The md5 that a line tells of, and what it says; ValueError where it is of another shape."""
    try:
        found = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no caption: no JSON ({error}); {SHAPE}") from error
    if not isinstance(found, dict) or not isinstance(found.get("location"), str):
        keys = f"has no location, but {', '.join(list(found)[:4]) or 'nothing'}" if isinstance(found, dict) else ""
        raise ValueError(f"is no caption: it {keys or f'is {json.dumps(found)[:40]}'}; {SHAPE}")
    first = {column: found[column][0] for column in LISTS if isinstance(found.get(column), list) and found[column]}
    return Path(found["location"]).stem.lower(), words_of({**found, **first}, (*COLUMNS, *LISTS))


class MidiCaps(Labelled):
    """A file with a caption is an item."""

    def __init__(self, path: str) -> None:
        super().__init__(FACTS, path, "train.json", captions)

    def side(self, name: str) -> Split:
        """The side of a file below the root."""
        if self.known[name].get("test_set") == "True":
            return "test"
        return "valid" if Path(name).stem.lower().startswith("e") else "train"


def build(hparams: MidiCapsHParams) -> MidiCaps:
    return MidiCaps(hparams.path)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("midicaps", MidiCapsHParams, build)
