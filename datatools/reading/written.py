"""Music as a score writes it, whatever the format: bars of notes whose ties, repeats and grace notes are still signs.

Times are whole numbers of `1 / unit` quarters, from the beginning of the bar; all parts' bars begin together.
"""

from dataclasses import dataclass, field

from datatools.reading.repeats import Signs

VELOCITY = 80  # of a note whose loudness the file does not give
GRACES = 12  # grace notes that fit into a quarter


def rounded(over: int, below: int) -> int:
    """The whole number nearest to `over / below`; of two the even one."""
    whole, rest = divmod(2 * over + below, 2 * below)
    return whole - (rest == 0 and whole % 2)


@dataclass(slots=True)
class Note:
    """A note head: `part` and `voice` tell what a tie may join, `track` where it goes."""

    start: int
    length: int
    pitch: int
    part: int
    voice: str
    track: int
    velocity: int = VELOCITY
    begins_tie: bool = False
    ends_tie: bool = False


@dataclass(slots=True)
class Mark:
    """A tempo (quarters a minute), a meter (beats, unit) or a key (sharps, whether minor)."""

    start: int
    kind: str
    value: tuple[float, ...]


@dataclass(slots=True)
class Bar:
    """One bar of all parts: how long its notes and rests last, and the signs that say what is played next.

    `reach` is how far the bar is written as filled, be it by nothing: a bar filled so is no pick-up. `filled` is how
    far each part fills it with notes and rests, where the format lets parts differ.
    """

    length: int = 0
    reach: int = 0
    filled: dict[int, int] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    signs: Signs = field(default_factory=Signs)


@dataclass(frozen=True, slots=True)
class Track:
    """What a track is called and played on (General MIDI program 0 to 127)."""

    name: str
    program: int
    is_drum: bool


@dataclass
class Written:
    """A whole score; `order` is how the bars are played where the file says so by name, else their signs tell.

    `heads` counts the note heads of each bar, found by a way of its own, for the guard; `silent` those of them that are
    no sound, by bar.
    """

    title: str
    unit: int
    tracks: list[Track]
    bars: list[Bar]
    heads: list[int]
    silent: list[int]
    order: list[int] | None = None
    remarks: list[str] = field(default_factory=list)
