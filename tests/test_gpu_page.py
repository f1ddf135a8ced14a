"""The GPU script: its page, what it leaves to a second call, and how it ends what takes too long."""

import json
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from core.model.language_model import LanguageModel
from hparams.backbones.lstm import LstmHParams
from plugins.backbones import lstm
from tests.gpu import __main__ as script
from tests.gpu import words
from tests.gpu.decoding import _drawn
from tests.gpu.endless import Endless
from tests.gpu.page import page
from tests.gpu.peers import rows
from tests.gpu.processes import complaint, module
from tests.gpu.turns import LEFT, turns

MACHINE = {
    "name": "A card", "memory": 80_000_000_000, "python": "3.12.1", "versions": {"torch": "2.11", "mamba_ssm": None},
    "matrix": {"fp32": 5e13, "bf16": 7e14}, "copy": 4e12, "seconds": 3.0,
}  # fmt: skip


def test_numbers_in_words() -> None:
    assert [words.rate(value) for value in (388_912, 99.97, 82.34, 0.0123, None)] == [
        "389,000", "100", "82.3", "0.0123", "",
    ]  # fmt: skip
    assert [words.exact(value) for value in (1999.4, 0.89996, 1.5)] == ["1,999", "0.9", "1.5"]
    assert [words.share(value) for value in (0.414, 0.0999, 0.031, None)] == ["41 %", "10 %", "3.1 %", ""]
    assert words.milliseconds(0.00412) == "4.12" and words.gigabytes(8_210_000_000) == "8.21"
    assert words.difference(3.06e-6) == "3.1e-06" and words.difference(0) == "0"
    assert words.plain([["a law", "why", 2]]) == "a law: why: 2" and words.plain(False) == "no"
    assert words.tabulated(["a", "b"], [["1|2", ""], ["3", ""]]) == ["| a |", "| --- |", "| 1\\|2 |", "| 3 |", ""]


def test_a_page_by_hand() -> None:
    training = {"name": "mamba", "dim": 256, "parameters": 1_000_000, "attention": 0, "seen": 512.5, "length": 1024}
    found: dict[str, Any] = {
        "machine": MACHINE,
        "laws": {"rows": [{"name": "gru", "dtype": "float32", "left": LEFT}], "seconds": 120.0},
        "scan": {"rows": [{"name": "ours", "length": 2048, "forward": 0.001, "both": 0.00412, "peak": 2_000_000_000}],
                 "seconds": 9.0},
        "training": {"rows": [{**training, "packed": False, "rate": 35_000_000.0, "bytes": 8_200_000_000},
                              {**training, "packed": True, "failed": "out of memory"}], "seconds": 20.0},
        "ranks": {"rows": [{"step": 1, "one": 5.5, "two": 5.5000001}], "preset": "tiny", "backend": "gloo",
                  "apart": 1e-7, "refused": {"nccl": "Duplicate GPU"}, "seconds": 30.0},
        "every": {"failed": "RuntimeError: no disk"},
    }  # fmt: skip
    lines = page(found).splitlines()
    assert lines[0] == "# A card"
    assert any("A card, 80 GB; Python 3.12.1, torch 2.11." in line and "700 TFLOP/s in bf16" in line for line in lines)
    assert "| gru | float32 | no time was left |" in lines
    assert "| ours | 2,048 | 1 | 4.12 | 2 |" in lines
    # 6 x 10^6 FLOPs a token at 3.5 x 10^7 tokens a second, of 7 x 10^14.
    assert "| mamba | 256 | 1,000,000 | 1,024 | no | 35,000,000 | 30 % | 8.2 |  |" in lines
    assert "| mamba | 256 | 1,000,000 | 1,024 | yes |  |  |  | out of memory |" in lines
    assert "| 1 | 5.500000 | 5.500000 |" in lines
    assert "`tiny`: the largest difference is 1.0e-07. The ranks spoke by gloo." in lines
    assert "nccl refused (Duplicate GPU)." in lines
    assert "**Not measured: RuntimeError: no disk.**" in lines
    assert lines.index("## Goals") < lines.index("## Laws") < lines.index("## A run of every backbone")


