"""A control: how high a piece lies, the mean pitch of its notes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pluggy


@dataclass(kw_only=True)
class RegisterHParams:
    name: Literal["register"] = "register"
    # Semitones that one unit of the vector stands for.
    unit: float = 12.0


class Register:
    dim = 1
    numbers = range(40, 89, 4)  # what `evaluate` asks for, to say how far it is followed

    def __init__(self, hparams):
        self.unit = hparams.unit

    def vector(self, pitch):
        return np.array([(pitch - 60) / self.unit], dtype=np.float32)

    def of(self, piece, ids, tokenizer):
        return self.vector(np.mean([note.pitch for track in piece.score.tracks for note in track.notes]))

    def number(self, vectors):
        return vectors[..., 0] * self.unit + 60

    def parse(self, text):
        if not text.strip().isdigit() or not 0 <= int(text) <= 127:
            raise ValueError(f"register is {text!r}; expected {self.describe()}")
        return self.vector(int(text))

    def describe(self):
        return "the mean pitch, a whole number from 0 to 127, e.g. 64"

    def transposed(self, vector, semitones):
        return vector + np.float32(semitones / self.unit)


@pluggy.HookimplMarker("swaptunes")
def register_controls(register):
    register("register", RegisterHParams, Register)
