"""A book of several tunes where one is wanted: the first is taken, and that is said."""

import argparse
import logging
from pathlib import Path
from typing import Any

import pytest

from core.errors import HubError
from core.log import logger
from hparams.base import GenerateHParams
from hparams.tokenizers.note_tokens import RemiHParams
from plugins.manager import load_manager
from supervisors.generating.prompts import prompt_of
from supervisors.verbs import convert


@pytest.fixture
def book(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.INFO)
    path = tmp_path / "two.abc"
    path.write_text("X:1\nT:One\nL:1/4\nK:C\nCDEF|\n\nX:2\nT:Two\nL:1/4\nK:C\ngfed|\n")
    return path


def test_a_prompt_is_the_first_tune(book: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = load_manager().make("tokenizer", RemiHParams())
    ids = prompt_of(tokenizer, GenerateHParams(prompt=str(book))).ids
    pitches = [note.pitch for track in tokenizer.decode(ids).score.tracks for note in track.notes]
    assert pitches == [60, 62, 64, 65]
    assert caplog.messages == [f"generate.prompt: {book} holds 2 tunes; the first, 'One', is taken"]


def test_the_first_tune_is_converted(book: Path, caplog: pytest.LogCaptureFixture) -> None:
    convert(argparse.Namespace(words=[str(book), str(book.with_suffix(".mid"))]))
    assert caplog.messages == [f"{book} holds 2 tunes; the first, 'One', is written"]


@pytest.mark.parametrize(
    ("asked", "enough"), [({"prompt_bars": 2}, "prompt_bars=3"), ({"prompt_beats": 8.0}, "prompt_beats=9")]
)
def test_a_prompt_that_begins_with_rests_says_how_much_has_a_note(
    asked: dict[str, Any], enough: str, tmp_path: Path
) -> None:
    path = tmp_path / "late.abc"
    path.write_text("X:1\nM:4/4\nL:1/4\nK:C\nz4|z4|CDEF|\n")
    tokenizer = load_manager().make("tokenizer", RemiHParams())
    with pytest.raises(HubError, match=f"has no note in its first .*; generate.{enough} has one"):
        prompt_of(tokenizer, GenerateHParams(prompt=str(path), **asked))
    key, _, value = enough.partition("=")
    assert prompt_of(tokenizer, GenerateHParams(prompt=str(path), **{key: int(value)})).ids
