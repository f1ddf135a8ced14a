"""Hyper-parameters of the tokenizers that tell notes through MidiTok."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from hparams.base import require
from hparams.following import Follows


@dataclass(kw_only=True)
class MidiTokHParams:
    """What the tokenizers of MidiTok share, in MidiTok's own terms (its class TokenizerConfig)."""

    # What keeps each thing that a piece may lose, for people who are told of the loss; of several what is not set yet.
    remedies: ClassVar[dict[str, str | tuple[str, ...]]] = {
        "drums": "tokenizer.use_programs=true",
        "programs": "tokenizer.use_programs=true",
        "velocities": "tokenizer.use_velocities=true",
        "pitches": "tokenizer.pitch_range=[0,127]",
        "tempos": ("tokenizer.use_tempos=true", "tokenizer.tempo_range=[20,400] tokenizer.num_tempos=200"),
        "clipped": (
            "a wider range, e.g. tokenizer.tempo_range=[20,400] tokenizer.num_tempos=200",
            "a wider range, at most tokenizer.tempo_range=[1,1000] tokenizer.num_tempos=500",
        ),
        "meters": (
            "tokenizer.use_time_signatures=true",
            "more meters, e.g. tokenizer.time_signature_range.2=[2,3,4] tokenizer.time_signature_range.16=[3,5,7]",
        ),
        "pedals": "'tokenizer.options={use_sustain_pedals: true}'",
        "repeats": "a finer grid, e.g. 'tokenizer.beat_res={0_4: 24, 4_12: 4}'",
        "durations": (
            "a longer stretch, e.g. 'tokenizer.beat_res={0_4: 12, 4_32: 4}'",
            "a longer stretch, e.g. 'tokenizer.beat_res={0_4: 12, 4_128: 4}'",
        ),
    }
    # What is left to the data, and by what of a piece it is decided.
    follows: ClassVar[dict[str, str]] = {
        "use_programs": "programs",
        "use_velocities": "velocities",
        "use_tempos": "tempos",
    }

    # Lowest and highest pitch, as MIDI note numbers; other notes are left out.
    pitch_range: tuple[int, int] = (21, 109)
    # Positions in a beat, for stretches "from_to" in beats; the first, the finest, is the grid of onsets, all together
    # give the durations.
    beat_res: dict[str, int] = field(default_factory=lambda: {"0_4": 12, "4_12": 4})
    # Whether notes bear their loudness; without, it is lost and every note is decoded alike. auto: on where a folder of
    # one's own has several, off for every other dataset.
    use_velocities: Follows = "auto"
    # Steps of loudness.
    num_velocities: int = 32
    # Whether silence has tokens of its own.
    use_rests: bool = False
    # Whether chords are announced by their kind.
    use_chords: bool = False
    # Whether changes of tempo are told; without, everything is decoded at 120 quarters a minute. auto: on where a
    # folder of one's own has others, off for every other dataset.
    use_tempos: Follows = "auto"
    # Steps of tempo.
    num_tempos: int = 43
    # Slowest and fastest tempo, in quarters a minute.
    tempo_range: tuple[int, int] = (40, 250)
    # Whether meters are told; without, bars are counted as 4/4.
    use_time_signatures: bool = True
    # Meters as beat unit: numbers of beats; one that is equal in length stands for another (4/4 for 2/2).
    time_signature_range: dict[str, list[int]] = field(
        default_factory=lambda: {"4": [1, 2, 3, 4, 5, 6, 7, 8], "8": [1, 3, 5, 6, 7, 9, 11, 12]}
    )
    # Whether key signatures are told.
    use_key_signatures: bool = False
    # Whether notes bear their instrument, all instruments in one stream; without, all tracks become one and drums are
    # left out. auto: on where a folder of one's own has drums or more than a piano, off for every other dataset.
    use_programs: Follows = "auto"
    # Whether drums have pitch tokens of their own, where instruments are told.
    use_pitchdrum_tokens: bool = True
    # Size of the vocabulary to learn from the training pieces, base tokens included; 0: none is learnt.
    bpe: int = 0
    # How it is learnt: byte pairs, the pieces of a unigram model (the same again in every trial, but nothing promises
    # it), or word pieces.
    vocabulary: Literal["bpe", "unigram", "wordpiece"] = "bpe"
    # Any other option of MidiTok's TokenizerConfig, by its name there.
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        low, high = self.pitch_range
        require(0 <= low < high <= 127, "tokenizer.pitch_range", self.pitch_range, "two rising numbers from 0 to 127")
        require(bool(self.beat_res), "tokenizer.beat_res", self.beat_res, 'stretches of beats such as {"0_4": 12}')
        ends = []
        for stretch, positions in self.beat_res.items():
            ends.append(_stretch(stretch))
            require(1 <= positions <= 96, f"tokenizer.beat_res.{stretch}", positions, "1 to 96 positions in a beat")
        ends.sort()
        joined = all(ends[i][1] == ends[i + 1][0] for i in range(len(ends) - 1)) and ends[0][0] == 0
        require(joined, "tokenizer.beat_res", dict(self.beat_res), "stretches that follow one another from beat 0")
        most = self.beat_res[f"{ends[0][0]}_{ends[0][1]}"]
        for stretch, positions in self.beat_res.items():
            require(
                most % positions == 0, f"tokenizer.beat_res.{stretch}", positions, f"a divisor of the finest ({most})"
            )
        require(1 <= self.num_velocities <= 127, "tokenizer.num_velocities", self.num_velocities, "1 to 127")
        require(self.num_tempos >= 2, "tokenizer.num_tempos", self.num_tempos, "at least 2")
        slow, fast = self.tempo_range
        require(0 < slow < fast <= 1000, "tokenizer.tempo_range", self.tempo_range, "two rising tempos from 1 to 1000")
        for unit, beats in self.time_signature_range.items():
            key = f"tokenizer.time_signature_range.{unit}"
            require(str(unit) in ("1", "2", "4", "8", "16", "32"), key, unit, "a beat unit of 1, 2, 4, 8, 16 or 32")
            require(all(1 <= beat <= 64 for beat in beats), key, list(beats), "numbers of beats from 1 to 64")
        meters = self.time_signature_range
        require(
            not self.use_time_signatures or 4 in meters.get("4", []),
            "tokenizer.time_signature_range",
            dict(meters),
            "meters that include 4/4, which holds where none is written",
        )
        require(self.bpe >= 0, "tokenizer.bpe", self.bpe, "0 (none) or the size of a vocabulary")


