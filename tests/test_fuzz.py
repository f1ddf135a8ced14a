"""Damaged and odd input by the hundred: everything ends in music or in one line of reason."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import HubError

if sys.platform == "win32":
    pytest.skip("limits of time by signals of POSIX", allow_module_level=True)

from tests import fuzz, fuzz_cases, fuzz_chunks, fuzz_midi
from tests.fuzz_cases import KINDS, ending
from tests.toy_tasks import die_at, warm_nothing

FINDINGS = fuzz_chunks.FINDINGS


@pytest.fixture(scope="module")
def good() -> fuzz_cases.Corpus:
    return fuzz_cases.corpus()


@pytest.mark.parametrize(("kind", "count"), [("midi", 300), ("abc", 200), ("musicxml", 30), ("mxl", 30), ("kern", 30)])
def test_readers(kind: str, count: int) -> None:
    result = fuzz_chunks.readers("", (kind, 0, 0, count))[kind]
    assert not result["findings"]
    assert sum(result["ends"].values()) == count and result["ends"]["read"] > count / 3, result["reasons"]


def test_tokenizers() -> None:
    """A third of what is read is fit for any tokenizer; ABC and voices of a grid are choosier than MIDI."""
    count = 5
    found = fuzz_chunks.tokenizers("", ("all", 0, 0, count))
    assert {"remi, encode", "tsd, decode", "abc, decode", "remi, BPE 600, decode"} <= set(found)
    for name, result in found.items():
        assert not result["findings"], name
        assert sum(result["ends"].values()) == count
        assert result["ends"].get("read", 0) or "encode" in name


def test_inputs_depend_on_seed_and_number_alone(good: fuzz_cases.Corpus) -> None:
    for kind in KINDS:
        made = [fuzz_cases.case(kind, 1, number, good) for number in (5, 6, 5)]
        assert made[0] == made[2] != made[1] != fuzz_cases.case(kind, 2, 6, good)


def test_midi_is_taken_apart_and_put_together(good: fuzz_cases.Corpus) -> None:
    """The events of a file are those that mido reads."""
    import io

    import mido

    for data in good["midi"]:
        tracks = mido.MidiFile(file=io.BytesIO(data)).tracks
        file = fuzz_midi.parsed(data)
        assert [len(track) for track in tracks] == [len(events) for events in file.tracks]
        assert [sum(event.delta for event in events) for events in file.tracks] == [
            sum(message.time for message in track) for track in tracks
        ]


def fail(error: BaseException) -> Callable[[], Any]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "end"),
    [
        (lambda: None, "read"),
        (fail(ValueError("it has no notes")), "refused"),
        (fail(HubError("it has no notes")), "refused"),
        (fail(ValueError("")), "unhandled"),
        (fail(ValueError("two\nlines")), "unhandled"),
        (fail(ValueError("\x1b[2J")), "unhandled"),
        (fail(UnicodeDecodeError("utf-8", b"", 0, 1, "of another's")), "unhandled"),
        (fail(KeyError("x")), "unhandled"),
        (fail(AssertionError("x")), "unhandled"),
        (fail(RecursionError("x")), "unhandled"),
        (fail(MemoryError()), "memory"),
        (lambda: time.sleep(5), "slow"),
    ],
)
def test_ends_are_told_apart(work: Callable[[], Any], end: str) -> None:
    assert ending(work, 0.1).end == end


def test_an_input_that_kills_its_worker_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "done.jsonl"
    settings = {"workers": "1", "out": str(out)}
    tasks = [("toy", 0, 0, 3), ("toy", 0, 3, 6)]
    results = fuzz.run(die_at, tasks, settings, warm_nothing)
    assert fuzz.table(results) == 1
    said = capsys.readouterr().out
    for way in ("toy, one way", "toy, another"):
        assert f"| {way} | 5 | 5 (100 %) | 0 | 0 | 0 | 0 | 0 |" in said
    assert "| toy | 1 | 0 (0 %) | 0 | 0 | 0 | 0 | 1 |" in said
    assert "FINDING toy number=4 crash: kills the process that reads it (SIGKILL)" in said
    lines = out.read_text().splitlines()
    out.write_text(lines[0] + "\n")
    again = fuzz.run(die_at, tasks, settings, warm_nothing)  # what is done stays done
    assert again.keys() == results.keys()
    assert [part["ends"] for part in again["toy, another"]] == [part["ends"] for part in results["toy, another"]]
    assert len(out.read_text().splitlines()) == 2
