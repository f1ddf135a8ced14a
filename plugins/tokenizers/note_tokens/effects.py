"""What each token of REMI and TSD does to the automaton of their grammar, byte pairs included, computed once.

A byte pair is played through base token by base token, from every phase and under every meter it may meet. Times are
in ticks, counted from where the token finds the music ("now") or, once it has told a bar or a position, from the
beginning of the bar it finds (the "anchor"). A key is a pitch of an instrument: 128 times the instrument's rank among
the program numbers, drums last, plus the pitch; at one onset keys rise.
"""

from dataclasses import dataclass, field
from enum import IntEnum, auto

from plugins.tokenizers.note_tokens.grid import Grid, Meter

NEVER = 2**30  # a key or position beyond all others
AS_FOUND = -3  # stands for what a token leaves as it is
HEAD = -2  # stands for the key of the pitch that a token begins with, whose program was told before


class Phase(IntEnum):
    """What has been said last."""

    START = 0
    BAR = auto()  # a bar, whose meter must follow
    METER = auto()  # remi: a bar and its meter; tsd: a meter
    TIME = auto()  # a position or time shift
    TEMPO = auto()
    KEY = auto()  # a key signature
    PROGRAM = auto()
    DRUMS = auto()  # the program of drums, where they have pitches of their own
    PITCH = auto()  # a pitch, whose velocity must follow
    VELOCITY = auto()  # a pitch, with its velocity if those are told: a duration must follow
    NOTE = auto()  # a whole note


@dataclass(frozen=True)
class Vocabulary:
    """The base tokens and what they mean."""

    names: tuple[str, ...]
    grid: Grid
    bars: bool  # remi: bars and positions; else tsd: time shifts
    velocities: bool
    drum_tokens: bool
    ticks: dict[int, dict[str, int]]  # unit -> duration or time shift -> ticks
    shift_each: bool = False  # structured: a time shift before each note, of nought too

    @property
    def ranks(self) -> dict[int, int]:
        """Rank of each program; drums last."""
        programs = self.grid.programs if self.grid.programs is not None else {0}
        return {program: rank for rank, program in enumerate(sorted(programs, key=lambda p: (p < 0, p)))}

    @property
    def meters(self) -> tuple[Meter, ...]:
        """The meters, and at the end the 4/4 that holds before any is told."""
        return (*self.grid.meters, (4, 4))

    def follow(self, phase: Phase, name: str) -> Phase | None:
        """The phase after a base token; None where it may not stand."""
        kind, _, value = name.partition("_")
        event = phase in self._events
        if kind == "Bar":
            after = Phase.BAR if self.grid.meters else Phase.METER
            return after if phase in (Phase.START, Phase.METER, Phase.TEMPO, Phase.KEY, Phase.NOTE) else None
        if kind == "Position":
            return Phase.TIME if phase in (Phase.METER, Phase.TEMPO, Phase.KEY, Phase.NOTE) else None
        if kind == "TimeShift":
            fits = phase in (Phase.START, Phase.NOTE) if self.shift_each else event
            return Phase.TIME if fits else None
        if kind == "TimeSig":
            return Phase.METER if phase in ((Phase.BAR,) if self.bars else self._opening) else None
        if kind == "Tempo":
            return Phase.TEMPO if event and phase not in (Phase.TEMPO, Phase.KEY, Phase.NOTE) else None
        if kind == "KeySig":
            return Phase.KEY if event and phase not in (Phase.KEY, Phase.NOTE) else None
        if kind == "Program":
            after = Phase.DRUMS if value == "-1" and self.drum_tokens else Phase.PROGRAM
            return after if event else None
        if kind in ("Pitch", "PitchDrum"):
            told = event if self.grid.programs is None else phase is Phase.PROGRAM
            low, high = self.grid.drum_pitches
            fits = told if kind == "Pitch" else phase is Phase.DRUMS and low <= int(value) <= high
            return (Phase.PITCH if self.velocities else Phase.VELOCITY) if fits else None
        if kind == "Velocity":
            return Phase.VELOCITY if phase is Phase.PITCH else None
        if kind == "Duration":
            return Phase.NOTE if phase is Phase.VELOCITY else None
        return None

    @property
    def _opening(self) -> tuple[Phase, ...]:
        """Where tsd may tell a meter."""
        return (Phase.START, Phase.TIME) if self.grid.meters else ()

    @property
    def _events(self) -> tuple[Phase, ...]:
        """Where something that happens now may be told."""
        if self.shift_each:
            return (Phase.TIME,)
        phases = (Phase.TIME, Phase.TEMPO, Phase.KEY, Phase.NOTE)
        if self.bars:
            return phases
        return (*phases, Phase.METER) if self.grid.meters else (*phases, Phase.START)

    @property
    def keys(self) -> list[int]:
        """The keys that have a token."""
        low, high = self.grid.drum_pitches
        found = []
        for kind, _, value in (name.partition("_") for name in self.names):
            for program, rank in self.ranks.items() if kind in ("Pitch", "PitchDrum") else ():
                own = program == -1 and self.drum_tokens
                if kind == ("PitchDrum" if own else "Pitch") and (not own or low <= int(value) <= high):
                    found.append(rank * 128 + int(value))
        return sorted(found)

    @property
    def note(self) -> int:
        """Base tokens of a note."""
        return 2 + self.velocities + (self.grid.programs is not None)

    def needs(self) -> list[int]:
        """Base tokens until the piece may end, by phase."""
        note = self.note
        within = {Phase.NOTE: 0, Phase.VELOCITY: 1, Phase.PITCH: 2}
        within |= {Phase.PROGRAM: 2 + self.velocities, Phase.DRUMS: 2 + self.velocities}
        meter = bool(self.grid.meters)
        if self.bars:
            within |= {Phase.METER: note + 1, Phase.BAR: note + 2, Phase.START: note + 2 + meter}
        else:
            within |= {Phase.START: note + (meter or self.shift_each)}
        return [within.get(phase, note) for phase in Phase]