@pytest.mark.parametrize(
    "stage, found, lines",
    [
        (
            "training",
            {"rows": [{"name": name, "dim": 64, "parameters": 9, "attention": 0, "seen": 1.0, "length": length,
                       "packed": packed, "rate": rate}
                      for name, packed, length, rate in [
                          ("mamba", False, 1024, 50.0), ("mamba", False, 4096, 100.0), ("mamba", True, 1024, 50.0),
                          ("transformer", False, 1024, 100.0), ("transformer", False, 4096, 50.0),
                          ("transformer", True, 1024, 60.0)]]},
            ["Width 64, rows of one piece: Mamba is ahead from about 2,050 tokens on.",
             "Width 64, packed rows: Mamba is behind at the longest rows measured."],
        ),
        (
            "decoding",
            {"rows": [{"name": "gru", "batch": 1, "parameters": 1000, "bytes_of_weights": 4000, "recorded": True,
                       "plain": 10.0, "greedy": 1e8, "drawn": 20.0, "under_grammar": 15.5, "same": 1.0},
                      {"name": "gru", "batch": 64, "parameters": 1000, "bytes_of_weights": 4000, "greedy": 1e9}]},
            ["| gru | 1 | 1,000 | yes | 100,000,000 | 10 | 20 | 15.5 | 10 % | 100 % |",
             "| gru | 64 | 1,000 |  | 1,000,000,000 |  |  |  |  |  |"],
        ),
        (
            "context",
            {"rows": [{"name": "mamba", "dim": 64, "parameters": 1000, "bytes_of_weights": 4000, "length": 65536,
                       "recorded": False, "rate": 1e7}]},
            ["| mamba | 64 | 1,000 | 65,536 | no | 10,000,000 | 1.0 % |"],
        ),
        (
            "peers",
            {"rows": [{"kind": "train", "name": "a peer", "precision": "bf16", "batch": 2, "length": 64, "rate": 7e9,
                       "parameters": 1000, "attention": 10, "seen": 32.5, "bytes": 1_500_000_000, "limited": ""},
                      {"kind": "decode", "name": "a peer", "precision": "fp32", "batch": 1, "length": 64, "rate": 1e8,
                       "parameters": 1000, "attention": 10, "seen": 32.5, "bytes": None, "limited": "too slow"}],
             "notes": ["A note."]},
            # (6,000 + 3,900) x 7 x 10^9 of 7 x 10^14; 4,000 x 10^8 of 4 x 10^12.
            ["| training | a peer | bf16 | 2 | 64 | 7,000,000,000 | 9.9 % |  | 1.5 |  |",
             "| decoding | a peer | fp32 | 1 | 64 | 100,000,000 |  | 10 % |  | too slow |", "A note."],
        ),
        (
            "every",
            {"rows": [{"name": "gru", "parameters": 1000, "lr": 0.004, "precision": "bfloat16", "steps": 400,
                       "valid_loss": 1.23456, "rate": 45678.0, "minutes": 0.5}], "at_once": 6},
            ["| gru | 1,000 | 0.004 | bfloat16 | 400 | 1.235 | 45,700 | 30 |", "At most 6 ran at once."],
        ),
        (
            "whole",
            {"rows": [{"step": 1, "loss": 5.5}], "preset": "tiny", "parameters": 28128, "precision": "float32",
             "valid_loss": 5.1114, "rate": 23456.0, "minutes": 0.1, "wall": 8.4},
            ["| 1 | 5.500 |", "`tiny`, 28,128 parameters in float32: best validation loss 5.111 nats a token, "
             "23,500 tokens/s (the median of its steps), 6 s of training, 8 s in all."],
        ),
    ],
)  # fmt: skip
def test_sections_by_hand(stage: str, found: dict[str, Any], lines: list[str]) -> None:
    shown = page({"machine": MACHINE, stage: {**found, "seconds": 9.0}}).splitlines()
    assert [line for line in lines if line not in shown] == []


def test_a_page_of_a_rehearsal_says_so() -> None:
    assert "This is a rehearsal on a CPU" in page({"machine": {**MACHINE, "memory": None}})
    assert "rehearsal" not in page({"machine": MACHINE})


def test_an_empty_page_says_that_nothing_was_measured() -> None:
    text = page({})
    assert text.count("**Not measured: it was not asked for.**") == len(script.STAGES) - 1
    assert "The machine was not measured" in text and "| yes |" not in text


def test_work_goes_on_where_it_was_left() -> None:
    asked: list[dict[str, Any]] = [{"name": name} for name in ("a", "b", "c", "d")]
    calls: list[str] = []

    def work(name: str, ends: float) -> list[dict[str, Any]]:
        calls.append(name)
        if name == "b":
            raise subprocess.TimeoutExpired("b", 1)
        if name == "c":
            raise RuntimeError("no memory\nfor it")
        return [{"batch": 1}, {"batch": 2}]

    before: list[dict[str, Any]] = [{"name": "a", "batch": 7}, {"name": "d", "left": LEFT}]
    for at_once in (1, 3):
        assert turns(asked, before, 60, work, at_once) == [
            {"name": "a", "batch": 7}, {"name": "b", "left": LEFT}, {"name": "c", "failed": "no memory"},
            {"name": "d", "batch": 1}, {"name": "d", "batch": 2},
        ]  # fmt: skip
    assert sorted(calls) == ["b", "b", "c", "c", "d", "d"]
    assert turns(asked, [], -1, work) == [{**each, "left": LEFT} for each in asked]


