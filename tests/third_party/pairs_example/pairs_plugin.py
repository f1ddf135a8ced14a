"""A tokenizer of two streams: each note is one token, the time since the note before and the pitch.

Stream 0: pad, bos, eos, then steps of a sixteenth since the onset before (0 to 31), then a rest of 32 steps.
Stream 1: nothing (beside a rest), then 128 pitches. Notes of one onset rise in pitch; a note lasts a quarter.
Shapes: b batch, v vocabulary of a stream.
"""

from dataclasses import dataclass
from typing import Literal

import pluggy
import symusic
import torch

hookimpl = pluggy.HookimplMarker("swaptunes")
STEPS, SIXTEENTH, BAR = 32, 120, 16
FIRST_STEP, REST, NOTHING, FIRST_PITCH = 3, 3 + STEPS, 0, 1


@dataclass(kw_only=True)
class PairsHParams:
    name: Literal["pairs"] = "pairs"


class Pairs:
    streams = 2
    vocab_sizes = (REST + 1, FIRST_PITCH + 128)
    vocab_size = vocab_sizes[0]
    pad_id, bos_id, eos_id = 0, 1, 2

    def __init__(self, hparams, folder=None):
        pass

    def encode(self, piece):
        score = piece.score
        tick = score.ticks_per_quarter
        notes = sorted({(round(4 * note.time / tick), note.pitch) for track in score.tracks for note in track.notes})
        ids, now = [], 0
        for onset, pitch in notes:
            while onset - now >= STEPS:
                ids.append([REST, NOTHING])
                now += STEPS
            ids.append([FIRST_STEP + onset - now, FIRST_PITCH + pitch])
            now = onset
        return ids

    def onsets(self, ids):
        """The onset of each token in steps, None where it is no note."""
        now = 0
        for step, pitch in ids:
            if step == REST:
                now += STEPS
            elif FIRST_STEP <= step < REST:
                now += step - FIRST_STEP
            yield now if FIRST_STEP <= step < REST and FIRST_PITCH <= pitch < FIRST_PITCH + 128 else None

    def decode(self, ids):
        found = zip(self.onsets(ids), ids)
        notes = sorted({(onset, pitch - FIRST_PITCH) for onset, (_, pitch) in found if onset is not None})
        score = symusic.Score(4 * SIXTEENTH)
        track = symusic.Track()
        for onset, pitch in notes:
            track.notes.append(symusic.Note(SIXTEENTH * onset, 4 * SIXTEENTH, pitch, 64))
        score.tracks.append(track)
        return Decoded(score)

    def token(self, id, stream):
        if stream:
            return "nothing" if id == NOTHING else f"pitch_{id - FIRST_PITCH}"
        return ["pad", "bos", "eos", *(f"timeshift_{step}" for step in range(STEPS)), "rest_32"][id]

    def fingerprint(self):
        return "pairs 1"

    def save(self, folder):
        (folder / "pairs.txt").write_text(self.fingerprint())

    def transpose_table(self, semitones):
        pitches = [pitch + semitones for pitch in range(128)]
        moved = [FIRST_PITCH + pitch if 0 <= pitch < 128 else -1 for pitch in pitches]
        return [list(range(self.vocab_sizes[0])), [NOTHING, *moved]]

    def bar_starts(self, ids):
        starts, bar = [], -1
        for at, onset in enumerate(self.onsets(ids)):
            if onset is not None and onset // BAR > bar:
                starts.append(at)
                bar = onset // BAR
        return starts

    def grammar(self, bars=0, length=0):
        if bars:
            raise ValueError("the grammar of pairs counts no bars")
        return PairsGrammar()


class Decoded:
    def __init__(self, score):
        self.score = score


class PairsGrammar:
    """State (b): the last token's pitch (0: none), and whether it was a note."""

    def begin(self, batch):
        zero = torch.zeros(batch, dtype=torch.int64)
        return {"pitch": zero, "note": zero}

    def allowed(self, state, known=None):
        if known is None:
            allowed = torch.zeros(len(state["note"]), Pairs.vocab_sizes[0], dtype=torch.bool)
            allowed[:, FIRST_STEP:] = True
            highest = (state["note"] == 1) & (state["pitch"] == FIRST_PITCH + 127)
            allowed[:, FIRST_STEP] &= ~highest
            allowed[:, 2] = state["note"] == 1
            return allowed
        pitch = torch.arange(Pairs.vocab_sizes[1])
        rest, together = known[:, :1] == REST, (known[:, :1] == FIRST_STEP) & (state["note"] == 1)[:, None]
        above = pitch > torch.where(together, state["pitch"][:, None], torch.zeros_like(rest, dtype=torch.int64))
        return torch.where(rest, pitch == NOTHING, above & (pitch >= FIRST_PITCH))

    def advance(self, state, ids):
        return {"pitch": ids[:, 1], "note": (ids[:, 0] != REST).long()}


def build(hparams, folder=None):
    return Pairs(hparams, folder)


@hookimpl
def register_tokenizers(register):
    register("pairs", PairsHParams, build)
