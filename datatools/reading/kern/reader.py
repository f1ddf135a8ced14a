"""Humdrum **kern to written bars: spines that split, join, come and go, section labels and expansion lists.

A data line begins when the shortest note before it ends; a spine that splits stays one track. Where the file lists its
sections (`*>[A,A1,A,A2]`) the list says what is played, else the repeat signs do.

Source: D. Huron, The Humdrum Toolkit: Reference Manual (1994), section 2 (**kern) and the guide's chapter 20.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from core.words import agree, counted
from datatools.reading.kern.instruments import PROGRAMS
from datatools.reading.repeats import MOST_PLAYED, Refused
from datatools.reading.written import GRACES, Bar, Mark, Note, Track, Written, rounded

# Units a quarter: lengths of 7-, 11- and 13-tuplets are whole numbers of it; what is not is off by less than 1e-7.
UNIT = 2**10 * 9 * 5 * 7 * 11 * 13
_NEAR = 64  # units that rounded lengths may be apart
MOST_SPINES = 500
MOST_BARS = 20_000
_RECIP = re.compile(r"(\d{1,4})(?:%(\d{1,3}))?")
_PITCH = re.compile(r"([a-gA-G])(\1{0,7})(#{1,3}|-{1,3}|)")
_METER = re.compile(r"\*M(\d{1,2}(?:\+\d{1,2})*)/(\d{1,3})$")
_TEMPO = re.compile(r"\*MM(\d{1,4}(?:\.\d+)?)")
_KEY = re.compile(r"\*k\[([a-g#-]*)\]")
_MODE = re.compile(r"\*([A-Ga-g])[#-]?:")
_LIST = re.compile(r"\*>\[(.*)\]$")
_SEMITONES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}


@dataclass(slots=True)
class _Spine:
    """A column: its track (-1 where it holds no kern), its voice, and when its last note ends."""

    track: int
    voice: str
    end: int = 0


@dataclass(frozen=True, slots=True)
class _Token:
    """A note or rest: `length` None where it gives none, `pitch` None for a rest."""

    length: int | None
    pitch: int | None
    rest: bool
    grace: bool
    begins_tie: bool
    ends_tie: bool


def read(text: str) -> Written:
    """The score in a Humdrum text; ValueError with a one-line reason when it holds no kern."""
    if "**kern" not in text:
        raise Refused("it is no kern: there is no **kern in it")
    return _Reader().run(text)


class _Reader:
    def __init__(self) -> None:
        self.spines: list[_Spine] = []
        self.tracks: list[Track] = []
        self.bars = [Bar()]
        self.heads = [0]
        self.silent = [0]
        self.labels: dict[int, str] = {}  # bar that begins a section -> its label
        self.sections: list[str] | None = None
        self.begin = self.now = 0  # of the bar, and of the next data line
        self.voices = 0
        self.pending: dict[int, list[list[Note]]] = {}  # grace notes that wait for their main note, by track
        self.counts: Counter[str] = Counter()
        self.title = ""

    def run(self, text: str) -> Written:
        for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
            try:
                self._line(line)
            except ValueError as error:
                raise Refused(f"line {number}: {error}") from None
        if not self.tracks:
            raise Refused("it is no kern: no spine of it is **kern")
        self._close()
        for groups in self.pending.values():
            for note in (note for group in groups for note in group):
                note.start += len(groups) * note.length
        for note in (note for bar in self.bars for note in bar.notes):  # the lowest part is written first
            note.track = len(self.tracks) - 1 - note.track
        written = Written(self.title, UNIT, self.tracks[::-1], self.bars, self.heads, self.silent, self._order())
        written.remarks += self._remarks()
        return written

    def _line(self, line: str) -> None:
        if not line.strip():
            return
        if line.startswith("!"):
            if line.startswith("!!!OTL") and not self.title:
                self.title = " ".join(line.partition(":")[2].split())
            return
        fields = line.split("\t")
        if line.startswith("**") and not self.spines:
            self.spines = [_Spine(-1, "") for _ in fields]
        while len(fields) > len(self.spines) and not fields[-1]:
            fields.pop()  # tabs at the line's end
        if len(fields) != len(self.spines):
            raise ValueError(f"it has {len(fields)} columns; expected {len(self.spines)}")
        if line[0] == "*":
            self._interpret(fields)
        elif line[0] == "=":
            self._barline(next((f for f, spine in zip(fields, self.spines, strict=True) if spine.track >= 0), ""))
        else:
            self._data(fields)

    def _interpret(self, fields: list[str]) -> None:
        if any(field in ("*^", "*v", "*+", "*x", "*-") for field in fields):
            self._paths(fields)
            return
        for field, spine in zip(fields, self.spines, strict=True):
            if field.startswith("**"):
                spine.track = len(self.tracks) if field == "**kern" else -1
                spine.voice = self._voice()
                spine.end = self.now
                if spine.track >= 0:
                    self.tracks.append(Track("", 0, False))
            elif field.startswith("*>"):
                self._label(field)
                return
            elif spine.track >= 0 and len(field) > 1:
                self._mark(field, spine.track)

    def _paths(self, fields: list[str]) -> None:
        """Splits, joins, adds, exchanges and ends spines; only spines of one track join."""
        spines: list[_Spine] = []
        joining: _Spine | None = None
        exchanged: list[int] = []
        for field, spine in zip(fields, self.spines, strict=True):
            if field == "*v" and joining is not None and joining.track == spine.track:
                joining.end = max(joining.end, spine.end)
                continue
            joining = spine if field == "*v" else None
            if field == "*-":
                continue
            if field == "*x":
                exchanged.append(len(spines))
            spines.append(spine)
            if field == "*^":
                spines.append(_Spine(spine.track, self._voice(), spine.end))
            elif field == "*+":
                spines.append(_Spine(-1, "", self.now))
        if len(exchanged) == 2:
            first, second = exchanged
            spines[first], spines[second] = spines[second], spines[first]
        if len(spines) > MOST_SPINES:
            raise ValueError(f"more than {MOST_SPINES} spines")
        self.spines = spines

    def _voice(self) -> str:
        self.voices += 1
        return str(self.voices)

    def _mark(self, field: str, track: int) -> None:
        marks, at = self.bars[-1].marks, self.now - self.begin
        if found := _METER.match(field):
            beats, unit = sum(map(int, found[1].split("+"))), int(found[2])
            if 1 <= beats <= 99 and 1 <= unit <= 128 and not unit & (unit - 1):
                marks.append(Mark(at, "meter", (beats, unit)))
        elif found := _TEMPO.match(field):
            if float(found[1]) > 0:
                marks.append(Mark(at, "tempo", (float(found[1]),)))
        elif found := _KEY.match(field):
            sharps = found[1].count("#") - found[1].count("-")
            if -7 <= sharps <= 7:
                marks.append(Mark(at, "key", (sharps, 0)))
        elif found := _MODE.match(field):
            for mark in marks:
                if mark.kind == "key" and mark.start == at:
                    mark.value = (mark.value[0], float(found[1].islower()))
        elif field.startswith('*I"'):
            self.tracks[track] = Track(field[3:].strip(), self.tracks[track].program, False)
        elif field[2:] in PROGRAMS and field.startswith("*I"):
            self.tracks[track] = Track(self.tracks[track].name, PROGRAMS[field[2:]], False)

    def _barline(self, field: str) -> None:
        if ":|" in field or ":!" in field:
            empty = not (self.now > self.begin or self.bars[-1].notes) and len(self.bars) > 1
            self.bars[-2 if empty else -1].signs.times = 2
        self._new()
        if "|:" in field or "!:" in field:
            self.bars[-1].signs.forward = True

    def _label(self, field: str) -> None:
        listed = _LIST.match(field)
        if listed:
            self.sections = [name.strip() for name in listed[1].split(",") if name.strip()]
        elif not field.endswith("]"):
            self._new()
            self.labels[len(self.bars) - 1] = field[2:]

    def _new(self) -> None:
        """Begins a bar, unless the current one is still empty."""
        if self.now > self.begin or self.bars[-1].notes:
            self._close()
            if len(self.bars) >= MOST_BARS:
                raise ValueError(f"more than {MOST_BARS} bars")
            self.bars.append(Bar())
            self.heads.append(0)
            self.silent.append(0)
            self.begin = self.now

    def _close(self) -> None:
        self.bars[-1].length = self.now - self.begin

    def _data(self, fields: list[str]) -> None:
        timed = False
        for field, spine in zip(fields, self.spines, strict=True):
            if field != "." and spine.track >= 0 and field:
                timed = self._event(field, spine) or timed
        if timed:
            later = [spine.end for spine in self.spines if spine.track >= 0 and spine.end > self.now + _NEAR]
            self.now = min(later, default=self.now)

    def _event(self, field: str, spine: _Spine) -> bool:
        """Adds the notes of one field; whether they take time."""
        tokens, length, grace, heads = _field(field)
        self.heads[-1] += heads
        notes: list[Note] = []
        for token in tokens:
            if token.pitch is None:
                self.counts["odd"] += not token.rest
                continue
            if not 0 <= token.pitch <= 127:
                self.counts["range"] += 1
                self.silent[-1] += 1
                continue
            lasts = UNIT // GRACES if grace else length if token.length is None else token.length
            note = Note(self.now - self.begin, lasts or 0, token.pitch, spine.track, spine.voice, spine.track)
            note.begins_tie, note.ends_tie = token.begins_tie, token.ends_tie
            notes.append(note)
        self.bars[-1].notes += notes
        if grace:
            self._grace(notes, spine.track)
            return False
        if notes:
            self.pending.pop(spine.track, None)
        if length is None:
            self.counts["timeless"] += len(notes)
            return False
        if spine.end > self.now + _NEAR:
            self.counts["early"] += 1
        spine.end = self.now + length
        return True

    def _grace(self, notes: list[Note], track: int) -> None:
        groups = self.pending.setdefault(track, [])
        for note in (note for group in [*groups, notes] for note in group):
            note.start -= note.length
        groups.append(notes)

    def _order(self) -> list[int] | None:
        """The bars of the sections that the file lists, and before them those that belong to none."""
        if self.sections is None:
            return None
        ends = [*sorted(self.labels), len(self.bars)]
        spans = {self.labels[start]: range(start, end) for start, end in pairwise(ends)}
        missing = [name for name in self.sections if name not in spans]
        if missing:
            self.counts["list"] += 1
            return None
        order = [*range(ends[0]), *(index for name in self.sections for index in spans[name])]
        if len(order) > MOST_PLAYED:
            raise Refused(f"its list of sections plays more than {MOST_PLAYED} bars")
        return order

    def _remarks(self) -> list[str]:
        out, odd, timeless, early = (self.counts[kind] for kind in ("range", "odd", "timeless", "early"))
        begin = agree(early, "begins before the one before it in its", "begin before the one before them in their")
        said = {
            "range": f"left out {counted(out, 'note')} outside MIDI's range",
            "odd": f"{counted(odd, 'sign')} in the place of a note {agree(odd, 'is', 'are')} neither note nor rest",
            "timeless": f"{counted(timeless, 'note')} {agree(timeless, 'has', 'have')} no length",
            "early": f"{counted(early, 'note')} {begin} spine ends",
            "list": "the list of sections names one that is not there; the repeat signs are played",
        }
        return [text for kind, text in said.items() if self.counts[kind]]


@lru_cache(maxsize=2**15)
def _field(field: str) -> tuple[list[_Token], int | None, bool, int]:
    """(tokens, length of the first that has one, whether they are grace notes, note heads) of a field."""
    texts = [text for text in field.split(" ") if text]
    tokens = [_token(text) for text in texts]
    length = next((token.length for token in tokens if token.length is not None), None)
    heads = sum("r" not in text and re.search("[A-Ga-g]", text) is not None for text in texts)
    return tokens, length, any(token.grace for token in tokens), heads


def _midi(match: re.Match[str]) -> int:
    letter, more, sign = match.groups()
    octave = 4 + len(more) if letter.islower() else 3 - len(more)
    return 12 * (octave + 1) + _SEMITONES[letter.lower()] + len(sign) * (1 if sign[:1] == "#" else -1)


def _token(text: str) -> _Token:
    recip = _RECIP.search(text)
    length: int | None = None
    if recip:
        dots = text.count(".")
        if dots > 4:
            raise ValueError(f'"{text[:20]}" has {dots} dots; expected at most 4')
        zero = not int(recip[1])
        if (zero and (recip[2] or len(recip[1]) > 3)) or recip[2] == "0":
            raise ValueError(f'"{text[:20]}" has no length that music has')
        over, below = (4 * 2 ** len(recip[1]), 1) if zero else (4 * int(recip[2] or 1), int(recip[1]))
        length = rounded(over * (2 ** (dots + 1) - 1) * UNIT, below * 2**dots)
    pitch = _PITCH.search(text) if "r" not in text else None
    return _Token(
        length,
        _midi(pitch) if pitch else None,
        "r" in text,
        "q" in text or "Q" in text,
        "[" in text or "_" in text,
        "]" in text or "_" in text,
    )
