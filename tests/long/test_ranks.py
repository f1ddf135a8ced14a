"""Two processes on gloo, ZeRO 0 to 3, train as one process does, and go on where any other left off."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from core.checkpoint import load_weights
from core.model.optim import learning_rate
from plugins.manager import load_manager
from supervisors.artefacts import artefact
from tests.rank_worker import IDS
from tests.test_run import ROOT

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")

STEPS, LR = 25, 5e-3
STAGES = (1, 3)  # 0 and 2 are tried by the relay, which must tell the same losses
WORDS = [
    f"train.steps={STEPS}", "evaluate.every=12", "evaluate.tokens=512", "checkpoint.every=5", "checkpoint.keep=9",
    f"train.lr={LR}", "train.accumulate=2", "train.clip=0.5", "data.augment.transpose=2",
]  # fmt: skip
# A run handed from hand to hand: at which step it was stopped, and who went on to there.
RELAY = {5: "2 ranks, ZeRO 3", 10: "2 ranks, ZeRO 0", 15: "2 ranks, ZeRO 2", 20: "plain torch", 25: "1 rank, ZeRO 1"}


def zero(stage: int) -> str:
    return f"deepspeed.zero_optimization.stage={stage}"


def launch(module: str, *words: str, ranks: int, port: int = 0, **environment: str) -> subprocess.Popen[str]:
    """A module in its own processes: under torchrun, or alone when there is one rank."""
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={ranks}", "--master_addr=127.0.0.1"]
    launcher += [f"--master_port={port}"]
    return subprocess.Popen(
        [sys.executable, *(launcher if ranks > 1 else []), "-m", module, *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def work(folder: Path, jobs: list[tuple[str, list[str], int]], *, ranks: int, port: int = 0) -> None:
    """Lets `tests.rank_worker` train jobs (name, words, step to stop at) in `folder`."""
    path = folder / f"jobs_{ranks}.json"
    path.write_text(
        json.dumps([{"run": str(folder / name), "words": words, "stop": stop} for name, words, stop in jobs])
    )
    process = launch("tests.rank_worker", str(path), ranks=ranks, port=port)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-4000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, music_folder: Path) -> Path:
    """Every run of this file: one rank and two of each stage, bf16, and the relay."""
    folder = tmp_path_factory.mktemp("ranks")
    words = ["dataset=folder", f"dataset.path={music_folder}", *WORDS]
    short = [*words, "train.steps=10", "train.precision=bf16"]
    two = [(f"zero_{stage}", [*words, zero(stage)], 0) for stage in STAGES]
    two += [("thrifty", [*words, zero(2), "train.activation_checkpointing=true"], 0)]
    two += [("relay", [*words, zero(stage)], stop) for stage, stop in ((3, 5), (0, 10), (2, 15))]
    (folder / "blocked").write_text("a file where a run's folder should be")
    two += [("blocked", words, 0), ("bf16_two", [*short, zero(2)], 0)]
    work(folder, two, ranks=2, port=29510)
    one = [("relay", [*words, "train.engine=torch"], 20), ("relay", [*words, zero(1)], 0)]
    one += [("torch", [*words, "train.engine=torch"], 0), ("alone", words, 0), ("bf16_one", short, 0)]
    work(folder, one, ranks=1)
    return folder


def losses(run: Path) -> list[float]:
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in entries if "loss" in entry]


def seen(folder: Path, run: str, rank: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{run}.rank_{rank}.json").read_text())
    return found


def state(run: Path, step: int = STEPS) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights and optimizer state of a checkpoint, by name."""
    path = run / "checkpoints" / f"step_{step:06d}"
    return load_weights(path / "model.safetensors"), load_weights(path / "engine" / "optimizer.safetensors")


