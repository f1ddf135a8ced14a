"""The tempo of a prompt, at which a piece goes on where its tokens tell none."""

from fractions import Fraction

import symusic

from core.contracts.piece import Piece
from datatools.abc.repeats import read_tune
from datatools.abc.text import text_of

Tempos = list[tuple[float, float]]  # (quarters from the beginning, quarters a minute), the first at 0

_UNTOLD = 120.0  # quarters a minute, as MIDI has it where no tempo stands


def tempos_to_keep(given: symusic.Score, decoded: symusic.Score) -> Tempos:
    """The tempos of a prompt, `given` as it was read and `decoded` from its tokens; none where these tell its time.

    Tokens tell no tempo where they decode to 120 quarters a minute alone. They may yet tell seconds, as those of
    performances do: the tempos are kept only where with them the prompt lasts more nearly as long as it did.
    """
    tempos = [(tempo.time / given.ticks_per_quarter, float(tempo.qpm)) for tempo in given.tempos]
    if not tempos or tempos[0][0] > 0:
        tempos.insert(0, (0.0, _UNTOLD))
    true, now, then = (_seconds(score) for score in (given, decoded, _with(decoded, tempos)))
    return tempos if _untold(decoded) and abs(then - true) < abs(now - true) else []


def kept(piece: Piece, tempos: Tempos) -> Piece:
    """The piece at these tempos, if there are any and it tells none of its own."""
    if not tempos or not _untold(piece.score):
        return piece
    return Piece(
        piece.source,
        piece.title,
        piece.sha256,
        lambda: _with(piece.score, tempos),
        lambda: _marked(piece.abc, tempos),
        piece.remarks,
    )


def _untold(score: symusic.Score) -> bool:
    return all(round(tempo.qpm) == _UNTOLD for tempo in score.tempos)


def _with(score: symusic.Score, tempos: Tempos) -> symusic.Score:
    """A copy at these tempos."""
    result = score.copy()
    times = [(round(time * score.ticks_per_quarter), speed) for time, speed in tempos]
    result.tempos = symusic.core.TempoTickList([symusic.Tempo(time, speed) for time, speed in times])
    return result


def _marked(abc: str, tempos: Tempos) -> str:
    """Canonical ABC at these tempos; one within a note holds from the next note on."""
    tune = read_tune(abc, silent=True)
    tune.tempo = tempos[0][1]
    coming = list(tempos[1:])
    time = Fraction(0)  # in whole notes
    for event in (event for bar in tune.voices[0] for event in bar.events):
        while coming and coming[0][0] <= 4 * time:
            event.tempo = coming.pop(0)[1]
        time += event.duration
    return text_of(tune)


def _seconds(score: symusic.Score) -> float:
    """When its last note ends."""
    return float(score.to("second").end())
