"""A Tune as the words of its canonical ABC, and as text.

The words of several voices are interleaved bar by bar (`V:1` bar `V:2` bar ...); the text writes one voice after the
other, which every reader of ABC understands. An accidental is written where the pitch differs from what key and bar
already say. The text holds title and tempo too, and has the notes of a chord in the order in which they began; the
words hold neither and rise.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from datatools.abc.keys import LETTERS, Key, Meter, signature
from datatools.abc.lyrics import line_of
from datatools.abc.tune import Bar, Event, Pitch, Tune

_SIGNS = {1: "^", 0: "=", -1: "_"}
BARS_A_LINE = 4
SUNG = "w:"  # begins the word of a syllable, perhaps an empty one, which stands before its note


def meter_word(meter: Meter) -> str:
    return f"M:{meter[0]}/{meter[1]}" if meter else "M:none"


def length_word(ratio: Fraction) -> str:
    """`` for 1, `2`, `/2`, `3/2`: a multiple of the unit length."""
    above = "" if ratio.numerator == 1 else str(ratio.numerator)
    return above if ratio.denominator == 1 else f"{above}/{ratio.denominator}"


def pitch_word(pitch: Pitch, sign: str = "") -> str:
    """`^c'`: sign, letter, octave marks."""
    octave, letter = divmod(pitch.step, 7)
    name = LETTERS[letter] if octave <= 4 else LETTERS[letter].lower()
    return sign + name + ("'" * (octave - 5) if octave > 5 else "," * max(0, 4 - octave))


class Speller:
    """The key and the accidentals of the bar so far, for one voice.

    Some readers let an accidental hold for its letter in every octave, others in its own only: a sign is written
    wherever either would be wrong without it, and where a tie would bring another alteration over the bar line.
    """

    def __init__(self, key: Key) -> None:
        self.tied: dict[int, int] = {}  # alterations of the notes, by step, that the last bar ties to this one's first
        self.enter(key)

    def enter(self, key: Key) -> None:
        self.key = key
        self.plain = signature(key.fifths)
        self.clear()

    def clear(self) -> None:
        """At a bar line."""
        self.steps: dict[int, int] = {}
        self.letters: dict[int, int] = {}

    def word(self, pitch: Pitch) -> str:
        letter = pitch.step % 7
        plain = self.plain[letter]
        said = (
            self.steps.get(pitch.step, plain),
            self.letters.get(letter, plain),
            self.tied.get(pitch.step, pitch.alter),
        )
        if all(alter == pitch.alter for alter in said):
            return pitch_word(pitch)
        self.steps[pitch.step] = self.letters[letter] = pitch.alter
        return pitch_word(pitch, _SIGNS[pitch.alter])


def bar_words(bar: Bar, speller: Speller, unit: Fraction) -> Iterator[tuple[str, Fraction | None]]:
    """The words of a bar without its bar line, each with the time in the bar where it begins an event, else None.

    Of a voice with lyrics each note has a word of what is sung to it, `w:` alone for nothing.
    """
    speller.clear()
    time = Fraction(0)
    events = bar.events
    for index, event in enumerate(events):
        at: Fraction | None = time
        if event.tempo:
            yield f"Q:1/4={_number(event.tempo)}", at
        if event.key.name != speller.key.name:
            speller.enter(event.key)
            yield f"K:{event.key.name}", at
        if event.tuplet and (index == 0 or events[index - 1].tuplet is not event.tuplet):
            count = 1
            while index + count < len(events) and events[index + count].tuplet is event.tuplet:
                count += 1
            p, q, _ = event.tuplet
            yield "(3" if (p, q, count) == (3, 2, 3) else f"({p}:{q}:{count}", at
            at = None
        for word in _event_words(event, speller, unit):
            if word.startswith(SUNG):
                yield word, None
                continue
            yield word, at
            at = None
        time += event.duration
        speller.tied = {}
    if events:
        ties = zip(events[-1].pitches, events[-1].ties, strict=False)
        speller.tied = {pitch.step: pitch.alter for pitch, tie in ties if tie}


def _event_words(event: Event, speller: Speller, unit: Fraction) -> Iterator[str]:
    if event.graces:
        yield "{"
        for pitch in event.graces:
            yield speller.word(pitch)
        yield "}"
    if event.symbol:
        yield f'"{event.symbol}"'
    if event.pitches and event.verses:
        yield f"{SUNG}{event.syllable}"
    length = length_word(event.length / unit)
    if not event.pitches:
        yield "z"
    elif len(event.pitches) == 1:
        yield speller.word(event.pitches[0])
    else:
        whole = all(event.ties)
        yield "["
        for pitch, tie in zip(event.pitches, event.ties, strict=True):
            yield speller.word(pitch)
            if tie and not whole:
                yield "-"
        yield "]"
    if length:
        yield length
    if event.ties and all(event.ties):
        yield "-"


def words(tune: Tune, chords: bool = False, lyrics: bool = False) -> list[str]:
    """The whole tune: meter, unit length and key, then the bars, the voices' bars interleaved; each bar ends in `|`.

    Chord symbols and lyrics are left out unless asked for; a chord such as `"Am7/G"` is two words, `"Am7"` and `"/G"`.
    """
    out = [meter_word(tune.meter), f"L:{tune.unit}", f"K:{tune.key.name}"]
    spellers = [Speller(tune.key) for _ in tune.voices]
    meters = [tune.meter for _ in tune.voices]
    for number in range(max((len(voice) for voice in tune.voices), default=0)):
        for index, voice in enumerate(tune.voices):
            if number >= len(voice):
                continue
            if len(tune.voices) > 1:
                out.append(f"V:{index + 1}")
            if voice[number].meter != meters[index]:
                meters[index] = voice[number].meter
                out.append(meter_word(meters[index]))
            for word, _ in bar_words(voice[number], spellers[index], tune.unit):
                if word[0] == '"':
                    out += _chord_words(word) if chords else []
                elif word.startswith(SUNG):
                    out += [word] if lyrics else []
                elif word[0] != "Q":
                    out.append(word)
            out.append("|")
    return out


def _chord_words(word: str) -> list[str]:
    above, slash, bass = word.strip('"').partition("/")
    return [f'"{above}"', *([f'"/{bass}"'] if slash else [])]


def text_of(tune: Tune) -> str:
    """Canonical ABC text: header, then voice after voice, a few bars a line, a blank between beats."""
    lines = ["X:1"]
    if tune.title:
        lines.append(f"T:{' ' * tune.title.startswith((':', '|'))}{tune.title}")  # `T:|` would be music
    lines += [meter_word(tune.meter), f"L:{tune.unit}"]
    if tune.tempo:
        lines.append(f"Q:1/4={_number(tune.tempo)}")
    lines.append(f"K:{tune.key.name}")
    changed = False
    for index, voice in enumerate(tune.voices):
        if len(tune.voices) > 1:
            name = tune.names[index] if index < len(tune.names) else ""
            lines.append(f"V:{index + 1}" + (f' name="{name}"' if name else ""))
            if changed:  # some readers carry the last voice's meter and key over
                lines += [meter_word(tune.meter), f"K:{tune.key.name}"]
        before = len(lines)
        _voice_lines(tune, voice, lines)
        changed = changed or any(line[1:2] == ":" and not line.startswith(SUNG) for line in lines[before:])
    return "\n".join(lines) + "\n"


def _voice_lines(tune: Tune, voice: list[Bar], lines: list[str]) -> None:
    speller = Speller(tune.key)
    meter = tune.meter
    line, bars = "", 0
    sung: list[str] = []  # to the notes of the line
    unsung = sum(bool(event.syllable) for bar in voice for event in bar.events)  # what has no line yet

    def flush() -> None:
        nonlocal line, bars, unsung
        if line.strip():
            lines.append(line.strip())
        if sung and unsung:
            lines.append(line_of(sung))
            unsung -= sum(map(bool, sung))
        line, bars = "", 0
        sung.clear()

    for bar in _held_first(voice):
        if bar.meter != meter:
            meter = bar.meter
            flush()
            lines.append(meter_word(meter))
        beat = _beat(meter)
        for word, at in bar_words(bar, speller, tune.unit):
            if word.startswith(SUNG):
                sung.append(word.removeprefix(SUNG))
                continue
            if word[1:2] == ":":
                flush()
                lines.append(word)
                continue
            if at is not None and at % beat == 0 and line and not line.endswith(" "):
                line += " "
            line += word
        line += " | "
        bars += 1
        if bars == BARS_A_LINE:
            flush()
    flush()


def _held_first(voice: list[Bar]) -> Iterator[Bar]:
    """The bars with what has been tied for longest first in each chord; otherwise abc2midi can lose a tie's note."""
    ties: dict[int, int] = {}  # by MIDI pitch: how many ties lead to it
    for bar in voice:
        events = []
        for event in bar.events:
            held = [-ties.get(pitch.midi, 0) for pitch in event.pitches]
            order = sorted(range(len(held)), key=held.__getitem__)
            pitches = tuple(event.pitches[i] for i in order)
            tied = tuple(event.ties[i] for i in order) if event.ties else ()
            ties = {pitch.midi: ties.get(pitch.midi, 0) + 1 for pitch, on in zip(pitches, tied) if on}
            events.append(event if pitches == event.pitches else replace(event, pitches=pitches, ties=tied))
        yield Bar(events, bar.meter)


def _beat(meter: Meter) -> Fraction:
    if meter is None:
        return Fraction(1, 4)
    if meter[1] >= 8 and meter[0] % 3 == 0:
        return Fraction(3, meter[1])
    return Fraction(1, min(meter[1], 4))


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
