"""Irishman and sets of its kind: JSON of tunes as ABC, `[{"abc notation": "X:1 ...", ...}, ...]` (Wu et al., 2023).

Files named train and validation keep their sides, as published. A file may also hold one object a line.
"""

import json
import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

from core.contracts.piece import Piece
from datatools.abc import book
from datatools.reading.scores import piece_from_abc
from hparams.datasets import IrishmanHParams
from plugins import hookimpl
from plugins.datasets.records.lines import Format, Lines, Unread

KEYS = ("abc notation", "abc_notation", "abc")
EXPECTED = f"expected objects with a text as one of {', '.join(KEYS)}, in a list or one a line"
FIRST = re.compile(r"^[ \t]*([XK]):", re.MULTILINE)


def tunes_of(text: str) -> list[str | Unread]:
    """The texts of the tunes, and why where a record is none; ValueError where the file holds records but no tune."""
    found = [tune for record in _records(text) for tune in _tunes(record)]
    bad = [tune for tune in found if isinstance(tune, Unread)]
    if found and len(bad) == len(found):
        raise ValueError(f"it is no JSON of tunes: {bad[0].reason}")
    return found


def _records(text: str) -> Iterator[tuple[str, Any] | Unread]:
    """Each object of a file and where it stands; ValueError where a list of them is no JSON."""
    if text.lstrip().startswith("["):
        try:
            records = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"it is no JSON of tunes ({error}); {EXPECTED}") from error
        yield from ((f"record {number}", record) for number, record in enumerate(records, 1))
        return
    for number, line in enumerate(text.split("\n"), 1):  # `splitlines` would cut strings that hold U+2028, too
        try:
            if line.strip():
                yield f"line {number}", json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Unread(f"line {number} is no JSON ({str(error).replace(': line 1 column', ': column')}); {EXPECTED}")


def _tunes(found: tuple[str, Any] | Unread) -> list[str | Unread]:
    """The tune of an object, or each of the several in it."""
    if isinstance(found, Unread):
        return [found]
    where, record = found
    if not isinstance(record, dict):
        return [Unread(f"{where} is {json.dumps(record)[:60]}; {EXPECTED}")]
    texts = [record[key] for key in KEYS if isinstance(record.get(key), str)]
    if not texts:
        said = ", ".join(f"{key}: {json.dumps(value)[:30]}" for key, value in record.items())
        return [Unread(f"{where} holds {said[:90] or 'nothing'}; {EXPECTED}")]
    first = FIRST.search(texts[0])
    text = texts[0] if first and first[1] == "X" else f"X:1\n{texts[0]}"
    return list(book.tunes(text)) if book.count_tunes(text) > 1 else [text]


def read(text: str, source: str) -> Piece:
    """The tune of an object."""
    return piece_from_abc(text, source=source, sha256=sha256(text.encode("utf-8", "surrogatepass")).hexdigest())


FORMAT = Format(
    name="irishman",
    license="MIT (the collection); the tunes come from thesession.org and abcnotation.com",
    url="https://huggingface.co/datasets/sander-wood/irishman",
    expected="irishman's train.json and validation.json, or the folder of such files",
    extensions=frozenset({".json", ".jsonl"}),
    split=tunes_of,
    read=read,
)


def build(hparams: IrishmanHParams) -> Lines:
    return Lines(FORMAT, hparams.path)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("irishman", IrishmanHParams, build)
