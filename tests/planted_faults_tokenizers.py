"""Tokenizers with one fault each, and the law that must name it."""

import itertools
import pickle
from collections import namedtuple

import symusic
import torch

from tests.reference_tokenizer import FIRST, IDS, NAMES, SIXTEENTH, Decoded, ReferenceGrammar, ReferenceTokenizer

FAULTS = {}


def breaks(law):
    """Notes the law that a fault breaks."""

    def mark(fault):
        FAULTS[fault.__name__] = (fault, law)
        return fault

    return mark


@breaks("declares its vocabulary")
class SpecialsCollide(ReferenceTokenizer):
    bos_id = 0


@breaks("declares its vocabulary")
class SpecialOutsideTheVocabulary(ReferenceTokenizer):
    eos_id = len(NAMES)


@breaks("takes music or names the piece")
class RefusesWithoutAName(ReferenceTokenizer):
    def encode(self, piece):
        if len(piece.score.tracks) > 1:
            raise ValueError("too many tracks")
        return super().encode(piece)


@breaks("takes music or names the piece")
class RefusesMelodies(ReferenceTokenizer):
    def encode(self, piece):
        if "scale" in piece.source:
            raise ValueError(f"{piece.source} is too plain")
        return super().encode(piece)


@breaks("takes music or names the piece")
class RefusesMost(ReferenceTokenizer):
    def encode(self, piece):
        if len(piece.score.tracks[0].notes) not in (1, 8, 24):
            raise ValueError(f"{piece.source} has an odd number of notes")
        return super().encode(piece)


@breaks("piece left alone")
class ChangesThePiece(ReferenceTokenizer):
    def encode(self, piece):
        for track in piece.score.tracks:
            for note in track.notes:
                note.velocity = 100
        return super().encode(piece)


@breaks("ids in range")
class VocabularyOneTooSmall(ReferenceTokenizer):
    vocab_size = IDS["Duration_3"]


@breaks("ids in range")
class TensorsForInts(ReferenceTokenizer):
    def encode(self, piece):
        return list(torch.tensor(super().encode(piece)))


@breaks("specials never emitted")
class EmitsTheEnd(ReferenceTokenizer):
    def encode(self, piece):
        return [*super().encode(piece), self.eos_id]


@breaks("deterministic")
class CountsItsCalls(ReferenceTokenizer):
    calls = itertools.count()

    def tempo_level(self, tempo):
        return next(self.calls) % 8


@breaks("deterministic")
class FingerprintOfTheObject(ReferenceTokenizer):
    def fingerprint(self):
        return str(id(self))


@breaks("a plain melody comes through")
class FoldsOctaves(ReferenceTokenizer):
    def kept(self, rows):
        return sorted({(onset, 60 + pitch % 12): rest for (onset, pitch), rest in rows}.items())


@breaks("a plain melody comes through")
class KeepsTheFirstThreeNotes(ReferenceTokenizer):
    def kept(self, rows):
        return rows[:3]


@breaks("music survives")
class DropsTheLastNote(ReferenceTokenizer):
    def kept(self, rows):
        return rows[:-1] if len(rows) > 1 else rows


@breaks("music survives")
class DurationsGrow(ReferenceTokenizer):
    def note(self, onset, duration, pitch, velocity):
        return super().note(onset, duration + 1, pitch, velocity)


@breaks("it settles")
class TempoRunsAway(ReferenceTokenizer):
    def tempo_level(self, tempo):
        return max(0, super().tempo_level(tempo) - 1)


@breaks("decode accepts anything")
class EmptyListRaises(ReferenceTokenizer):
    def decode(self, ids):
        ids[0]
        return super().decode(ids)


@breaks("decode accepts anything")
class TruncationRaises(ReferenceTokenizer):
    def decode(self, ids):
        if ids and NAMES[min(ids[-1], len(NAMES) - 1)].startswith("Velocity"):
            raise RuntimeError("a note without a duration")
        return super().decode(ids)


@breaks("decode accepts anything")
class IdsBeyondTheVocabularyRaise(ReferenceTokenizer):
    def read(self, ids):
        return super().read([IDS[NAMES[id]] for id in ids])


