"""What a person is told, how a work names itself, and what a file that is written leaves behind."""

import logging
import os
import sys
from pathlib import Path

import pytest

from core.contracts.piece import Piece
from core.errors import unknown
from core.files import write_text
from core.log import warn_once
from core.names import did_you_mean, nearest


def test_the_nearest_name_is_told_else_what_there_is() -> None:
    assert did_you_mean("mambo", ["lstm", "mamba", "mamba2"]) == ' Did you mean "mamba"?'
    names = ["performance_240", "performance_388", "performer"]
    assert did_you_mean("performance", names) == ' Did you mean "performance_240" or "performance_388"?'
    assert did_you_mean("x", ["b", "a", "b"]) == " Known: a, b."
    assert did_you_mean("x", []) == " None is known."
    twelve = [f"name{letter}" for letter in "abcdefghijkl"]
    assert did_you_mean("?", twelve) == f" Known: {', '.join(twelve)}."
    assert did_you_mean("?", [*twelve, "namem"]) == f" Known: {', '.join(twelve)}, ..."
    assert did_you_mean("zo", [*twelve, "zzz_other_word"]).endswith("namek, zzz_other_word, ..."), "the nearest is kept"
    assert str(unknown("backbone", "mambo", ["mamba"])) == 'there is no backbone "mambo". Did you mean "mamba"?'


def test_a_name_is_found_in_any_letters_and_by_what_it_says_of_itself() -> None:
    known = {
        "blocks": "A decoder with gates, as in Llama (arXiv 2302.13971).",
        "scan2": "Scan-2, a state space model (SSM).",
        "wide_lstm": "xLSTM of matrix memories, with gates.",
        "lstm": "Long memory, with gates.",
        "gru": "A unit with gates.",
    }
    found = {name: nearest(name, known) for name in ("LSTM", "Wide-LSTM", "widelstm", "scan-2", "SCAN_2", "scan")}
    assert [one for (one,) in list(found.values())[:5]] == ["lstm", "wide_lstm", "wide_lstm", "scan2", "scan2"]
    assert nearest("llama", known) == nearest("Llama-3", known) == nearest("llamas", known) == ["blocks"]
    assert nearest("xlstm", known) == ["wide_lstm"], "what it says goes before what looks alike"
    assert nearest("ssm", known) == nearest("state-space", known) == ["scan2"]
    assert nearest("gates", known) == [], "a word of all tells none of them from the others"
    assert nearest("?", known) == nearest("", known) == nearest("perceiver", known) == []
    assert did_you_mean("REMI", ["abc", "remi", "tsd"]) == ' Did you mean "remi"?'
    assert did_you_mean("REMMY", ["abc", "remi", "tsd"]) == ' Did you mean "remi"?'


def test_a_piece_names_its_source() -> None:
    def never() -> str:
        raise AssertionError

    assert repr(Piece("book.abc#2", "title", "00", never, never)) == "Piece('book.abc#2')"


def test_a_warning_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for message in ("one thing", "another", "one thing"):
            warn_once(message)
    assert [record.getMessage() for record in caplog.records] == ["one thing", "another"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts what Linux lists in /proc/self/fd")
def test_a_written_file_is_closed(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3):
        write_text(tmp_path / "text", str(number))
    assert len(os.listdir("/proc/self/fd")) == before
