"""A score in the JSON of MIREX's music generation task: start, pitch and duration of each note, in sixteenths.

A prompt is steps 0 to 79 (a bar of upbeat and four bars), its continuation steps 80 to 271 (twelve bars).
"""

import json
from typing import Any

import symusic

STEPS = 4  # a quarter
PROMPT_END, END = 80, 272


def notes(score: symusic.Score) -> list[dict[str, int]]:
    """Every note on the grid of sixteenths, drums left out, by start and pitch; none shorter than one step."""
    found = []
    for track in score.tracks:
        if track.is_drum:
            continue
        for note in track.notes:
            start, end = (round(t * STEPS / score.ticks_per_quarter) for t in (note.time, note.time + note.duration))
            found.append({"start": start, "pitch": note.pitch, "duration": max(end - start, 1)})
    return sorted(found, key=lambda note: (note["start"], note["pitch"]))


def text(score: symusic.Score, key: str = "generation") -> str:
    """`{"generation": [...]}`, the notes that begin in steps 80 to 271, or `{"prompt": [...]}`, those before."""
    low, high = (0, PROMPT_END) if key == "prompt" else (PROMPT_END, END)
    return json.dumps({key: [note for note in notes(score) if low <= note["start"] < high]}) + "\n"


def score(tree: Any) -> symusic.Score:
    """The score that a MIREX document tells; ValueError naming what is missing."""
    listed = (
        [note for key in ("prompt", "generation") for note in (tree.get(key) or [])] if isinstance(tree, dict) else []
    )
    if not listed:
        raise ValueError('it has no notes under "prompt" or "generation"')
    result = symusic.Score(STEPS)
    track = symusic.Track()
    for note in listed:
        try:
            start, pitch, duration = (int(note[key]) for key in ("start", "pitch", "duration"))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the note {note!r} lacks start, pitch or duration") from error
        track.notes.append(symusic.Note(start, duration, pitch, 80))
    result.tracks.append(track)
    return result
