"""Two processes on gloo, ZeRO 0 to 3, train as one process does: same rows, losses and rate."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_run import ROOT, command

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")

WORDS = [
    "train.steps=10",
    "evaluate.every=5",
    "generate.count=1",
    "generate.length=32",
    "train.lr=5e-3",
    "train.accumulate=2",
]


def losses(run: Path) -> list[float]:
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in entries if "loss" in entry]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, music_folder: Path) -> tuple[list[str], Path]:
    folder = tmp_path_factory.mktemp("alone")
    words = ["--hparams", "tiny", "dataset=folder", f"dataset.path={music_folder}", *WORDS]
    result = command(*words, folder=folder)
    assert result.returncode == 0, result.stderr
    return words, folder / "tiny"


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_two_ranks_learn_what_one_learns(stage: int, alone: tuple[list[str], Path], tmp_path: Path) -> None:
    words, reference = alone
    result = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1",
            f"--master_port={29510 + stage}", "-m", "supervisors.run", *words,
            f"deepspeed.zero_optimization.stage={stage}",
        ],
        cwd=ROOT,
        env={**os.environ, "SWAPTUNES_RUNS": str(tmp_path), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    found, expected = losses(tmp_path / "tiny"), losses(reference)
    worst = max(abs(a - b) for a, b in zip(found, expected, strict=True))
    print(f"ZeRO {stage}: largest difference of losses over {len(found)} steps {worst:.1e}")
    assert worst < 1e-4


def test_the_rate_in_the_engine_is_the_rate_asked_for(alone: tuple[list[str], Path]) -> None:
    _, run = alone
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rates = [entry["lr"] for entry in entries if "loss" in entry]
    assert max(rates) == pytest.approx(5e-3)
    assert rates[-1] == pytest.approx(5e-4)
    assert rates == [max(rates[0], rates[1]), *sorted(rates[1:], reverse=True)]


def test_both_engines_learn_the_same(alone: tuple[list[str], Path], tmp_path: Path) -> None:
    words, reference = alone
    result = command(*words, "train.engine=torch", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    worst = max(abs(a - b) for a, b in zip(losses(tmp_path / "tiny"), losses(reference), strict=True))
    assert worst < 1e-6