def test_a_second_call_goes_on_and_a_failure_stops_no_other_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def partly(device: str, before: list[dict[str, Any]]) -> dict[str, Any]:
        calls.append(before)
        return {"rows": [{"name": "a"}, *([{"name": "b"}] if before else [{"name": "b", "left": LEFT}])]}

    def fails(device: str) -> dict[str, Any]:
        calls.append("fails")
        raise KeyError("why")

    def works(device: str) -> dict[str, Any]:
        calls.append("works")
        return {"rows": []}

    stages = {
        "fails": script.Stage(fails),
        "partly": script.Stage(partly, goes_on=True),
        "late": script.Stage(works, needs=600),
        "works": script.Stage(works),
    }
    monkeypatch.setattr(script, "STAGES", stages)
    where = [f"out={tmp_path}", "device=cpu"]
    assert script.main([*where, "minutes=1"]) == 1
    first = [{"name": "a"}, {"name": "b", "left": LEFT}]
    assert calls == ["fails", [], "works"]
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["fails"] == {"failed": "KeyError: 'why'"} and found["late"] == {"left": LEFT}
    assert found["partly"]["rows"] == first and (tmp_path / "gpu.md").exists()

    calls.clear()
    assert script.main([*where, "minutes=11"]) == 1
    assert calls == ["fails", first, "works"]  # the late one; the other was done
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["partly"]["rows"] == [{"name": "a"}, {"name": "b"}] and "left" not in found["late"]
    assert script.main([*where, "only=nothing"]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["minutes=soon"], "minutes is soon; expected a number"),
        (["device=tpu"], "device is tpu; expected cuda, or cpu to rehearse"),
        (["device=cpu", "minute=1"], "minute=1 is not among wheels and minutes=, device=, out=, only="),
        (["device=cpu", "only=scan,speed"], "speed is not among machine, laws"),
    ],
)
def test_wrong_words_are_refused_before_anything_runs(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main([*words, f"out={tmp_path / 'out'}"]) == 2
    assert capsys.readouterr().err.startswith(said)
    assert not (tmp_path / "out").exists()


def test_figures_of_another_device_are_not_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gpu.json").write_text('{"machine": {"device": "cuda", "seconds": 1}}')
    assert script.main(["device=cpu", f"out={tmp_path}"]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'gpu.json'} is of device=cuda; give another out=\n"


def test_what_takes_too_long_is_ended_and_what_fails_says_why() -> None:
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        module(["timeit", "-n", "1", "import time; time.sleep(600)"], 0.3)
    assert (
        time.monotonic() - began < 300
    )  # at once, or after its grace where interrupts are ignored, as in the background
    with pytest.raises(RuntimeError, match="No module named nothing_here"):
        module(["nothing_here"], 20)
    launcher = "ValueError: of a rank\n  by hand\nmultiprocessing.errors.ChildFailedError: \nfailed\n=====\n"
    assert complaint(launcher) == "ValueError: of a rank"
    assert complaint("swaptunes: one line\nand more\n=====\n") == "swaptunes: one line" and complaint("") == "no word"


def test_rows_of_bench() -> None:
    def cell(kind: str, subject: str, *samples: float, measured: int = 0, limited: str = "") -> dict[str, Any]:
        return {"kind": kind, "subject": subject, "precision": "bf16", "batch": 1, "length": 64, "measured": measured,
                "samples": list(samples), "peak_bytes": None, "limited": limited}  # fmt: skip

    found = {
        "cells": [
            cell("matrix", "matrix", 1.0),
            cell("train", "transformers_mamba", 3.0, 1.0, 2.0, measured=16, limited="slow"),
            cell("train", "transformers_llama", limited="failed: why"),
        ],
        "models": {
            "transformers_mamba": {"title": "transformers Mamba", "shape": "dim 8, layers 3, state 4"},
            "transformers_llama": {"title": "transformers Llama", "shape": "dim 8, layers 2, heads 2, hidden 24"},
        },
        "parameters": {"transformers_mamba": 500, "transformers_llama": 600},
    }
    slow, failed = rows(found, "without kernels")
    assert slow["name"] == "transformers Mamba, without kernels" and slow["rate"] == 2.0
    assert (slow["length"], slow["seen"], slow["attention"]) == (16, 8.5, 0)
    assert failed["rate"] is None and failed["limited"] == "failed: why"
    assert (failed["length"], failed["attention"], failed["parameters"]) == (64, 16, 600)


class Ending:
    """Of six ids, 2 and 4 may always come; 2 is the end."""

    def __init__(self) -> None:
        self.mask = torch.tensor([[False, False, True, False, True, False]])

    def begin(self, batch: int) -> dict[str, Tensor]:
        return {"rows": torch.zeros(batch)}

    def allowed(self, state: dict[str, Tensor], known: Tensor | None = None) -> Tensor:
        return self.mask.expand(len(state["rows"]), 6)

    def advance(self, state: dict[str, Tensor], ids: Tensor) -> dict[str, Tensor]:
        assert ids.tolist() == [4] * len(state["rows"])
        return state


def test_no_piece_ends_while_drawing_is_timed() -> None:
    grammar = Ending()
    endless = Endless(grammar, 2)
    assert endless.allowed(endless.begin(3)).nonzero().tolist() == [[0, 4], [1, 4], [2, 4]]
    assert grammar.mask.sum() == 2  # as it was
    model = LanguageModel(lstm.build(LstmHParams(dim=8, layers=1)), 6).eval()
    tokenizer = SimpleNamespace(pad_id=0, bos_id=1)
    assert _drawn(model, 3, 40, tokenizer, endless) > 0  # which insists on pieces of 40 tokens
    assert _drawn(model, 3, 40, tokenizer, None) > 0
