"""From notes on the grid to PerTok's base ids and back.

Shapes: n notes, l ids.
"""

import numpy as np

from plugins.tokenizers.note_tokens.decoder import KINDS, ShiftDecoder
from plugins.tokenizers.note_tokens.effects import Vocabulary
from plugins.tokenizers.note_tokens.encoder import Encoder
from plugins.tokenizers.note_tokens.grid import Array
from plugins.tokenizers.note_tokens.quantise import Music
from plugins.tokenizers.pertok.steps import Steps


class MicroEncoder(Encoder):
    """Each note behind the bars and the shift that lead near to it."""

    def __init__(self, vocabulary: Vocabulary, steps: Steps) -> None:
        super().__init__(vocabulary)
        self.steps = steps
        self.shifts = {ticks: self.id[f"TimeShift_{name}"] for name, ticks in steps.lengths.items()}
        self.behind = 1 + (vocabulary.grid.programs is not None)  # where in a note its microtiming stands

    def __call__(self, music: Music) -> tuple[Array, Array]:
        """Base ids (l,) of music with notes, and the ticks (l,) of the places that they tell."""
        steps, bar_id = self.steps, self.id["Bar_None"]
        notes = self.notes(music)
        ids: list[int] = []
        ticks: list[int] = []
        place, bar = 0, 0
        for time, note in zip(notes.ticks.tolist(), notes.ids.tolist(), strict=True):
            while time > (bar + 1) * steps.bar - steps.least:
                bar += 1
                place = bar * steps.bar
                ids.append(bar_id)
                ticks.append(place)
            shift = steps.nearest[time - place] if time > place else 0
            if shift:
                place += shift
                ids.append(self.shifts[shift])
            if steps.micro:
                note.insert(self.behind, self.id[f"MicroTiming_{time - place}"])
            ids += note
            ticks += [place] * (len(ids) - len(ticks))
        return np.array(ids, dtype=np.int64), np.array(ticks, dtype=np.int64)


class MicroDecoder(ShiftDecoder):
    """A bar begins where its number says, a shift goes on from the place told last, and a note is off it."""

    def __init__(self, vocabulary: Vocabulary, steps: Steps) -> None:
        super().__init__(vocabulary)
        self.length, self.micro = steps.bar, steps.micro
        self.behind = 1 + steps.micro

    def times(self, ids: Array, kinds: Array, meter: Array) -> Array:
        """Ticks (l,) of the place told last, and of a note with what it is off."""
        bars = kinds == KINDS.index("Bar")
        shifts = np.cumsum(np.where(kinds == KINDS.index("TimeShift"), self.lengths[0, ids], 0))
        numbers = np.cumsum(bars)
        before = np.concatenate(([0], shifts[bars]))[numbers]
        ticks: Array = numbers * self.length + shifts - before
        if self.micro:
            off = np.where(kinds == KINDS.index("MicroTiming"), self.values[ids], 0)
            ticks[:-1] += np.where(kinds[:-1] <= KINDS.index("PitchDrum"), off[1:], 0)
        return ticks

    def notes(self, ids: Array, kinds: Array, meter: Array, ticks: Array) -> tuple[Array, Array]:
        """Places (n,) of the pitches of whole notes, and their durations (n,) in ticks."""
        places, durations = super().notes(ids, kinds, meter, ticks)
        if self.micro:
            whole = kinds[places + 1] == KINDS.index("MicroTiming")
            places, durations = places[whole], durations[whole]
        return places, durations
