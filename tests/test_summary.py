"""The lines that a finished run prints, character by character, from an evaluation that was made up by hand."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from supervisors.summary import measures, still_to_do, summary

PRICE = math.log(128 * 129 * 48 * 48)  # of a note that is not told: 17.45 nats


def split(nats: float, told: int, pieces: int, unigram: float, ngram: float) -> dict[str, Any]:
    """A split of 2,000 notes."""
    untold = PRICE * (2000 - told) / 2000
    return {
        "nats_per_note": nats,
        "nats_per_note_interval": [nats - 0.1, nats + 0.2],
        "headline": {"value": nats + untold, "low": nats + untold - 0.1, "high": nats + untold + 0.3},
        "nats_per_token": 0.98765,
        "bits_per_second": 12.345,
        "pieces": pieces,
        "notes": 2000,
        "notes_told": told,
        "baselines": {"unigram": {"nats_per_note": unigram}, "ngram": {"nats_per_note": ngram, "order": 5}},
    }


def evaluation(**more: Any) -> dict[str, Any]:
    return {
        "parameters": 1234567,
        "best": {"step": 40.0},
        "steps": 1600,
        "tokens_seen": 98765,
        "minutes": 2.54,
        "precision": "bfloat16",
        "valid": split(3.0, 2000, 7, 4.5, 4.0),
        "test": split(3.2, 1900, 8, 2.5, 2.6),
        **more,
    }


MANIFEST = {
    "failures": 1,
    "left_out": 2,
    "remarks": 0,
    "lost": {"drums": 100},
    "counts": {
        "train": {"notes": 9000, "notes_told": 8000},
        "valid": {"notes": 2000, "notes_told": 2000},
        "test": {"notes": 2000, "notes_told": 1900},
    },
}


def printed(result: dict[str, Any], manifest: dict[str, Any] = MANIFEST) -> dict[str, str]:
    lines = summary(Path("runs/x"), result, manifest, Path("c/failures.txt"), SimpleNamespace()).splitlines()
    found = {line[:13].strip(): line[13:] for line in lines}
    assert len(found) == len(lines)
    return found


def test_a_run_tells_its_figures_beside_those_of_the_better_baseline() -> None:
    found = printed(evaluation())
    assert list(found) == ["run", "model", "trained", "valid", "test", "not told", "lost", "not used"]
    assert found["model"] == "runs/x/model (1,234,567 parameters)"
    assert found["trained"] == "1,600 steps, 98,765 tokens, 2.5 minutes in bfloat16; best at step 40"
    # seven pieces have no interval; 3 is a quarter below the n-gram's 4, the better one
    assert found["valid"] == (
        "3.000 nats per note, 0.9877 per token, 12.35 bits per second (n = 7 pieces, 2,000 notes); "
        "unigram 4.500, 5-gram 4.000: 25.0 % below it"
    )
    # 100 of 2,000 notes at 17.4535 nats: 0.8727 on everything; 4.0727 is a fifth above the unigram's 3.3727
    assert found["test"] == (
        "4.073 [3.973, 4.373] nats per note (95.0% told, the others charged; 3.200 without), 0.9877 per token, "
        "12.35 bits per second (n = 8 pieces, 2,000 notes); unigram 3.373, 5-gram 3.473: 20.8 % above it"
    )
    assert found["not told"] == (
        "notes that the tokenizer drops, at 17.45 nats each above: 1,000 of 9,000 in train, 100 of 2,000 in test"
    )
    assert found["lost"] == "0.77 % of notes: drums (this tokenizer cannot tell them)"
    assert found["not used"] == "1 file that could not be read or told, 2 near-duplicates: see c/failures.txt"


def test_what_is_not_there_is_not_told_and_a_missing_test_split_is() -> None:
    whole = {split: {"notes": 5, "notes_told": 5} for split in ("train", "valid")}
    result = evaluation()
    for key in ("test", "tokens_seen", "steps", "minutes", "precision"):  # an artefact tells none of these
        del result[key]
    found = printed(result, {**MANIFEST, "failures": 0, "left_out": 0, "lost": {}, "counts": whole})
    assert list(found) == ["run", "model", "trained", "valid", "test"]
    assert found["trained"] == "best at step 40"
    assert found["test"].startswith("none: the data has no test pieces; validation, which also chose the weights,")
    alone = printed(evaluation(), {**MANIFEST, "failures": 0})["not used"]
    assert alone.startswith("0 files that could not be read or told, 2 near-duplicates")
    older = evaluation()
    del older["test"]["headline"]  # the interval of the tokens alone
    assert printed(older)["test"].startswith("4.073 [3.100, 3.400] nats per note")


def test_what_is_still_to_do_is_the_command_to_type() -> None:
    assert still_to_do(Path("runs/x"), {"metrics": {}}) == []
    [line] = still_to_do(Path("my runs/x"), {})
    assert line.endswith(": python -m supervisors.run evaluate --run 'my runs/x'")


def test_one_is_told_as_one() -> None:
    made = {"generated": {"n": 1, "ended": 1, "undecodable": 0, "empty": 0}}
    copying = {"generated": {"flagged": {"count": 0, "n": 1}, "copies": False}}
    result = {"made": made, "prompted": {"n": 0}, "test": {"pieces": 1}, "metrics": {}, "copying": copying}
    lines = measures({**result, "leakage": {"test": {"with_twin": 0, "pieces": 1}}}).splitlines()
    assert lines[0].startswith("generated    1 piece, 1 ended by itself, ")
    assert lines[1].startswith("measures     1 tested piece is too few")
    assert lines[-1] == "leakage      0 of 1 test piece has a near twin in training"


def figure(value: float, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 9, **more}


@pytest.mark.parametrize("pieces", [7, 8])
def test_what_was_generated_is_told_beside_real_music_and_the_floor(pieces: int) -> None:
    rows = {"generated": figure(0.5), "real": figure(0.75), "ngram": figure(0.25), "tokenizer": figure(0.7)}
    flagged = {"flagged": {"count": 0, "n": 9}, "copies": False}
    result = {
        "made": {"generated": {"n": 9, "ended": 6, "undecodable": 2, "empty": 1}},
        "prompted": {"n": 1},
        "test": {"pieces": pieces},
        "valid": {"pieces": 99},
        "metrics": {
            "over_lap": {"headline": True, "rows": rows},
            "aside": {"headline": False, "rows": {**rows, "real": {"error": "KeyError: x"}}},
            "broken": {"headline": False, "rows": {"generated": {"error": "ValueError: y"}}},
        },
        "copying": {"generated": flagged},
        "leakage": {"test": {"with_twin": 3, "pieces": pieces}},
    }
    lines = measures(result).splitlines()
    assert lines[0] == "generated    9 pieces, 6 ended by themselves, 2 undecodable, 1 empty; 1 continuation"
    assert lines[1] == (
        "measures     7 tested pieces are too few to compare music with (at least 8)"
        if pieces == 7
        else "measure      over lap: model 0.500 [0.400, 0.600], real music 0.750 [0.650, 0.850], "
        "n-gram 0.250 [0.150, 0.350]"
    )
    assert lines[2:] == [
        "originality  no sign of copying (0 of 9 pieces flagged)",
        f"leakage      3 of {pieces} test pieces have a near twin in training",
        "failed       metric aside: KeyError: x",
        "failed       metric broken: ValueError: y",
    ]
