"""Irishman and sets of its kind: JSON of tunes as ABC, `[{"abc notation": "X:1 ...", ...}, ...]` (Wu et al., 2023).

Files named train and validation keep their sides, as published. A file may also hold one object a line.
"""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from core.contracts.piece import Piece
from datatools.reading.scores import piece_from_abc
from hparams.datasets import IrishmanHParams
from plugins import hookimpl
from plugins.datasets.records.lines import Format, Lines

KEYS = ("abc notation", "abc_notation", "abc")


def tunes_of(text: str) -> list[str]:
    """The texts of the tunes; ValueError where the file is no such JSON."""
    try:
        found = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]
        return [_tune(each) for each in found]
    except (ValueError, TypeError) as error:
        raise ValueError(f"it is no JSON of tunes ({error}); expected objects with one of {', '.join(KEYS)}") from error


def _tune(found: Any) -> str:
    for key in KEYS:
        if isinstance(found, dict) and isinstance(found.get(key), str):
            return str(found[key])
    raise ValueError(f"a tune has keys {', '.join(found) if isinstance(found, dict) else found!r}")


def read(text: str, source: str) -> Piece:
    """The tune of an object."""
    text = text if text.lstrip().startswith("X:") else f"X:1\n{text}"
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
