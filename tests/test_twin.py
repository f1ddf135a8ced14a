"""A hundred steps of the real run against the same steps by hand: what is learned, logged, validated and kept."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.checkpoint import load_weights
from datatools.batching.batches import Batches
from hparams.base import AugmentHParams
from supervisors.training.base import Interrupted
from tests import warm
from tests.twin import byhand, hub
from tests.twin.byhand import Toy
from tests.twin.hub import BOS, EOS, PAD

ROOT = Path(__file__).parents[1]
Start = Callable[..., "subprocess.CompletedProcess[str]"]
STEPS, ROWS, LENGTH, RATE, WARMUP, FLOOR, DECAY, CLIP, BETAS = 100, 4, 9, 0.02, 10, 0.2, 0.3, 1.0, (0.8, 0.9)
WORDS = [
    f"train.steps={STEPS}", f"train.lr={RATE}", "train.warmup=0.1", f"train.lr_floor={FLOOR}", "seed=5",
    f"train.weight_decay={DECAY}", f"train.clip={CLIP}", f"train.betas=[{BETAS[0]},{BETAS[1]}]", "evaluate.every=25",
    "evaluate.tokens=1500", f"data.batch_size={ROWS}", f"data.length={LENGTH}", "train.patience=0",
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Arrays this small only lose by being shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class ByHand:
    """The run by hand: loss, rate and norm of each step, the weights after 25, 50, ... and after the last."""

    def __init__(self, tied: bool) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.norms: list[float] = []
        self.toy = Toy(hub.weights(hub.model(tied)), hub.VOCABULARY, tied)
        self.kept: list[Toy] = []
        rows = Batches(
            hub.Store(),  # type: ignore[arg-type]
            "train",
            bos_id=BOS,
            eos_id=EOS,
            pad_id=PAD,
            length=LENGTH,
            batch_size=ROWS,
            seed=5,
            packs=True,
            augment=AugmentHParams(),
            tokenizer=hub.Tokenizer(),  # type: ignore[arg-type]
        )
        for step in range(STEPS):
            batch = rows.batch(step, 0, 0, 1)
            loss, gradient = self.toy.loss_and_gradient(
                list(zip(*(batch[key].tolist() for key in ("ids", "targets", "starts")), strict=True))
            )
            self.losses.append(loss)
            self.rates.append(byhand.rate(step + 1, RATE, STEPS, WARMUP, FLOOR))
            self.norms.append(self.toy.adamw(gradient, step + 1, self.rates[-1], BETAS, DECAY, CLIP))
            if step % 25 == 24:
                weights = {name: value.copy() for name, value in self.toy.weights.items()}
                self.kept.append(Toy(weights, hub.VOCABULARY, tied))


@pytest.fixture(scope="module")
def expected() -> dict[bool, ByHand]:
    return {tied: ByHand(tied) for tied in (False, True)}


def lines(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The log's steps and validations."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if "loss" in line], [line for line in found if "valid_loss" in line]


def worst(found: list[float], wanted: list[float]) -> float:
    assert len(found) == len(wanted)
    return max(abs(a - b) / abs(b) for a, b in zip(found, wanted, strict=True))


def agree(folder: Path, weights: dict[str, np.ndarray], hand: ByHand, rounding: float) -> tuple[float, float, float]:
    """The largest relative differences of losses and norms, and of weights; fails where they are no rounding."""
    steps, _ = lines(folder)
    assert [line["lr"] for line in steps] == pytest.approx(hand.rates, rel=1e-12)
    loss = worst([line["loss"] for line in steps], hand.losses)
    norm = worst([line["grad_norm"] for line in steps], hand.norms)
    assert weights.keys() == hand.toy.weights.keys()
    weight = max(float(np.abs(weights[name] - value).max()) for name, value in hand.toy.weights.items())
    assert loss < max(rounding, 1e-6) and norm < max(rounding, 1e-6)  # both are logged in single precision
    assert weight < rounding
    assert any(norm > CLIP for norm in hand.norms) and any(norm < CLIP for norm in hand.norms)
    return loss, norm, weight


def subset(store: hub.Store, numbers: list[int]) -> tuple[list[list[int]], int]:
    pieces = [[BOS, *store.ids("valid", k).tolist(), EOS] for k in numbers]
    return pieces, sum(store.pieces("valid")[k].notes for k in numbers)


@pytest.mark.parametrize(("tied", "accumulate"), [(False, 1), (True, 4)])
def test_a_hundred_steps_of_plain_torch(
    tied: bool, accumulate: int, tmp_path: Path, expected: dict[bool, ByHand], figures: list[str]
) -> None:
    words = [*WORDS, "train.engine=torch", f"train.accumulate={accumulate}"]
    run = hub.supervisor(tmp_path, words, tied)
    run.train()
    weights = {name: value.detach().numpy() for name, value in run.model.named_parameters()}
    hand = expected[tied]
    loss, norm, weight = agree(tmp_path, weights, hand, 1e-10)
    figures.append(
        f"run by hand, plain torch, accumulate {accumulate}{', tied' if tied else ''}: {STEPS} steps differ by at most "
        f"{loss:.0e} in loss, {norm:.0e} in norm (relative), {weight:.0e} in weights"
    )
    # 1,500 tokens hold some pieces, and the notes are theirs alone.
    numbers = [score.number for score in run.measure("valid", 1500)]
    assert 0 < len(numbers) < len(hub.LONG)
    pieces, notes = subset(run.store, numbers)  # type: ignore[arg-type]
    _, found = lines(tmp_path)
    for line, toy in zip(found, hand.kept, strict=True):
        nats = [cost for piece in pieces for cost in toy.costs(piece)]
        assert line["valid_loss"] == pytest.approx(sum(nats) / len(nats), rel=1e-8)
        assert line["valid_nats_per_note"] == pytest.approx(sum(nats) / notes, rel=1e-8)
    best = min(found, key=lambda line: line["valid_loss"])
    assert run.best["step"] == best["step"] and run.best["valid_loss"] == best["valid_loss"]


def deepspeed(folder: Path, expected: ByHand, ranks: int, stage: int, start: Start) -> str:
    """A hundred steps by DeepSpeed, in processes that `start` starts, against those by hand: the figure."""
    words = [*WORDS, "evaluate.every=100", "train.accumulate=2", f"deepspeed.zero_optimization.stage={stage}"]
    (folder / "jobs.json").write_text(json.dumps([{"folder": str(folder / "run"), "words": words, "tied": False}]))
    result = start("-m", "tests.twin.hub", str(folder / "jobs.json"))
    assert result.returncode == 0, result.stderr[-4000:]
    weights = {name: value.numpy() for name, value in load_weights(folder / "run" / "weights.safetensors").items()}
    loss, norm, weight = agree(folder / "run", weights, expected, 1e-4)
    return (
        f"run by hand, DeepSpeed, ranks {ranks}, accumulate 2, ZeRO {stage}: {STEPS} steps differ by at most "
        f"{loss:.0e} in loss, {norm:.0e} in norm (relative), {weight:.0e} in weights"
    )


def test_a_hundred_steps_of_deepspeed(tmp_path: Path, expected: dict[bool, ByHand], figures: list[str]) -> None:
    """On one rank; long/test_twin_ranks has two."""
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")

    def start(*words: str) -> "subprocess.CompletedProcess[str]":
        return warm.run(words, cwd=ROOT, env=os.environ)

    figures.append(deepspeed(tmp_path, expected[False], 1, 1, start))


VALID = {2: 3.0, 4: 2.0, 6: 2.5, 8: 2.0, 10: 1.9, 12: 2.2, 14: 1.9, 16: 2.05, 18: 1.0}  # by step; 18 is never seen


class Scripted(hub.Supervisor):
    """Validates to what was written down; leaves at a step as if asked to."""

    leave = 0

    def validate(self) -> dict[str, float]:
        return {"valid_loss": VALID[self.step]}

    def train_step(self, step: int) -> dict[str, float]:
        if step + 1 == self.leave:
            signal.raise_signal(signal.SIGTERM)
        return super().train_step(step)


def scripted(folder: Path, leave: int = 0) -> Scripted:
    words = ["train.steps=40", "train.engine=torch", "evaluate.every=2", "checkpoint.every=20", "train.patience=3"]
    made = hub.supervisor(folder, [*words, f"data.batch_size={ROWS}", f"data.length={LENGTH}"], kind=Scripted)
    made.leave = leave
    return made


def test_patience_is_counted_on_over_an_interruption(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By hand: best at 10 (an equal one is no better), none better at 12, 14 and 16, so the run ends there."""
    whole = scripted(tmp_path / "whole")
    whole.train()
    told = capsys.readouterr()
    assert "no better validation in 3 tries: stopping early at step 16" in told.out + told.err
    assert (whole.step, whole.best, whole.stale) == (16, {"valid_loss": 1.9, "step": 10}, 3)
    for leave, stale in ((13, 1), (14, 2)):
        first = scripted(tmp_path / f"cut_{leave}", leave)
        with pytest.raises(Interrupted):
            first.train()
        again = scripted(tmp_path / f"cut_{leave}")
        again.load_data()
        again.build_model()
        again.restore()
        assert (again.step, again.stale) == (leave, stale)
        again.train()
        assert (again.step, again.best, again.stale) == (16, whole.best, 3)
        for name, value in whole.model.state_dict().items():
            assert torch.equal(value, again.model.state_dict()[name])
