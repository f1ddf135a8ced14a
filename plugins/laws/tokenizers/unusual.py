"""Laws on music unlike most: in other ticks, without a tempo, in odd meters, long, or with drums."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import symusic

from datatools.reading.scores import piece_from_score
from plugins.laws.law import Finding, verdict
from plugins.laws.pieces import TICKS, Row, Specimen, heard
from plugins.laws.tokenizers.subject import Refused, TokenizerSubject, law, same_ids
from plugins.laws.tokenizers.tables import transposition_commutes

OTHER_TICKS = (24, 1024)  # a quarter; both divide into the eighths of the plain melodies
LONG_BARS = 40
SLOW, QUICK = 60.0, 200.0  # quarters a minute


Meters = tuple[tuple[int, int, int], ...]  # from which quarter, how many, of which note


def melody(name: str, tempo: float | None = 120.0, meters: Meters = ((0, 4, 4),)) -> Specimen:
    """Eight quarters that rise."""
    return line(name, [(at, 1.0, 60 + 2 * (at % 5)) for at in range(8)], tempo, meters)


def line(
    name: str,
    rows: Sequence[Row],
    tempo: float | None = 120.0,
    meters: Meters = ((0, 4, 4),),
    drums: Sequence[Row] = (),
) -> Specimen:
    """A specimen of notes at one loudness."""
    score = symusic.Score(TICKS)
    for at, upper, lower in meters:
        score.time_signatures.append(symusic.TimeSignature(at * TICKS, upper, lower))
    if tempo is not None:
        score.tempos.append(symusic.Tempo(0, tempo))
    for is_drum, notes in ((False, rows), (True, drums)):
        track = symusic.Track(program=0, is_drum=is_drum)
        for start, length, pitch in notes:
            track.notes.append(symusic.Note(round(start * TICKS), round(length * TICKS), pitch, 80))
        score.tracks.append(track)
    return Specimen(name, piece_from_score(score, source=f"check/{name.replace(' ', '_')}", title=name))


@law("ticks of a quarter do not matter")
def ticks_do_not_matter(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    if specimen.plain:
        for ticks in OTHER_TICKS:
            score = specimen.piece.score.resample(ticks, min_dur=1)
            found = list(subject.tokenizer.encode(piece_from_score(score, source=specimen.piece.source)))
            yield same_ids(f"in {ticks} ticks a quarter", subject.tokenizer, found, subject.ids(specimen))


DRUMS = "drums alone"
ODD: dict[str, Callable[[], Specimen]] = {
    "a melody without a tempo": lambda: melody("a melody without a tempo", tempo=None),
    "a melody without a meter": lambda: melody("a melody without a meter", meters=()),
    "a melody in odd meters": lambda: melody("a melody in odd meters", meters=((0, 5, 8), (5, 7, 16))),
    "a note struck again while it sounds": lambda: line(
        "a note struck again while it sounds", [(0, 4.0, 60), (1, 1.0, 60), (3, 2.0, 62)]
    ),
    DRUMS: lambda: line(DRUMS, [], drums=[(at, 0.5, 36 + 2 * (at % 2)) for at in range(8)]),
}


@law("odd music is taken or named", once=True)
def odd_music(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    for name, make in ODD.items():
        piece = make().piece
        try:
            ids = subject.tokenizer.encode(piece)
        except ValueError as error:
            yield verdict(f"{name} is refused without its source {piece.source!r}: {error}", piece.source in str(error))
            continue
        except Exception as error:
            yield verdict(f"{name}: raised {type(error).__name__}: {error}; expected ids or a ValueError", False)
        silent = not heard(subject.tokenizer.decode(ids))
        yield verdict(f"{name} has ids, and decodes to no notes", not silent or name == DRUMS)  # which not all tell


@law("long music is not cut in silence", once=True)
def long_music(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    rows = [(at / 2, 0.5, 60 + at * 7 % 12) for at in range(8 * LONG_BARS)]
    said = line("a long melody", rows)
    ids = subject.ids(said)  # or it is refused, by name as any
    found = [note.pitch for note in heard(subject.tokenizer.decode(ids))]
    what = f"of {len(rows)} notes in {LONG_BARS} bars {len(found)} come through, or others"
    yield verdict(what, found == [pitch for _, _, pitch in rows])


@law("tempos are told as they are", once=True)
def tempos_are_told(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    """A slow melody is not told as quick as a fast one, in tempos or in seconds; who tells no tempos is left alone."""
    slow, quick = (subject.ids(melody(f"a melody at {tempo:g}", tempo)) for tempo in (SLOW, QUICK))
    if slow != quick:
        lasts = [_seconds(subject.tokenizer.decode(ids)) for ids in (slow, quick)]
        what = f"a melody at {SLOW:g} a minute lasts {lasts[0]:.3g} s decoded, at {QUICK:g} a minute {lasts[1]:.3g} s"
        yield verdict(what, lasts[0] > lasts[1])


def _seconds(piece: Any) -> float:
    """When the last note begins, by the first tempo."""
    marks = [mark.qpm for mark in piece.score.tempos][:1] or [120.0]
    return float(max(note.start for note in heard(piece))) * 60 / marks[0]


@law("drums do not move", once=True)
def drums_do_not_move(subject: TokenizerSubject, specimen: Specimen) -> Iterator[Finding]:
    drums = [(at / 2, 0.5, 36 + 2 * (at % 4)) for at in range(16)]
    both = line("drums and a melody", [(at, 1.0, 60 + at) for at in range(8)], drums=drums)
    try:
        yield from transposition_commutes(subject, both)
    except Refused:
        return
