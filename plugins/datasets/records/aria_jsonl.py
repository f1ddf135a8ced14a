"""What EleutherAI's aria keeps MIDI in: a JSON object a line, its messages by kind, with times in ticks.

Keys: ticks_per_beat; note_msgs, of which each has a channel and data {pitch, start, end, velocity}; tempo_msgs (data in
microseconds a quarter), instrument_msgs (data a program) and pedal_msgs (data 1 or 0), each with a tick and all but the
first with a channel. meta_msgs and metadata are not read. Channel 9 is drums.
"""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np
import symusic

from core.contracts.piece import Piece
from datatools.reading.scores import piece_from_score
from hparams.datasets import AriaJsonlHParams
from plugins import hookimpl
from plugins.datasets.records.lines import Format, Lines

DRUMS = 9
MOST_TICKS = 2**31 - 1
EXPECTED = 'expected an object a line with "note_msgs" and "ticks_per_beat", as aria writes it'


def read(text: str, source: str) -> Piece:
    """The music of a line; ValueError for another one, and for a message out of range."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON ({error}); {EXPECTED}") from error
    if not isinstance(found, dict) or not {"note_msgs", "ticks_per_beat"} <= found.keys():
        raise ValueError(f"it is {json.dumps(found)[:60]}; {EXPECTED}")
    try:
        score = _score(found)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"a message of it is another ({type(error).__name__}: {error}); {EXPECTED}") from error
    return piece_from_score(score, source=source, sha256=sha256(text.encode("utf-8", "surrogatepass")).hexdigest())


def _score(found: dict[str, Any]) -> symusic.Score:
    score = symusic.Score(_within(found["ticks_per_beat"], 1, 2**15 - 1, "ticks_per_beat"))
    programs: dict[int, list[tuple[int, int]]] = defaultdict(list)  # by channel, (tick, program)
    for message in found.get("instrument_msgs", []):
        program = _within(message["data"], 0, 127, "a program")
        programs[message["channel"]].append((_within(message["tick"], 0, MOST_TICKS, "a tick"), program))
    for changes in programs.values():
        changes.sort(key=lambda change: change[0])
    notes: dict[tuple[int, int], list[tuple[int, int, int, int]]] = defaultdict(list)  # by channel and program
    for message in found["note_msgs"]:
        note, channel = message["data"], message["channel"]
        start = _within(note["start"], 0, MOST_TICKS, "a note's start")
        end = _within(note["end"], start, MOST_TICKS, "a note's end")
        changes = programs[channel]
        told = bisect_right(changes, start, key=lambda change: change[0])
        program = changes[told - 1][1] if told else 0
        pitch, velocity = _within(note["pitch"], 0, 127, "a pitch"), _within(note["velocity"], 0, 127, "a velocity")
        notes[channel, program].append((start, end - start, pitch, velocity))
    for (channel, program), rows in sorted(notes.items()):
        track = symusic.Track("", program, channel == DRUMS)
        times, durations, pitches, velocities = np.array(rows, dtype=np.int32).T
        track.notes = symusic.Note.from_numpy(
            time=times.copy(),
            duration=durations.copy(),
            pitch=pitches.astype(np.int8),
            velocity=velocities.astype(np.int8),
        )
        track.pedals.extend(_pedals(found.get("pedal_msgs", []), channel, int((times + durations).max())))
        score.tracks.append(track)
    for message in found.get("tempo_msgs", []):
        tempo = _within(message["data"], 1, 2**24 - 1, "a tempo")
        score.tempos.append(symusic.Tempo(_within(message["tick"], 0, MOST_TICKS, "a tick"), mspq=tempo))
    return score.sort()


def _pedals(messages: list[Any], channel: int, end: int) -> list[symusic.Pedal]:
    """From each pedal that is pressed to where it is let go, to the `end` of the notes where it never is."""
    pedals: list[symusic.Pedal] = []
    pressed: int | None = None
    own = (message for message in messages if message["channel"] == channel)
    for message in sorted(own, key=lambda message: _within(message["tick"], 0, MOST_TICKS, "a tick")):
        if message["data"] and pressed is None:
            pressed = message["tick"]
        elif not message["data"] and pressed is not None:
            pedals.append(symusic.Pedal(pressed, message["tick"] - pressed))
            pressed = None
    if pressed is not None and pressed < end:
        pedals.append(symusic.Pedal(pressed, end - pressed))
    return pedals


def _within(value: Any, least: int, most: int, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{what} is {json.dumps(value)[:40]}; expected a whole number from {least} to {most}")
    return value


FORMAT = Format(
    name="aria_jsonl",
    license="unknown: that of the files it was made of",
    url="https://github.com/EleutherAI/aria",
    expected="a JSONL file that aria wrote, or the folder of such files",
    extensions=frozenset({".jsonl"}),
    split=None,
    read=read,
)


def build(hparams: AriaJsonlHParams) -> Lines:
    return Lines(FORMAT, hparams.path)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("aria_jsonl", AriaJsonlHParams, build)