@breaks("decode accepts anything")
class NotesOfNoLength(ReferenceTokenizer):
    def note(self, onset, duration, pitch, velocity):
        return symusic.Note(SIXTEENTH * onset, SIXTEENTH * (duration % 16), pitch, 64)


@breaks("every id has a name")
class SpecialsWithoutNames(ReferenceTokenizer):
    def token(self, id):
        return NAMES[id] if id > 2 else ""


@breaks("save and build give the same tokenizer")
class TrainingNotSaved(ReferenceTokenizer):
    def save(self, folder):
        (folder / "learned.json").write_text("0")


@breaks("save and build give the same tokenizer")
class SavesAPickle(ReferenceTokenizer):
    def save(self, folder):
        super().save(folder)
        (folder / "all.bin").write_bytes(pickle.dumps(self.learned))


@breaks("save and build give the same tokenizer")
class FingerprintForgetsWhatWasLearned(ReferenceTokenizer):
    def tempo_level(self, tempo):
        return self.learned % 8

    def fingerprint(self):
        return "reference"


@breaks("transposition commutes")
class TransposesDurations(ReferenceTokenizer):
    def transpose_table(self, semitones):
        table = super().transpose_table(semitones)
        long, longer = IDS["Duration_1"], IDS["Duration_3"]
        return [*table[:long], *(image + 2 * (semitones != 0) for image in table[long:longer]), *table[longer:]]


@breaks("transposition commutes")
class TransposesTheWrongWay(ReferenceTokenizer):
    def transpose_table(self, semitones):
        return self.shifted("Pitch", -semitones)


@breaks("transposition can be undone")
class TransposesToTheEdge(ReferenceTokenizer):
    def transpose_table(self, semitones):
        table, edge = super().transpose_table(semitones), IDS["Pitch_127" if semitones > 0 else "Pitch_0"]
        return [edge if image == -1 else image for image in table]


@breaks("velocity and tempo maps keep the notes")
class VelocityMapMovesPitches(ReferenceTokenizer):
    def velocity_table(self, steps):
        return self.shifted("Pitch", steps)


@breaks("velocity and tempo maps keep the notes")
class LouderIsSofter(ReferenceTokenizer):
    def velocity_table(self, steps):
        return self.shifted("Velocity", -steps)


@breaks("velocity and tempo maps keep the notes")
class LoudnessStays(ReferenceTokenizer):
    def velocity_table(self, steps):
        return self.shifted("Velocity", 0)


@breaks("velocity and tempo maps keep the notes")
class FasterIsSlower(ReferenceTokenizer):
    def tempo_table(self, factor):
        return self.shifted("Tempo", round(10 * (1 - factor)))


@breaks("bar starts in order")
class BarStartsAtEveryPosition(ReferenceTokenizer):
    def bar_starts(self, ids):
        return [at for at, id in enumerate(ids) if NAMES[id].startswith(("Bar", "Position"))]


@breaks("bar starts in order")
class BarStartsCountFromOne(ReferenceTokenizer):
    def bar_starts(self, ids):
        return [*(at + 1 for at in super().bar_starts(ids)), len(ids)]


@breaks("bar starts in order")
class BarStartsBackwards(ReferenceTokenizer):
    def bar_starts(self, ids):
        return super().bar_starts(ids)[::-1]


def with_grammar(grammar):
    """The reference with another grammar."""
    return type(grammar.__name__, (ReferenceTokenizer,), {"grammar": lambda self, bars=0, length=0: grammar(bars)})


@breaks("grammar allows real music")
@with_grammar
class MasksLongNotes(ReferenceGrammar):
    def open(self, row, kind, floor):
        super().open(row, kind, floor)
        row[FIRST["Duration"] + 32 :] = False


@breaks("grammar allows real music")
class NoLowPitchesWhereBarsAreCounted(ReferenceTokenizer):
    def grammar(self, bars=0, length=0):
        return MasksLowPitches(bars) if bars else ReferenceGrammar()


class MasksLowPitches(ReferenceGrammar):
    def open(self, row, kind, floor):
        super().open(row, kind, floor)
        row[FIRST["Pitch"] : FIRST["Pitch"] + 64] = False


@breaks("grammar allows real music")
@with_grammar
class NeverEnds(ReferenceGrammar):
    def allowed(self, state):
        allowed = super().allowed(state)
        allowed[:, 2] = False
        return allowed


