"""Prompts: the first beats, bars or seconds of a file as token ids."""

from dataclasses import dataclass, field

import symusic

from core.contracts.piece import Piece
from core.contracts.tokenizer import Ids, Tokenizer
from core.errors import HubError
from core.log import logger
from core.words import counted
from datatools.bar_lines import bar_lines
from datatools.reading import scores
from hparams.base import PROMPT_CUTS, GenerateHParams
from supervisors.generating.tempo import Tempos, kept, tempos_to_keep


@dataclass(frozen=True)
class Prompt:
    """What to go on from: no ids for nothing, and the tempos at which it plays where the tokens tell none."""

    ids: Ids = field(default_factory=list)
    tempos: Tempos = field(default_factory=list)

    def decode(self, tokenizer: Tokenizer, ids: Ids) -> Piece:
        """The piece of ids that go on from it, at its tempos if they are kept."""
        return kept(tokenizer.decode(ids), self.tempos)


NOTHING = Prompt()


def prompt_of(tokenizer: Tokenizer, asked: GenerateHParams) -> Prompt:
    """The prompt file, or its first beats, bars or seconds; an empty prompt without one."""
    for key in PROMPT_CUTS:  # not in the settings themselves: artefacts hold what was once given
        found = getattr(asked, key)
        if found and not asked.prompt:
            raise HubError(f"generate.{key} is {found!r}; expected generate.prompt=FILE beside it")
    if not asked.prompt:
        return NOTHING
    try:
        piece = scores.read(asked.prompt)
        if (tunes := scores.count(asked.prompt)) > 1:
            logger.info(f"generate.prompt: {asked.prompt} holds {tunes} tunes; the first, {piece.title!r}, is taken")
    except (ValueError, OSError) as error:
        raise HubError(f"generate.prompt: {asked.prompt} cannot be read: {error}") from error
    if any(getattr(asked, key) for key in PROMPT_CUTS):
        piece = _beginning(piece, asked)
    opening = getattr(tokenizer, "opening", list)  # a prompt as the grammar may go on from
    try:
        ids = list(opening(tokenizer.encode(piece)))
    except ValueError as error:
        raise HubError(f"generate.prompt: the tokenizer cannot tell {asked.prompt}: {error}") from error
    tempos = tempos_to_keep(piece.score, tokenizer.decode(ids).score)
    if tempos:
        speed = f"{tempos[-1][1]:.4g} quarters a minute"
        logger.info(f"generate.prompt: its tokens tell no tempo; the pieces keep the prompt's, {speed}")
    return Prompt(ids, tempos)


def _beginning(piece: Piece, asked: GenerateHParams) -> Piece:
    """The piece up to the end of the beats, bars or seconds that are asked for."""
    score = piece.score.copy()
    lines = bar_lines(score, score.end() / score.ticks_per_quarter)
    if asked.prompt_beats:
        end, told = round(asked.prompt_beats * score.ticks_per_quarter), counted(asked.prompt_beats, "beat")
    elif asked.prompt_seconds:
        end, told = _tick(score, asked.prompt_seconds), counted(asked.prompt_seconds, "second")
    else:
        beyond = lines[asked.prompt_bars : asked.prompt_bars + 1]  # where the bar after the last one begins
        end = round(beyond[0] * score.ticks_per_quarter) if beyond else score.end()
        told = counted(asked.prompt_bars, "bar")
    clipped = score.clip(0, end)
    for note in (note for track in clipped.tracks for note in track.notes):
        note.duration = min(note.duration, end - note.time)  # what is held over the border sounds up to it
    if not any(len(track.notes) for track in clipped.tracks):
        first = min(note.time for track in score.tracks for note in track.notes)
        enough = {
            "prompt_beats": first // score.ticks_per_quarter + 1,
            "prompt_bars": sum(round(line * score.ticks_per_quarter) <= first for line in lines),
            "prompt_seconds": int(min(note.time for t in score.to("second").tracks for note in t.notes)) + 1,
        }
        given = next(key for key in PROMPT_CUTS if getattr(asked, key))
        others = " and ".join(f"{key}={enough[key]}" for key in PROMPT_CUTS if key != given)
        raise HubError(
            f"generate.prompt: {asked.prompt} has no note in its first {told}; "
            f"generate.{given}={enough[given]} has one, as have {others}"
        )
    return scores.piece_from_score(clipped, source=piece.source, title=piece.title, sha256=piece.sha256)


def _tick(score: symusic.Score, seconds: float) -> int:
    """When so many seconds have passed."""
    tick, speed = 0, 2.0 * score.ticks_per_quarter  # ticks a second, at 120 quarters a minute until one is told
    for tempo in score.tempos:
        passed = (tempo.time - tick) / speed
        if passed >= seconds:
            break
        tick, speed = tempo.time, score.ticks_per_quarter * tempo.qpm / 60
        seconds -= passed
    return round(tick + seconds * speed)
