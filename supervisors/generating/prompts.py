"""Prompts: the first beats or bars of a file as token ids."""

from core.contracts.piece import Piece
from core.contracts.tokenizer import Ids, Tokenizer
from core.errors import HubError
from core.log import logger
from datatools.bar_lines import bar_lines
from datatools.reading import scores
from hparams.base import GenerateHParams


def prompt_ids(tokenizer: Tokenizer, asked: GenerateHParams) -> Ids:
    """Ids of the prompt file, or of its first beats or bars; no ids without one."""
    for key in ("prompt_beats", "prompt_bars"):  # not in the settings themselves: artefacts hold what was once given
        found = getattr(asked, key)
        if found and not asked.prompt:
            raise HubError(f"generate.{key} is {found!r}; expected generate.prompt=FILE beside it")
    if not asked.prompt:
        return []
    try:
        piece = scores.read(asked.prompt)
        if (tunes := scores.count(asked.prompt)) > 1:
            logger.info(f"generate.prompt: {asked.prompt} holds {tunes} tunes; the first, {piece.title!r}, is taken")
    except (ValueError, OSError) as error:
        raise HubError(f"generate.prompt: {asked.prompt} cannot be read: {error}") from error
    if asked.prompt_beats or asked.prompt_bars:
        piece = _beginning(piece, asked)
    opening = getattr(tokenizer, "opening", list)  # a prompt as the grammar may go on from
    try:
        return list(opening(tokenizer.encode(piece)))
    except ValueError as error:
        raise HubError(f"generate.prompt: the tokenizer cannot tell {asked.prompt}: {error}") from error


def _beginning(piece: Piece, asked: GenerateHParams) -> Piece:
    """The piece up to the end of the beats or bars that are asked for."""
    score = piece.score.copy()
    if asked.prompt_beats:
        end, told = round(asked.prompt_beats * score.ticks_per_quarter), f"{asked.prompt_beats:g} beats"
    else:
        lines = bar_lines(score, score.end() / score.ticks_per_quarter)
        beyond = lines[asked.prompt_bars : asked.prompt_bars + 1]  # where the bar after the last one begins
        end = round(beyond[0] * score.ticks_per_quarter) if beyond else score.end()
        told = "bar" if asked.prompt_bars == 1 else f"{asked.prompt_bars} bars"
    clipped = score.clip(0, end)
    for note in (note for track in clipped.tracks for note in track.notes):
        note.duration = min(note.duration, end - note.time)  # what is held over the border sounds up to it
    if not any(len(track.notes) for track in clipped.tracks):
        first = min(note.time for track in score.tracks for note in track.notes)
        if asked.prompt_beats:
            enough = f"prompt_beats={first // score.ticks_per_quarter + 1}"
        else:
            enough = f"prompt_bars={sum(round(line * score.ticks_per_quarter) <= first for line in lines)}"
        raise HubError(f"generate.prompt: {asked.prompt} has no note in its first {told}; generate.{enough} has one")
    return scores.piece_from_score(clipped, source=piece.source, title=piece.title, sha256=piece.sha256)
