"""Any words of the `abc` vocabulary to well-formed ABC text.

What stands where it cannot mean anything is left out: a length after no note, a bracket that closes nothing, a tuplet
that is not filled, grace notes before nothing. What is missing is supplied: the header, the closing of what is open.
The same words always give the same text.
"""

from collections.abc import Iterable
from fractions import Fraction

from datatools.abc.lyrics import HELD, line_of
from datatools.abc.text import SUNG
from plugins.tokenizers.abc_tokens.over.sung import longer
from plugins.tokenizers.abc_tokens.vocabulary import fits_tuplet, parse_length, parse_pitch, parse_tuplet

DEFAULTS = {"M": "M:4/4", "L": "L:1/8", "K": "K:Cmaj"}
MOST_WORDS = 200_000
LONGEST_VOICE = 50_000  # whole notes


class _Voice:
    """The text of one voice so far, as a list of words."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.bar_start = 0  # index in `out` where the open bar begins
        self.open = ""  # "[" or "{" while inside one
        self.open_at = 0
        self.events = 0  # notes, chords and rests of the open bar
        self.sized = True  # whether a length may not follow (any more)
        self.tieable = False
        self.tuplet_at = -1
        self.tuplet_left = 0
        self.grouped = False  # whether the last event is of a tuplet
        self.graces_at = -1  # where grace notes still wait for their note
        self.chord = ""  # the symbol that waits for its note, its quotes aside
        self.syllable = ""  # and what is sung to it
        self.sung: list[str] = []  # to all notes
        self.time = Fraction(0)
        self.last = Fraction(0)


def repaired(words: Iterable[str]) -> str:
    """ABC text that any reader parses; it may hold no note."""
    header: dict[str, str] = {}
    voices: dict[str, _Voice] = {}
    voice: _Voice | None = None
    unit = Fraction(1, 8)
    for count, word in enumerate(words):
        kind = word[0] if word[1:2] == ":" and word[0] in "MLKV" else ""
        if voice is None and kind in ("M", "L", "K") and kind not in header:
            header[kind] = word
            continue
        if voice is None:
            unit = Fraction(header.get("L", DEFAULTS["L"])[2:])
        if kind == "V":
            if voice is not None:
                _close_bar(voice)
            voice = voices.setdefault(word, _Voice())
            continue
        if voice is None:
            voice = voices.setdefault("V:1", _Voice())
        _take(voice, word, kind, unit)
        if count >= MOST_WORDS or voice.time > LONGEST_VOICE:
            break
    lines = ["X:1", *(header.get(kind, DEFAULTS[kind]) for kind in "MLK")]
    for name, one in voices.items():
        _close_bar(one)
        if one.graces_at >= 0:
            del one.out[one.graces_at :]
        if one.out:
            if len(voices) > 1:
                lines += [name, header.get("M", DEFAULTS["M"]), header.get("K", DEFAULTS["K"])]
            lines.append("".join(one.out))
            lines += [line_of(one.sung)] if any(one.sung) else []
    return "\n".join(lines) + "\n"


def _take(voice: _Voice, word: str, kind: str, unit: Fraction) -> None:
    """Adds one word to a voice, or leaves it out."""
    if kind == "L":
        return
    if kind == "M":
        if not voice.events and not voice.open and voice.tuplet_left == 0:
            voice.out.append(f"\n{word}\n")
        return
    if kind == "K":
        if not voice.open:
            voice.out.append(f"\n{word}\n")
            voice.sized, voice.tieable = True, False
        return
    if word.startswith(SUNG):
        _sing(voice, word.removeprefix(SUNG))
    elif word[0] == '"':
        inner = word.strip('"')
        if not voice.open and inner[0] != "/":
            voice.chord = inner
        elif not voice.open and voice.chord and "/" not in voice.chord:
            voice.chord += inner
    elif word == "|":
        _close_bar(voice)
    elif word in ("[", "{"):
        if not voice.open:
            voice.open, voice.open_at = word, len(voice.out)
            voice.out.append((_symbol(voice) if word == "[" else "") + word)
            voice.sized, voice.tieable = True, False
    elif word == "]" or word == "}":
        _close(voice, word, unit)
    elif word == "-":
        if voice.tieable:
            voice.out.append(word)
            voice.sized, voice.tieable = True, False
    elif word == "z":
        if not voice.open:
            _event(voice, [_symbol(voice) + word], unit, False)
    elif parse_pitch(word) is not None:
        if voice.open:
            voice.out.append(word)
            voice.tieable = voice.open == "["
        else:
            _event(voice, [_symbol(voice) + word], unit, True)
    elif parse_tuplet(word) is not None:
        if not voice.open:
            _drop_tuplet(voice)
            voice.tuplet_at, voice.tuplet_left = len(voice.out), parse_tuplet(word)[2]  # type: ignore[index]
            voice.out.append(word)
            voice.sized, voice.tieable = True, False
    else:
        length = parse_length(word)
        fits = length is not None and not (voice.grouped and not fits_tuplet(length, unit))
        if length is not None and fits and not voice.sized and not voice.open:
            voice.out.append(word)
            voice.time += (length - 1) * unit
            voice.sized = True


def _symbol(voice: _Voice) -> str:
    """The chord symbol for the event that begins."""
    chord, voice.chord = voice.chord, ""
    return f'"{chord}"' if chord else ""


def _sing(voice: _Voice, part: str) -> None:
    """Adds to the syllable that waits for its note; nothing can be held where nothing was sung."""
    if voice.open:
        return
    if part != HELD:
        voice.syllable = longer(voice.syllable, part)
    elif not voice.syllable and voice.sung and voice.sung[-1]:
        voice.syllable = HELD


def _event(voice: _Voice, words: list[str], unit: Fraction, sounds: bool) -> None:
    voice.out += words
    voice.events += 1
    voice.time += unit
    voice.sized, voice.tieable = False, sounds
    voice.sung += [voice.syllable] if sounds else []
    voice.syllable = ""
    voice.graces_at = -1
    voice.grouped = voice.tuplet_left > 0
    if voice.tuplet_left:
        voice.tuplet_left -= 1
        if not voice.tuplet_left:
            voice.tuplet_at = -1


def _close(voice: _Voice, word: str, unit: Fraction) -> None:
    """Closes a chord or grace notes, or takes an empty one back."""
    if voice.open != {"]": "[", "}": "{"}[word]:
        return
    voice.open = ""
    if len(voice.out) == voice.open_at + 1:
        voice.out.pop()
        voice.sized, voice.tieable = True, False
    elif word == "]":
        _event(voice, ["]"], unit, True)
    else:
        voice.out.append("}")
        voice.sized, voice.tieable = True, False
        if voice.graces_at < 0:
            voice.graces_at = voice.open_at


def _drop_tuplet(voice: _Voice) -> None:
    """Takes back the mark of a tuplet that was not filled; its notes stay, at their plain lengths."""
    if voice.tuplet_left:
        voice.out[voice.tuplet_at] = ""
    voice.tuplet_at, voice.tuplet_left = -1, 0


def _close_bar(voice: _Voice) -> None:
    if voice.open:
        _close(voice, {"[": "]", "{": "}"}[voice.open], Fraction(0))
    _drop_tuplet(voice)
    voice.sized, voice.tieable, voice.chord, voice.syllable = True, False, "", ""
    if voice.events:
        voice.out.append("|")
        voice.events = 0
