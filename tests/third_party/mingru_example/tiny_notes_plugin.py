"""A tiny tokenizer: the wait since the last onset, a pitch and a duration, all on a grid of sixteenths.

It offers every optional part of the contract. Shapes: b batch, v vocabulary.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pluggy
import symusic
import torch

GRID = 120  # ticks in a sixteenth
NAMES = ["pad", "bos", "eos"]
NAMES += [f"{kind}_{value}" for kind, count in (("wait", 16), ("pitch", 128), ("long", 32)) for value in range(count)]
WAIT, PITCH, LONG = (NAMES.index(f"{kind}_0") for kind in ("wait", "pitch", "long"))


@dataclass(kw_only=True)
class TinyNotesHParams:
    name: Literal["tiny_notes"] = "tiny_notes"
    # Velocity of every note that is decoded.
    velocity: int = 80


class TinyNotes:
    vocab_size, pad_id, bos_id, eos_id, streams = len(NAMES), 0, 1, 2, 1

    def __init__(self, velocity):
        self.velocity = velocity

    def encode(self, piece):
        sixteenth = piece.score.ticks_per_quarter / 4
        notes = {
            (round(note.time / sixteenth), note.pitch): min(32, max(1, round(note.duration / sixteenth)))
            for track in piece.score.tracks
            for note in track.notes
        }
        ids, now = [], 0
        for (onset, pitch), duration in sorted(notes.items()):
            while onset > now:
                ids.append(WAIT + min(15, onset - now - 1))
                now = min(onset, now + 16)
            ids += [PITCH + pitch, LONG + duration - 1]
        return ids

    def decode(self, ids):
        score, notes, now, pitch = symusic.Score(4 * GRID), {}, 0, None
        for id in ids:
            if WAIT <= id < PITCH:
                now += id - WAIT + 1
            elif PITCH <= id < LONG:
                pitch = id - PITCH
            elif LONG <= id < len(NAMES) and pitch is not None:
                notes[now, pitch] = id - LONG + 1
                pitch = None
        score.tracks.append(symusic.Track())
        for (onset, pitch), duration in sorted(notes.items()):
            score.tracks[0].notes.append(symusic.Note(GRID * onset, GRID * duration, pitch, self.velocity))
        return SimpleNamespace(score=score)

    def token(self, id):
        return NAMES[id]

    formats = ("musicxml",)

    def train(self, pieces):
        """There is nothing to learn."""

    def kind_of(self, id):
        return {"wait": "onset", "pitch": "pitch", "long": "duration"}.get(NAMES[id].partition("_")[0], "other")

    def opening(self, ids):
        return list(ids)

    def bar_starts(self, ids):
        starts, now, bar = [], 0, -1
        for at, id in enumerate(ids):
            if WAIT <= id < PITCH:
                now += id - WAIT + 1
            elif PITCH <= id < LONG and now // 16 > bar:
                starts, bar = [*starts, at], now // 16
        return starts

    def transpose_table(self, semitones):
        table = list(range(len(NAMES)))
        for pitch in range(128):
            table[PITCH + pitch] = PITCH + pitch + semitones if 0 <= pitch + semitones < 128 else -1
        return table

    def velocity_table(self, steps):
        return list(range(len(NAMES)))  # no token tells it

    def tempo_table(self, factor):
        return list(range(len(NAMES)))

    def grammar(self, bars=0, length=0):
        if bars:
            raise ValueError("this grammar does not count bars")
        return TinyGrammar()

    def fingerprint(self):
        return hashlib.sha256(f"{NAMES} {self.velocity}".encode()).hexdigest()

    def save(self, folder):
        (folder / "velocity.txt").write_text(str(self.velocity))


class TinyGrammar:
    """Waits, the shorter one last; then notes of rising pitch. State: the last id and pitch (b,)."""

    def begin(self, batch):
        return {"last": torch.full((batch,), 1), "pitch": torch.full((batch,), -1)}

    def allowed(self, state):
        last, pitch, ids = state["last"][:, None], state["pitch"][:, None], torch.arange(len(NAMES))
        waits, pitches, longs = (ids >= WAIT) & (ids < PITCH), (ids >= PITCH) & (ids < LONG), ids >= LONG
        within, waited = (last >= PITCH) & (last < LONG), (last >= WAIT) & (last < PITCH - 1)
        allowed = torch.where(within, longs, (waits & ~waited) | (pitches & (ids > PITCH + pitch)))
        return allowed | ((ids == 2) & (last >= LONG))  # b v

    def advance(self, state, ids):
        waits, pitches = (ids >= WAIT) & (ids < PITCH), (ids >= PITCH) & (ids < LONG)
        return {"last": ids, "pitch": torch.where(pitches, ids - PITCH, torch.where(waits, -1, state["pitch"]))}


def build(hparams, folder=None):
    return TinyNotes(int((Path(folder) / "velocity.txt").read_text()) if folder else hparams.velocity)


@pluggy.HookimplMarker("swaptunes")
def register_tokenizers(register):
    register("tiny_notes", TinyNotesHParams, build)