@dataclass
class Note:
    """A note that begins within a token. `end` is None when its duration comes with a later token."""

    key: int  # or HEAD
    anchored: bool
    onset: int
    end: int | None = None


@dataclass
class Effect:
    """What one token does under one meter."""

    fits: bool = True
    meter: int = 0  # index of the meter afterwards
    anchored: bool = False  # whether `now` counts from the anchor
    now: int = 0
    anchor: int = 0  # remi: from the anchor found; tsd: from now, if `meter_at` is set
    meter_at: int | None = None  # tsd: when the first meter is told, which must be at a bar line
    bars: int = 0  # remi: bars told; tsd: bars between the first and the last meter told
    position: int | None = None  # remi: the last position of the bar, -1 for none; None: as found
    first_position: int = NEVER  # the first one in the bar that it finds
    first_key: int = NEVER  # the first of those that sound now, which must be above the last one before
    second_key: int = NEVER  # the next one, which must be above the head's
    last_key: int | None = None  # of the onset in which it ends, -1 for none, or HEAD; None: as found
    program: int | None = None  # rank
    head_pitch: int | None = None  # the pitch that it begins with, for a program told before
    head_end: int | None = None  # when the note ends that was begun before, or that the head pitch begins
    open: bool = False  # whether it ends within a note whose pitch it has told
    notes: list[Note] = field(default_factory=list)


def effect(vocabulary: Vocabulary, base: list[int], meter: int) -> Effect:
    """Plays a token, given as base ids, from anywhere under `meter`; `fits` is False where it never can stand."""
    grid, meters, ranks = vocabulary.grid, vocabulary.meters, vocabulary.ranks
    result = Effect(meter=meter)
    known = grid.programs is None  # whether the program is known
    rank = 0
    here: list[int] = []  # keys told at the present onset by this token
    fresh = False  # whether this token has moved time
    positions = [-1]
    last: Note | None = None
    for index, id in enumerate(base):
        kind, _, value = vocabulary.names[id].partition("_")
        current = meters[result.meter]
        if kind in ("Bar", "Position", "TimeShift"):
            if kind == "Bar":
                result.anchor += grid.bar(current)
                result.now, result.anchored = result.anchor, True
                result.bars += 1
                positions = [-1]
            elif kind == "Position":
                place = int(value)
                result.fits &= place < current[0] * grid.positions and place > positions[-1]
                if not result.bars and len(positions) == 1:
                    result.first_position = place
                positions.append(place)
                result.now, result.anchored = result.anchor + place * grid.step(current[1]), True
            else:
                result.now += vocabulary.ticks[current[1]][value]
            if vocabulary.bars:
                result.position = positions[-1]
            elif not vocabulary.ticks[current[1]][value]:
                continue
            here, fresh, result.last_key = [], True, -1
        elif kind == "TimeSig":
            beats, unit = (int(part) for part in value.split("/"))
            told = meters.index((beats, unit))
            if not vocabulary.bars:
                result.fits &= told != result.meter
                if result.meter_at is None:
                    result.meter_at = result.now
                else:
                    passed = result.now - result.anchor
                    result.fits &= passed % grid.bar(current) == 0
                    result.bars += passed // grid.bar(current)
                result.anchor = result.now
            result.meter = told
        elif kind == "Program":
            rank, known = ranks[int(value)], True
            result.program = rank
            if index == len(base) - 1:
                _rise(result, here, fresh, rank * 128 + _highest(vocabulary, int(value)))
        elif kind in ("Pitch", "PitchDrum"):
            key = rank * 128 + int(value) if known else HEAD
            if not known:
                result.head_pitch = int(value)
            else:
                _rise(result, here, fresh, key)
            here.append(key)
            last = Note(key, result.anchored, result.now)
            result.notes.append(last)
            result.last_key = key
            result.open = True
        elif kind == "Duration":
            end = result.now + vocabulary.ticks[current[1]][value]
            if last is None or last.key == HEAD:
                result.head_end = end
            if last is not None:
                last.end = end
            result.open = False
    result.fits &= not _clash(result.notes)
    return result


def _rise(result: Effect, here: list[int], fresh: bool, key: int) -> None:
    """Notes which keys must rise at one onset, and whether they do within the token."""
    if here and here[-1] != HEAD:
        result.fits &= key > here[-1]
    elif here:  # after the head, whose key only the state knows
        result.second_key = key
    elif not fresh:
        result.first_key = key


def _highest(vocabulary: Vocabulary, program: int) -> int:
    drums = program == -1 and vocabulary.drum_tokens
    return (vocabulary.grid.drum_pitches if drums else vocabulary.grid.pitches)[1]


def _clash(notes: list[Note]) -> bool:
    """Whether a note begins while one of its key sounds, where both are counted from one place."""
    for index, note in enumerate(notes):
        for later in notes[index + 1 :]:
            same = note.key == later.key != HEAD and note.anchored == later.anchored
            if same and note.end is not None and later.onset < note.end:
                return True
    return False
