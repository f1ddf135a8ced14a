"""Prompts: the first beats of a file as token ids."""

from core.contracts.tokenizer import Ids, Tokenizer
from core.errors import HubError
from datatools.reading import scores
from hparams.base import GenerateHParams


def prompt_ids(tokenizer: Tokenizer, asked: GenerateHParams) -> Ids:
    """Ids of the first beats of the prompt file; no ids without one."""
    if not asked.prompt:
        return []
    try:
        piece = scores.read(asked.prompt)
    except (ValueError, OSError) as error:
        raise HubError(f"generate.prompt: {asked.prompt} cannot be read: {error}") from error
    if asked.prompt_beats:
        score = piece.score.copy()
        end = round(asked.prompt_beats * score.ticks_per_quarter)
        clipped = score.clip(0, end)
        for note in (note for track in clipped.tracks for note in track.notes):
            note.duration = min(note.duration, end - note.time)  # what is held over the border sounds up to it
        if not any(len(track.notes) for track in clipped.tracks):
            raise HubError(f"generate.prompt: {asked.prompt} has no note in its first {asked.prompt_beats:g} beats")
        piece = scores.piece_from_score(clipped, source=piece.source, title=piece.title, sha256=piece.sha256)
    opening = getattr(tokenizer, "opening", list)  # a prompt as the grammar may go on from
    try:
        return list(opening(tokenizer.encode(piece)))
    except ValueError as error:
        raise HubError(f"generate.prompt: the tokenizer cannot tell {asked.prompt}: {error}") from error