def worst(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest difference of any tensor, relative to that tensor's largest value."""
    assert found.keys() == expected.keys()
    return max(
        float((found[key] - value).abs().max() / value.abs().max().clamp(min=1e-12)) for key, value in expected.items()
    )


@pytest.mark.parametrize("run", [*(f"zero_{stage}" for stage in STAGES), "torch", "thrifty", "relay"])
def test_every_engine_stage_and_relay_learns_what_one_rank_learns(run: str, folder: Path, figures: list[str]) -> None:
    found, expected = losses(folder / run), losses(folder / "alone")
    assert len(expected) == STEPS
    difference = max(abs(a - b) for a, b in zip(found, expected, strict=True))
    weights, moments = (worst(a, b) for a, b in zip(state(folder / run), state(folder / "alone"), strict=True))
    name = {"torch": "plain torch", "thrifty": "2 ranks, ZeRO 2, blocks computed twice"}
    name |= {"relay": "relay: " + ", ".join(f"{who} to {step}" for step, who in RELAY.items())}
    figures.append(
        f"{name.get(run, f'2 ranks, ZeRO {run[-1]}')}: losses of {STEPS} steps differ from one rank's by at most "
        f"{difference:.1e}, weights by {weights:.1e}, moments by {moments:.1e} (relative)"
    )
    assert difference < 1e-4
    assert weights < 1e-3 and moments < 1e-3


@pytest.mark.parametrize("run", [*(f"zero_{stage}" for stage in STAGES), "relay", "torch"])
def test_a_checkpoint_gives_the_logits_that_the_run_had(run: str, folder: Path) -> None:
    manager = load_manager()
    made = artefact.read(folder / run, manager)
    supervisor = manager.supervise(made.hparams, folder / run)
    supervisor.open()
    model = supervisor.load_best().eval()
    artefact.load_into(model, state(folder / run)[0], run)
    with torch.no_grad():
        logits, _ = model(IDS)
    torch.testing.assert_close(logits, load_weights(folder / f"{run}.logits")["logits"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("run", [*(f"zero_{stage}" for stage in STAGES), "alone", "torch"])
def test_the_engine_uses_the_rate_asked_for(run: str, folder: Path) -> None:
    entries = [json.loads(line) for line in (folder / run / "metrics.jsonl").read_text().splitlines()]
    asked = [learning_rate(step, lr=LR, steps=STEPS, warmup=0.05, floor=0.1) for step in range(STEPS)]
    assert [entry["lr"] for entry in entries if "loss" in entry] == asked
    # Adam's first step moves every weight by its rate, up to epsilon: what the engine really did, not what it says.
    assert seen(folder, run)["rate_used"] == pytest.approx(asked[0], rel=1e-3)


@pytest.mark.parametrize("stage", STAGES)
def test_hyper_parameters_fill_the_settings_of_deepspeed(stage: int, folder: Path) -> None:
    expected = {"rows": 4, "rows_of_micro_batch": 1, "accumulate": 2, "clip": 0.5, "bf16": False, "stage": stage}
    assert seen(folder, f"zero_{stage}")["settings"] == {**expected, "rates": [pytest.approx(LR / 10)] * 2}


def test_two_ranks_in_bf16_follow_one(folder: Path) -> None:
    assert seen(folder, "bf16_two")["settings"]["bf16"] and seen(folder, "bf16_one")["settings"]["bf16"]
    found, expected, exact = (losses(folder / run)[:10] for run in ("bf16_two", "bf16_one", "alone"))
    assert found != exact
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 1e-2


def test_each_rank_sees_its_own_rows_and_together_those_of_one(folder: Path) -> None:
    whole = seen(folder, "alone")["rows"]
    parts = [seen(folder, "zero_1", rank)["rows"] for rank in (0, 1)]
    assert [{replica for _, _, replica, _ in part} for part in parts] == [{0}, {1}]
    assert len(parts[0]) == len(parts[1]) == len(whole) / 2 == 2 * STEPS
    order = [[row[0], row[1], row[3]] for row in sorted(parts[0] + parts[1], key=lambda row: row[:3])]
    assert order == [[step, micro, digest] for step, micro, _, digest in whole]


def test_only_the_first_rank_writes(folder: Path) -> None:
    for stage in STAGES:
        names = {Path(name).name.split(".")[0] for name in seen(folder, f"zero_{stage}", 0)["written"]}
        assert {"metrics", "model", "tensorboard", f"zero_{stage}"} <= names
        assert seen(folder, f"zero_{stage}", 1)["written"] == []


def test_two_ranks_save_and_leave_at_a_signal(folder: Path, music_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "tiny"
    shutil.copytree(folder / "alone", run)
    for path in (run / "checkpoints").iterdir():
        if path.name > "step_000010":
            shutil.rmtree(path)
    words = ["--hparams", "tiny", "dataset=folder", f"dataset.path={music_folder}", *WORDS, zero(2)]
    process = launch("supervisors.run", *words, ranks=2, port=29511, SWAPTUNES_RUNS=str(tmp_path))
    try:
        deadline = time.monotonic() + 120
        while len(losses(run)) not in range(12, STEPS):  # the lines after the checkpoint are dropped, then written anew
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGTERM)  # as Slurm does, and then the launcher passes it on once more
        output, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert time.monotonic() - began < 30
    assert "saved at step" in output and output.count("the same command goes on") == 1
    found, expected = losses(run), losses(folder / "alone")
    assert (run / "checkpoints" / f"step_{len(found):06d}" / "meta.json").exists()
    assert max(abs(a - b) for a, b in zip(found, expected, strict=False)) < 1e-4


def test_a_failure_of_the_first_rank_ends_the_others(folder: Path) -> None:
    said = [seen(folder, "blocked", rank)["error"] for rank in (0, 1)]
    assert "blocked" in said[0] and said[1] == "another process of this run could not go on, and says why"
