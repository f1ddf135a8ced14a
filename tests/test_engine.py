"""The engine's steps worked by hand, what it saves, and what DeepSpeed is told."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.checkpoint import load_weights
from core.errors import HubError
from hparams.base import HParams
from plugins.manager import load_manager
from supervisors.training import engine_state, trackers
from supervisors.training.engine import TorchEngine, settings
from supervisors.training.process_group import Several


class Pair(nn.Module):
    """A vector that decays, a number that does not, and a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, -2.0]))
        self.v = nn.Parameter(torch.tensor([3.0]))
        self.frozen = nn.Parameter(torch.tensor([5.0]), requires_grad=False)


class Linear(nn.Module):
    """A loss whose gradient is what the batch says."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Pair()

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return (batch["w"] * self.model.w).sum() + 0.0 * self.model.v.sum()


def engine_of(**train: Any) -> tuple[TorchEngine, Pair]:
    hparams = HParams(name="toy")
    for key, value in {"lr": 0.1, "betas": (0.8, 0.5), **train}.items():
        setattr(hparams.train, key, value)
    module = Linear()
    groups = [
        {"params": [module.model.w], "weight_decay": 0.5},
        {"params": [module.model.v], "weight_decay": 0.0},
    ]
    return TorchEngine(module, groups, hparams), module.model


def learn(engine: TorchEngine, *gradients: tuple[float, float]) -> None:
    for gradient in gradients:
        engine.backward(engine({"w": torch.tensor(gradient)}))
        engine.step()


def test_steps_of_adamw_by_hand(tmp_path: Path) -> None:
    """Gradients (6, 0) and (0, 8) have the mean (3, 4), of norm 5, which is clipped to (0.6, 0.8)."""
    engine, model = engine_of(accumulate=2, clip=1.0)
    learn(engine, (6.0, 0.0))
    assert model.w.tolist() == [1.0, -2.0] and engine.gradient_norm() == 0.0, "half of a step is none"
    learn(engine, (0.0, 8.0))
    assert engine.gradient_norm() == pytest.approx(5.0), "as it was before it was clipped"
    state = engine.optimizer.state[model.w]
    assert state["exp_avg"].tolist() == pytest.approx([0.2 * 0.6, 0.2 * 0.8], rel=1e-5)
    assert state["exp_avg_sq"].tolist() == pytest.approx([0.5 * 0.36, 0.5 * 0.64], rel=1e-5)
    # The first step is the rate in the gradient's direction, after a decay by rate times 0.5; v does not decay.
    assert model.w.tolist() == pytest.approx([1.0 * 0.95 - 0.1, -2.0 * 0.95 - 0.1], rel=1e-5)
    assert model.v.tolist() == [3.0] and model.w.grad is None
    engine.set_rate(0.01)
    assert [group["lr"] for group in engine.optimizer.param_groups] == [0.01, 0.01] and engine.rate() == 0.01
    learn(engine, (0.3, 0.0), (0.3, 0.0))
    assert engine.gradient_norm() == pytest.approx(0.3), "of this step's gradients alone"
    assert state["exp_avg"].tolist() == pytest.approx([0.8 * 0.12 + 0.2 * 0.3, 0.8 * 0.16], rel=1e-5)
    free, other = engine_of(clip=0.0)
    learn(free, (3.0, 4.0))
    assert free.optimizer.state[other.w]["exp_avg"].tolist() == pytest.approx([0.6, 0.8])

    engine.save_checkpoint(tmp_path, "tag")
    kept = load_weights(tmp_path / "tag" / "optimizer.safetensors")
    assert set(kept) == {f"{key}/{name}" for key in ("exp_avg", "exp_avg_sq", "step") for name in ("w", "v")}
    assert set(load_weights(tmp_path / "model.safetensors")) == {"w", "v", "frozen"} and int(kept["step/w"]) == 2
    again, loaded = engine_of(accumulate=1, clip=1.0)
    again.load_checkpoint(tmp_path, "tag")
    again.set_rate(0.01)
    for one in (engine, again):
        learn(one, *[(0.1, 0.2)] * one.accumulate)
    assert torch.equal(loaded.w, model.w) and torch.equal(
        again.optimizer.state[loaded.w]["exp_avg"], engine.optimizer.state[model.w]["exp_avg"]
    )


def test_state_that_no_other_engine_could_take_is_refused() -> None:
    model = nn.Linear(2, 3)
    optimizer = torch.optim.Adafactor(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    with pytest.raises(HubError, match=r"Adafactor keeps a .* not one value a weight.*choose AdamW"):
        engine_state.read_optimizer(model, optimizer)
    plain = torch.optim.AdamW(model.parameters())
    with pytest.raises(HubError, match="state of other has no parameter in this model"):
        engine_state.write(model, plain, model.state_dict(), {"exp_avg/other": torch.zeros(2)})
    assert engine_state.read_weights(model, keep=False) == {}
    tied = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    tied[1].weight = tied[0].weight
    read = engine_state.read_weights(tied)
    assert read["0.weight"] is read["1.weight"] and len(read) == 4, "shared weights are one"
    # Another engine counts steps in whole numbers, which torch's optimizers do not.
    moments = {
        "exp_avg/weight": torch.ones(3, 2),
        "exp_avg_sq/weight": torch.ones(3, 2),
        "step/weight": torch.tensor(3),
    }
    engine_state.write(model, plain, model.state_dict(), moments)
    state = plain.state[model.weight]
    assert state["step"].dtype == torch.float32 and float(state["step"]) == 3 and model.bias not in plain.state
    assert state["exp_avg"] is not moments["exp_avg/weight"] and torch.equal(state["exp_avg"], torch.ones(3, 2))
    with pytest.raises(HubError, match="its SimpleNamespace, which no checkpoint can hold"):
        engine_state.insist_readable(SimpleNamespace(optimizer=plain))
    engine_state.insist_readable(plain)
    engine_state.insist_readable(SimpleNamespace(optimizer=plain, fp32_groups_flat_partition=[torch.zeros(1)]))


def test_deepspeed_is_told_what_the_hub_s_keys_say() -> None:
    hparams = HParams(name="toy")
    hparams.data.batch_size, hparams.train.accumulate = 24, 3
    hparams.train.clip, hparams.train.lr, hparams.train.precision = 0.7, 0.004, "bf16"
    ranks = Several(1, 2)
    told = settings(hparams, ranks)
    assert (told["train_batch_size"], told["train_micro_batch_size_per_gpu"]) == (24, 4)
    assert (told["gradient_accumulation_steps"], told["gradient_clipping"]) == (3, 0.7)
    assert told["torch_autocast"] == {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
    assert told["steps_per_print"] > 10**6 and "optimizer" not in told
    lion = {"type": "Lion", "params": {"betas": [0.9, 0.99]}}
    hparams.deepspeed = {"steps_per_print": 5, "optimizer": lion, "zero_optimization": {"stage": 1}}
    hparams.train.precision = "fp32"
    told = settings(hparams, ranks)
    assert told["steps_per_print"] == 5 and not told["torch_autocast"]["enabled"]
    assert told["optimizer"] == {"type": "Lion", "params": {"lr": 0.004, "betas": [0.9, 0.99]}}
    assert lion == {"type": "Lion", "params": {"betas": [0.9, 0.99]}}, "what was asked stays as it was"
    hparams.deepspeed["optimizer"] = {"type": "Lion", "params": {"lr": 1.0}}
    assert settings(hparams, ranks)["optimizer"]["params"] == {"lr": 1.0}
    hparams.train.activation_checkpointing = True
    settings(hparams, ranks)
    hparams.deepspeed["zero_optimization"] = {"stage": 3}
    with pytest.raises(HubError, match=r"activation_checkpointing is true with .*stage 3.* take stage 2"):
        settings(hparams, ranks)


class Writer:
    """TensorBoard's writer; keeps what it is told."""

    def __init__(self, folder: str, purge_step: int | None) -> None:
        self.told: list[Any] = [(folder, purge_step)]

    def add_scalar(self, *given: Any) -> None:
        self.told.append(given)

    def add_image(self, name: str, image: Any, step: int, dataformats: str) -> None:
        self.told.append((name, image.shape, step, dataformats))

    def add_audio(self, name: str, samples: Any, step: int, sample_rate: int) -> None:
        self.told.append((name, samples.shape, step, sample_rate))


