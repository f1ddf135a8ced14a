"""The token lines of folk-rnn, a tune a line: `M:6/8 K:maj |: =E | =G 2 =A ...` (Sturm et al., arXiv 1604.08723).

Versions 2 and 3: all tunes on the tonic C (or C sharp), of which the mode is told. No split is published with them.
"""

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from core.contracts.piece import Piece
from datatools.reading.scores import piece_from_abc
from hparams.datasets import FolkRnnHParams
from plugins import hookimpl
from plugins.datasets.records.lines import Format, Lines

MODE = re.compile(r"K:(?:C)?(maj|min|dor|mix)")
PUBLISHED = frozenset({"data_v2", "data_v3", "allabcwrepeats_parsed_wot"})
BEGIN = re.compile(rf"\ufeff?\s*(?:<s>\s+)?M:\S+\s+{MODE.pattern}\s")


def looks(path: Path) -> bool:
    """Whether a file of whatever ending is of token lines: it bears a published name or begins like them."""
    try:
        with path.open("rb") as file:
            begin = file.read(4096).decode("utf-8", "replace")
    except OSError:  # it is named when it is read
        begin = ""
    return path.name in PUBLISHED or BEGIN.match(begin) is not None


def abc_of(line: str) -> str:
    """A tune of ABC; ValueError where the line does not begin with a meter and a mode."""
    tokens = line.split()
    tokens = [token for token in tokens if token not in ("<s>", "</s>")]
    if len(tokens) < 3 or not tokens[0].startswith("M:") or not MODE.fullmatch(tokens[1]):
        begins = " ".join(tokens[:2])
        raise ValueError(f'it begins with "{begins}"; expected a meter and a mode, "M:4/4 K:maj"')
    body = []
    for token in tokens[2:]:
        mode = MODE.fullmatch(token)
        body.append(f"[K:C{mode[1]}]" if mode else token)
    mode = MODE.fullmatch(tokens[1])
    assert mode is not None
    return f"X:1\n{tokens[0]}\nL:1/8\nK:C{mode[1]}\n{''.join(body)}\n"


def lines_of(text: str) -> list[str]:
    """The lines that are not empty."""
    return [line for line in text.split("\n") if line.strip()]


def read(line: str, source: str) -> Piece:
    """The tune of a line."""
    return piece_from_abc(abc_of(line), source=source, title=source, sha256=sha256(line.encode()).hexdigest())


FORMAT = Format(
    name="folk_rnn",
    license="MIT (folk-rnn); the tunes come from thesession.org (ODbL)",
    url="https://github.com/IraKorshunova/folk-rnn",
    expected="a file of token lines such as allabcwrepeats_parsed_wot (v3) or data_v2, or the folder of some",
    extensions=frozenset({".txt"}),
    split=lines_of,
    read=read,
    looks=looks,
)


def build(hparams: FolkRnnHParams) -> Lines:
    return Lines(FORMAT, hparams.path)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("folk_rnn", FolkRnnHParams, build)
