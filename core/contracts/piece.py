"""One work of music, whatever the file was that it came from."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

import symusic


class Piece:
    """A work as a score and as ABC text, each made when first asked for.

    `source` names the file (and the tune in a book), `title` the work, `sha256` the bytes it was read from.
    `make_score` and `make_abc` do the conversion; either may raise a ValueError that names the piece.
    `remarks` are what the reader left out, mended or decided, a line each; those about the conversion come with it.
    `labels` are what the dataset says of the piece besides its music, word by column (a caption, a genre).
    """

    def __init__(
        self,
        source: str,
        title: str,
        sha256: str,
        make_score: Callable[[], symusic.Score],
        make_abc: Callable[[], str],
        remarks: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.source = source
        self.title = title
        self.sha256 = sha256
        self.remarks = list(remarks)
        self.labels = dict(labels or {})
        self._make_score = make_score
        self._make_abc = make_abc

    @cached_property
    def score(self) -> symusic.Score:
        """The notes in ticks: tracks and notes in canonical order, repeats written out."""
        return self._make_score()

    @cached_property
    def abc(self) -> str:
        """ABC text with repeats written out; ValueError when the score is not quantised."""
        return self._make_abc()

    def __repr__(self) -> str:
        return f"Piece({self.source!r})"