@breaks("grammar keeps rows apart")
@with_grammar
class AllRowsLikeTheFirst(ReferenceGrammar):
    def allowed(self, state):
        allowed = super().allowed(state)
        return allowed[:1].expand_as(allowed)


@breaks("grammar keeps rows apart")
@with_grammar
class AdvancesInPlace(ReferenceGrammar):
    def advance(self, state, ids):
        state.update(super().advance(state, ids))
        return state


@breaks("grammar always leaves a token")
class DeadEndAtTheLength(ReferenceTokenizer):
    def grammar(self, bars=0, length=0):
        return StopsAfter(bars, length)


class StopsAfter(ReferenceGrammar):
    def __init__(self, bars, length):
        super().__init__(bars)
        self.length = length

    def begin(self, batch):
        return {**super().begin(batch), "tokens": torch.zeros(batch, dtype=torch.int64)}

    def allowed(self, state):
        return super().allowed(state) & ((state["tokens"] < self.length) | (self.length == 0))[:, None]

    def advance(self, state, ids):
        return {**super().advance(state, ids), "tokens": state["tokens"] + 1}


@breaks("grammar always leaves a token")
@with_grammar
class DeadEnd(ReferenceGrammar):
    def after(self, kind):
        return [] if kind == "Pitch" else super().after(kind)


@breaks("grammar always leaves a token")
@with_grammar
class AllowsPadding(ReferenceGrammar):
    def allowed(self, state):
        allowed = super().allowed(state)
        allowed[:, 0] = True
        return allowed


@breaks("grammar samples are music that survives")
@with_grammar
class MayNeverEnd(ReferenceGrammar):
    def allowed(self, state):
        allowed = super().allowed(state)
        allowed[:, 2] &= state["last"] == len(NAMES)
        return allowed


@breaks("grammar samples are music that survives")
@with_grammar
class EndsBeforeItBegins(ReferenceGrammar):
    def allowed(self, state):
        allowed = super().allowed(state)
        allowed[:, 2] = True
        return allowed


class _Overlaps(ReferenceTokenizer):
    """Keeps both of two equal notes in decoding, and one in encoding."""

    def decode(self, ids):
        score = symusic.Score(4 * SIXTEENTH)
        score.tracks.append(symusic.Track())
        bar, position, pitch = -1, 0, None
        for kind, value in self.read(ids):
            if kind == "Bar":
                bar += 1
            position = value if kind == "Position" else position
            pitch = value if kind == "Pitch" else pitch
            if kind == "Duration" and pitch is not None:
                score.tracks[0].notes.append(self.note(16 * max(bar, 0) + position, value + 1, pitch, 4))
        return type("Decoded", (), {"score": score})()

    def grammar(self, bars=0, length=0):
        return _AllowsDuplicates(bars)


class _AllowsDuplicates(ReferenceGrammar):
    def open(self, row, kind, floor):
        super().open(row, kind, 0 if kind == "Pitch" else floor)
        row[2] = False


@breaks("grammar samples are music that survives")
class AllowsTheSameNoteTwice(_Overlaps):
    pass


@breaks("grammar keeps to the bars asked for")
class TakesNoBars(ReferenceTokenizer):
    def grammar(self):
        return ReferenceGrammar()


@breaks("grammar keeps to the bars asked for")
class IgnoresBars(ReferenceTokenizer):
    def grammar(self, bars=0, length=0):
        return ReferenceGrammar()


@breaks("grammar keeps to the bars asked for")
class StopsABarTooSoon(ReferenceTokenizer):
    def grammar(self, bars=0, length=0):
        return ReferenceGrammar(max(bars - 1, 0))


@breaks("optional parts answer as they are asked")
class OpensWithNothing(ReferenceTokenizer):
    def opening(self, ids):
        return []


@breaks("optional parts answer as they are asked")
class OpensWithTheBeginning(ReferenceTokenizer):
    def opening(self, ids):
        return [self.bos_id, *ids]


@breaks("optional parts answer as they are asked")
class KindsOfItsOwn(ReferenceTokenizer):
    def kind_of(self, id):
        return "loud"


@breaks("ticks of a quarter do not matter")
class TakesEveryFileFor480(ReferenceTokenizer):
    def encode(self, piece):
        score = piece.score
        return super().encode(_Piece(_Score(score.tracks, score.tempos, 480)))


