"""Hyper-parameters of the tokenizer pertok."""

from bisect import bisect
from dataclasses import dataclass
from typing import Literal

from hparams.base import require
from hparams.tokenizers.note_tokens import NotesOnlyHParams

BEATS = 4  # in a bar


@dataclass(kw_only=True)
class PerTokHParams(NotesOnlyHParams):
    """PerTok (Lemonaide) of MidiTok: bars, coarse time shifts, and how far each note is off them.

    MidiTok's steps of microtiming must be equal and meet the grid of `beat_res` here; with others a note would move
    each time that it is written and read.
    """

    # Ticks in a quarter.
    ticks_per_quarter: int = 480
    # Whether notes tell how far they are off the grid; without, they are put on it.
    use_microtiming: bool = True
    # How far off a note may be, in quarters.
    max_microtiming_shift: float = 0.05
    # Steps from the earliest to the latest; with the middle there is one token more.
    num_microtiming_bins: int = 12
    name: Literal["pertok"] = "pertok"

    def __post_init__(self) -> None:
        super().__post_init__()
        ticks = self.ticks_per_quarter
        require(24 <= ticks <= 9600, "tokenizer.ticks_per_quarter", ticks, "24 to 9600 ticks")
        finest = max(self.beat_res.values())
        require(
            ticks % finest == 0, "tokenizer.ticks_per_quarter", ticks, f"a multiple of {finest} (tokenizer.beat_res)"
        )
        bins, reach = self.num_microtiming_bins, self.max_microtiming_shift
        if self.use_microtiming:
            key, step = "tokenizer.num_microtiming_bins", ticks // finest
            require(bins >= 2 and bins % 2 == 0, key, bins, "an even number, so that one is no shift at all")
            most = round(reach * ticks)
            whole = most > 0 and int(reach * ticks) == most and abs(reach * ticks - most) < 1e-6
            wanted = f"a share of a quarter that makes whole ticks of {ticks}"
            require(whole, "tokenizer.max_microtiming_shift", reach, wanted)
            unit = 2 * most // bins
            even = 2 * most % bins == 0 and step % unit == 0
            wanted = f"a number that cuts {2 * most} ticks into equal steps of which several make {step} (a position)"
            require(even, key, bins, wanted)
        untold = _untold(self)
        require(
            untold is None,
            "tokenizer.beat_res",
            dict(self.beat_res),
            f"stretches by which, with max_microtiming_shift, every place in 4 beats is told ({untold} ticks is not)",
        )

    @property
    def unit(self) -> int:
        """Ticks between two onsets that can be told apart."""
        if not self.use_microtiming:
            return self.ticks_per_quarter // max(self.beat_res.values())
        return 2 * round(self.max_microtiming_shift * self.ticks_per_quarter) // self.num_microtiming_bins


def _untold(hparams: PerTokHParams) -> int | None:
    """The first number of ticks within a bar that no shift comes near to; None where there is none."""
    ticks = hparams.ticks_per_quarter
    shifts = [0]
    for stretch, positions in sorted(hparams.beat_res.items(), key=lambda item: int(item[0].partition("_")[0])):
        start, _, end = stretch.partition("_")
        shifts += [
            beat * ticks + place * ticks // positions
            for beat in range(int(start), int(end))
            for place in range(positions)
        ]
    shifts = sorted(set(shifts))
    reach = round(hparams.max_microtiming_shift * ticks) if hparams.use_microtiming else 0
    for time in range(0, BEATS * ticks - shifts[1] // 2 + 1, hparams.unit):
        at = bisect(shifts, time)
        if min(abs(time - shift) for shift in shifts[at - 1 : at + 1]) > reach:
            return time
    return None
