"""A single line on a grid of sixteenths, 130 symbols: pitches, hold and off (MusicVAE, arXiv 1803.05428)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import symusic

from core.contracts.piece import Piece
from hparams.tokenizers.sixteenths import MelodyHParams
from plugins import hookimpl
from plugins.tokenizers.sixteenths import lines
from plugins.tokenizers.sixteenths.tokenizer import LINE, StepTokenizer


class MelodyTokenizer(StepTokenizer):
    """A token a sixteenth."""

    blocks = (LINE,)

    def __init__(self, hparams: MelodyHParams, folder: Path | None = None) -> None:
        self.hparams = hparams
        super().__init__("melody", {"track": hparams.track, "chords": hparams.chords}, folder)

    def encode(self, piece: Piece) -> list[int]:
        """Ids of the line; ValueError naming the piece where there is none, or more than one."""
        wanted = self.hparams.track.lower()
        tracks = [track for track in piece.score.tracks if not track.is_drum and len(track.notes)]
        if wanted:
            tracks = [track for track in tracks if track.name.strip().lower() == wanted]
        source = piece.source or "a piece"
        if not tracks:
            what = f'no track called "{self.hparams.track}" (tokenizer.track)' if wanted else "no track of pitches"
            raise ValueError(f"{source}: it has {what}")
        try:
            ids: list[int] = lines.line_of(*lines.steps(piece.score, tracks), self.hparams.chords).tolist()
        except ValueError as error:
            raise ValueError(f"{source}: {error} (or tokenizer.chords=highest)") from error
        return ids

    def score(self, ids: list[int]) -> symusic.Score:
        """The line as a piano's."""
        score = lines.blank()
        lines.add(score, *lines.notes_of(np.array(ids, dtype=np.int64)), program=0)
        return score


def build(hparams: MelodyHParams, folder: Path | None = None) -> MelodyTokenizer:
    """The tokenizer; HubError when `folder` holds one whose ids mean something else."""
    return MelodyTokenizer(hparams, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    """Offers `melody`."""
    register("melody", MelodyHParams, build, defaults={"dataset": "folk_tunes", "data.augment.transpose": 5})
