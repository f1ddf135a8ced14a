"""ABC text at once as a score, and as canonical text with repeats written out."""

import symusic

from datatools.abc.reader import score_of
from datatools.abc.repeats import read_tune
from datatools.abc.text import text_of


def score(text: str) -> symusic.Score:
    """The score of one tune."""
    return score_of(read_tune(text))


def unrolled(text: str, remarks: list[str] | None = None) -> str:
    """Its canonical text; what was left out is added to `remarks`."""
    return text_of(read_tune(text, remarks=remarks))