def _stretch(text: str) -> tuple[int, int]:
    start, _, end = str(text).partition("_")
    good = start.isdigit() and end.isdigit() and int(start) < int(end)
    require(good, "tokenizer.beat_res", text, 'stretches of beats such as "0_4"')
    return int(start), int(end)


@dataclass(kw_only=True)
class RemiHParams(MidiTokHParams):
    """REMI (Huang & Yang, arXiv 2002.00212) of MidiTok: bars, positions in the bar, notes."""

    name: Literal["remi"] = "remi"


@dataclass(kw_only=True)
class TsdHParams(MidiTokHParams):
    """TSD (Fradet et al., arXiv 2301.11975) of MidiTok: time shifts and notes."""

    name: Literal["tsd"] = "tsd"


@dataclass(kw_only=True)
class MidiLikeHParams(MidiTokHParams):
    """MIDI-like (Oore et al., arXiv 1808.03715) of MidiTok: keys pressed and released, and time shifts."""

    name: Literal["midilike"] = "midilike"


@dataclass(kw_only=True)
class NotesOnlyHParams(MidiTokHParams):
    """What those share that tell notes and nothing of tempo or meter."""

    remedies: ClassVar[dict[str, str | tuple[str, ...]]] = {
        cause: setting
        for cause, setting in MidiTokHParams.remedies.items()
        if cause not in ("tempos", "clipped", "meters", "pedals")
    }
    follows: ClassVar[dict[str, str]] = {"use_programs": "programs", "use_velocities": "velocities"}

    # Notes only are told; bars are those of 4/4.
    use_time_signatures: bool = False
    # Notes only are told.
    use_tempos: Follows = False

    def __post_init__(self) -> None:
        super().__post_init__()
        told = ("use_rests", "use_chords", "use_tempos", "use_time_signatures", "use_key_signatures")
        kind = type(self).__name__.removesuffix("HParams")
        for key in told:
            require(not getattr(self, key), f"tokenizer.{key}", True, f"false: {kind} tells notes and nothing else")


@dataclass(kw_only=True)
class StructuredHParams(NotesOnlyHParams):
    """Structured (Hadjeres & Crestel, arXiv 2107.05944) of MidiTok: time shift, pitch and duration of each note."""

    name: Literal["structured"] = "structured"
