"""Maps of MidiTok's base ids that change the music in one known way; -1 where a token has no image."""

from collections.abc import Callable, Sequence
from typing import Any


def transposed(names: Sequence[str], semitones: int, options: Any) -> list[int]:
    """The same music `semitones` higher; drums stay as they are, key signatures go along."""
    if options.use_programs and not options.use_pitchdrum_tokens and -1 in options.programs:
        raise ValueError("drums share the pitch tokens; set tokenizer.use_pitchdrum_tokens to transpose the rest")
    if options.use_chords and options.chord_tokens_with_root_note:
        raise ValueError("chord tokens name their root; leave chord_tokens_with_root_note off to transpose")

    def pitch(value: str) -> str:
        return str(int(value) + semitones)

    def key(value: str) -> str:
        fifths, mode = value.split(":")
        # Seven fifths to a semitone; of the two or three spellings that of fewest signs, flats before sharps.
        moved = (int(fifths) + 7 * semitones + 6) % 12 - 6
        return f"{int(fifths) if semitones % 12 == 0 else moved}:{mode}"

    return _mapped(names, {"Pitch": pitch, "NoteOn": pitch, "NoteOff": pitch, "KeySig": key})


def louder(names: Sequence[str], steps: int) -> list[int]:
    """Velocities `steps` steps up."""
    scale = _values(names, "Velocity")
    if not scale:
        raise ValueError("the vocabulary has no velocity tokens; set tokenizer.use_velocities")

    def velocity(value: str) -> str:
        index = scale.index(value) + steps
        return scale[index] if 0 <= index < len(scale) else ""

    return _mapped(names, {"Velocity": velocity})


def faster(names: Sequence[str], factor: float) -> list[int]:
    """Tempos times `factor`, to the nearest; none beyond the slowest and fastest by more than half a step."""
    scale = _values(names, "Tempo")
    if not scale:
        raise ValueError("the vocabulary has no tempo tokens; set tokenizer.use_tempos")
    tempos = sorted(float(value) for value in scale)
    low, high = tempos[0] - (tempos[1] - tempos[0]) / 2, tempos[-1] + (tempos[-1] - tempos[-2]) / 2

    def tempo(value: str) -> str:
        wanted = float(value) * factor
        return min(scale, key=lambda other: abs(float(other) - wanted)) if low <= wanted <= high else ""

    return _mapped(names, {"Tempo": tempo})


def _values(names: Sequence[str], kind: str) -> list[str]:
    return [name.partition("_")[2] for name in names if name.partition("_")[0] == kind]


def _mapped(names: Sequence[str], maps: dict[str, Callable[[str], str]]) -> list[int]:
    ids = {name: id for id, name in enumerate(names)}
    result = []
    for id, name in enumerate(names):
        kind, _, value = name.partition("_")
        result.append(ids.get(f"{kind}_{maps[kind](value)}", -1) if kind in maps else id)
    return result