def test_what_trackers_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", Writer)
    hparams = load_manager().preset("tiny")
    [anew], [board] = trackers.opened(hparams, tmp_path, None), trackers.opened(hparams, tmp_path, 3)
    place = str(tmp_path / "tensorboard")
    board.numbers(4, {"loss": 1.5})
    board.picture(5, "sample", np.zeros((6, 7, 3), np.uint8))
    board.sound(6, "heard", np.zeros(9, np.float32), 22_050)
    assert anew._board.told == [(place, None)]  # type: ignore[attr-defined]
    assert board._board.told == [  # type: ignore[attr-defined]
        (place, 4), ("loss", 1.5, 4), ("sample", (6, 7, 3), 5, "HWC"), ("heard", (1, 9), 6, 22_050),
    ]  # fmt: skip
    begun: list[dict[str, Any]] = []
    library = SimpleNamespace(
        init=lambda **known: begun.append(known),
        Image=lambda image: ("image", image),
        Audio=lambda samples, sample_rate: ("audio", samples, sample_rate),
        log=lambda values, step: begun.append({step: values}),
    )
    monkeypatch.setattr(trackers, "import_module", lambda name: library)
    wandb = trackers.Library("wandb", hparams, tmp_path)
    identity = hashlib.sha256(str(tmp_path.resolve()).encode()).hexdigest()[:12]
    assert begun[0]["id"] == identity and begun[0]["dir"] == str(tmp_path) and begun[0]["project"] == "swaptunes"
    trackers.Library("trackio", hparams, tmp_path)
    assert begun[0]["resume"] == begun[1]["resume"] == "allow" and "id" not in begun[1]
    wandb.picture(7, "sample", "drawn")  # type: ignore[arg-type]
    wandb.sound(8, "heard", "samples", 9)  # type: ignore[arg-type]
    assert begun[2:] == [{7: {"sample": ("image", "drawn")}}, {8: {"heard": ("audio", "samples", 9)}}]