_Score = namedtuple("_Score", "tracks tempos ticks_per_quarter")
_Piece = namedtuple("_Piece", "score")


@breaks("odd music is taken or named")
class NeedsATempo(ReferenceTokenizer):
    def encode(self, piece):
        assert piece.score.tempos[0].qpm > 0
        return super().encode(piece)


@breaks("odd music is taken or named")
class KnowsThreeMeters(ReferenceTokenizer):
    def encode(self, piece):
        for meter in piece.score.time_signatures:
            {(4, 4): 0, (3, 4): 1, (6, 8): 2}[meter.numerator, meter.denominator]
        return super().encode(piece)


@breaks("long music is not cut in silence")
class CutsAtThirtyBars(ReferenceTokenizer):
    def kept(self, rows):
        return [row for row in rows if row[0][0] < 30 * 16]


@breaks("tempos are told as they are")
class TellsTheQuarterForTheTempo(ReferenceTokenizer):
    def tempo_level(self, tempo):
        return super().tempo_level(12000 / tempo)


class _Drums(ReferenceTokenizer):
    """Tells low pitches as drums."""

    def decode(self, ids):
        score = super().decode(ids).score
        notes = list(score.tracks[0].notes)
        score.tracks[0].notes = [note for note in notes if note.pitch >= 48]
        score.tracks.append(symusic.Track(is_drum=True))
        score.tracks[-1].notes.extend([note for note in notes if note.pitch < 48])
        return Decoded(score)


@breaks("drums do not move")
class MovesDrums(_Drums):
    pass


@breaks("decode leaves its ids alone and remembers nothing")
class TakesTheEndOff(ReferenceTokenizer):
    def decode(self, ids):
        while ids and ids[-1] < 3:
            ids.pop()
        return super().decode(ids)


@breaks("decode leaves its ids alone and remembers nothing")
class RemembersTheTempo(ReferenceTokenizer):
    last = 120

    def decode(self, ids):
        score = super().decode(ids).score
        self.last = score.tempos[0].qpm if len(score.tempos) else self.last + 1
        score.tempos.clear()
        score.tempos.append(symusic.Tempo(0, self.last))
        return Decoded(score)


@breaks("fingerprint tells the options")
class ForgetsHowSoft(ReferenceTokenizer):
    def __init__(self, hparams, folder=None):
        super().__init__(hparams, folder)
        self.softer = hparams.softer

    def note(self, onset, duration, pitch, velocity):
        return symusic.Note(SIXTEENTH * onset, SIXTEENTH * duration, pitch, 16 * velocity + 8 - self.softer)


@breaks("kinds fit the maps")
class PitchesAreDurations(ReferenceTokenizer):
    def kind_of(self, id):
        return {"Pitch": "duration", "Duration": "pitch"}.get(NAMES[id].partition("_")[0], "other")


@breaks("bars are cut where they begin")
class BarStartsBehindTheBar(ReferenceTokenizer):
    def bar_starts(self, ids):
        return [at + 1 for at in super().bar_starts(ids) if at + 1 < len(ids)]


@breaks("bars are cut where they begin")
class BarStartsBeforeTheBar(ReferenceTokenizer):
    def bar_starts(self, ids):
        return sorted({max(0, at - 1) for at in super().bar_starts(ids)})


class _Seconds(ReferenceTokenizer):
    def times(self, ids):
        bar, seconds = -1, []
        for kind, value in self.read(ids):
            bar += kind == "Bar"
            at = seconds[-1] if seconds else 0.0
            seconds.append(2.0 * max(bar, 0) + value / 8 if kind == "Position" else max(at, 2.0 * bar))
        return seconds


@breaks("seconds and tokens of bars are as declared")
class TellsMilliseconds(_Seconds):
    def times(self, ids):
        return [1000 * time for time in super().times(ids)]


@breaks("seconds and tokens of bars are as declared")
class LeavesATimeOut(_Seconds):
    def times(self, ids):
        return super().times(ids)[1:]


@breaks("seconds and tokens of bars are as declared")
class BarsOfSixteen(ReferenceTokenizer):
    bar_tokens = 16


@breaks("what does not learn stays as it is")
class LearnsInSecret(ReferenceTokenizer):
    learns = False
