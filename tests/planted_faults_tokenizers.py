"""Tokenizers with one fault each, and the law that must name it."""

import itertools
import pickle

import symusic
import torch

from tests.reference_tokenizer import FIRST, IDS, NAMES, SIXTEENTH, ReferenceGrammar, ReferenceTokenizer

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
