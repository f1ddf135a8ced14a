"""What turns gradients into weights: DeepSpeed, or plain torch with the same five methods where DeepSpeed cannot be.

The five are `engine(batch)`, `backward(loss)`, `step()`, `save_checkpoint(folder, tag)` and
`load_checkpoint(folder, tag)`. What they save is neither's own: weights and moments by parameter name, which either
loads with any ZeRO stage and any number of ranks.
"""

import importlib.util
import logging
import math
import os
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from core.checkpoint import load_weights, save_weights
from core.errors import HubError
from core.log import logger
from hparams.base import HParams
from supervisors.training import engine_state, precision, process_group
from supervisors.training.ranks import Ranks

WEIGHTS, OPTIMIZER = "model.safetensors", "optimizer.safetensors"  # the second in the folder that a tag names


class Engine(Protocol):
    """A module in training whose `model` is what its weights are named after.

    `set_rate`, `rate` and `gradient_norm` serve the schedule and the log. Every rank calls `save_checkpoint`,
    `load_checkpoint` and `state_dict`; the first one writes, and only it may raise what writing raises.
    """

    name: str
    spreads_weights: bool  # over ranks, so that the module cannot be used outside a training step

    def __call__(self, batch: dict[str, Tensor]) -> Tensor: ...
    def backward(self, loss: Tensor) -> None: ...
    def step(self) -> None: ...
    def save_checkpoint(self, folder: Path, tag: str) -> None: ...
    def load_checkpoint(self, folder: Path, tag: str) -> None: ...
    def set_rate(self, rate: float) -> None: ...
    def rate(self) -> float: ...
    def gradient_norm(self) -> float: ...
    def state_dict(self) -> dict[str, Tensor]: ...


def build_engine(module: nn.Module, groups: list[dict[str, Any]], hparams: HParams, ranks: Ranks) -> Engine:
    """The engine that `train.engine` asks for; `auto` takes DeepSpeed where it is installed and says so where not."""
    asked = hparams.train.engine
    present = importlib.util.find_spec("deepspeed") is not None
    if asked == "deepspeed" and not present:
        raise HubError("train.engine is deepspeed, which is not installed; pip install deepspeed or train.engine=torch")
    if asked == "torch" or not present:
        if ranks.world > 1:
            raise HubError(f"train.engine torch runs one process, not {ranks.world}; install deepspeed")
        if asked == "auto":
            logger.warning("DeepSpeed is not installed: the plain torch engine trains this one process")
        meant = sorted(key for key, value in hparams.deepspeed.items() if value)
        if meant == ["zero_optimization"]:  # a run that goes on here from DeepSpeed keeps its stage in hparams.yaml
            logger.warning("deepspeed.zero_optimization is left aside: the plain torch engine spreads nothing")
        elif meant:
            keys = ", ".join(f"deepspeed.{key}" for key in meant)
            raise HubError(f"{keys} is set but the engine is plain torch; install deepspeed or drop these keys")
        return TorchEngine(module, groups, hparams)
    return DeepSpeedEngine(module, groups, hparams, ranks)


def _adamw(groups: list[dict[str, Any]], hparams: HParams) -> torch.optim.AdamW:
    on_gpu = any(parameter.is_cuda for group in groups for parameter in group["params"])
    return torch.optim.AdamW(groups, lr=hparams.train.lr, betas=hparams.train.betas, eps=1e-8, fused=on_gpu or None)


def _norm(parameters: list[nn.Parameter]) -> Tensor:
    """Of all gradients as one vector; a number that stays on the device until the step is over."""
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return nn.utils.get_total_norm([grad.to(torch.promote_types(grad.dtype, torch.float32)) for grad in grads])


class TorchEngine:
    """One process, AdamW, clipping and accumulation, and nothing else."""

    name = "torch"
    spreads_weights = False

    def __init__(self, module: nn.Module, groups: list[dict[str, Any]], hparams: HParams) -> None:
        self.module = module
        self.model = module.get_submodule("model")
        self.optimizer = _adamw(groups, hparams)
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        self.clip = hparams.train.clip
        self.accumulate = hparams.train.accumulate
        self._micro = 0
        self._norm: Tensor | float = 0.0

    def __call__(self, batch: dict[str, Tensor]) -> Tensor:
        loss: Tensor = self.module(batch)
        return loss

    def backward(self, loss: Tensor) -> None:
        (loss / self.accumulate).backward()
        self._micro += 1

    def step(self) -> None:
        if self._micro % self.accumulate:
            return
        self._norm = _norm(self.parameters)
        if self.clip:
            nn.utils.clip_grads_with_norm_(self.parameters, self.clip, self._norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def save_checkpoint(self, folder: Path, tag: str) -> None:
        _save(self.model, self.optimizer, folder, tag, write=True)

    def load_checkpoint(self, folder: Path, tag: str) -> None:
        _load(self.model, self.optimizer, folder, tag)

    def set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def gradient_norm(self) -> float:
        return float(self._norm)

    def state_dict(self) -> dict[str, Tensor]:
        return engine_state.read_weights(self.model)


class DeepSpeedEngine:
    """DeepSpeed on one process or many, ZeRO 0 to 3; the hub's keys fill DeepSpeed's, `deepspeed.*` wins over both."""

    name = "deepspeed"

    def __init__(self, module: nn.Module, groups: list[dict[str, Any]], hparams: HParams, ranks: Ranks) -> None:
        os.environ.setdefault("DS_ACCELERATOR", ranks.device.type)
        for name in ("DeepSpeed", "deepspeed"):  # its chatter about what it did not find
            logging.getLogger(name).setLevel(logging.ERROR)
        import deepspeed

        if ranks.device.type == "cpu":
            # Its shared-memory all-reduce is compiled at first use, and without a compiler it raises.
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        if ranks.world == 1:
            process_group.alone()
        deepspeed.init_distributed(
            dist_backend=torch.distributed.get_backend(), verbose=False, auto_mpi_discovery=False
        )
        own_optimizer = "optimizer" in hparams.deepspeed
        config = settings(hparams, ranks)
        try:
            self.engine, self.optimizer, _, _ = deepspeed.initialize(
                model=module,
                optimizer=None if own_optimizer else _adamw(groups, hparams),
                model_parameters=groups if own_optimizer else None,
                config=config,
                dist_init_required=False,
            )
        except (AssertionError, ValueError, TypeError) as error:
            if not hparams.deepspeed:
                raise
            reason = " ".join(str(error).split())[:300]
            raise HubError(f"DeepSpeed refuses deepspeed.* ({', '.join(hparams.deepspeed)}): {reason}") from error
        engine_state.insist_readable(self.engine.optimizer)
        self.model = module.get_submodule("model")
        self.ranks = ranks
        self.stage = self.engine.zero_optimization_stage()
        self.spreads_weights = self.stage == 3
        self._norm: Tensor | float = math.nan

    def __call__(self, batch: dict[str, Tensor]) -> Tensor:
        loss: Tensor = self.engine(batch)
        return loss

    def backward(self, loss: Tensor) -> None:
        self.engine.backward(loss)

    def step(self) -> None:
        boundary = self.engine.is_gradient_accumulation_boundary()
        if boundary and self.stage == 0:
            self._norm = _norm(list(self.model.parameters()))
        self.engine.step()
        if boundary and self.stage > 0:
            found = self.engine.get_global_grad_norm()
            self._norm = 0.0 if found is None else found

    def save_checkpoint(self, folder: Path, tag: str) -> None:
        _save(self.model, self.engine.optimizer, folder, tag, write=self.ranks.first)

    def load_checkpoint(self, folder: Path, tag: str) -> None:
        _load(self.model, self.engine.optimizer, folder, tag)

    def set_rate(self, rate: float) -> None:
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate

    def rate(self) -> float:
        return float(self.engine.optimizer.param_groups[0]["lr"])

    def gradient_norm(self) -> float:
        return float(self._norm)

    def state_dict(self) -> dict[str, Tensor]:
        return engine_state.read_weights(self.model)


def _save(model: nn.Module, optimizer: Any, folder: Path, tag: str, *, write: bool) -> None:
    weights = engine_state.read_weights(model, keep=write)
    moments = engine_state.read_optimizer(model, optimizer, keep=write)
    if write:
        save_weights(weights, folder / WEIGHTS)
        save_weights(moments, folder / tag / OPTIMIZER)


def _load(model: nn.Module, optimizer: Any, folder: Path, tag: str) -> None:
    engine_state.write(model, optimizer, load_weights(folder / WEIGHTS), load_weights(folder / tag / OPTIMIZER))


def settings(hparams: HParams, ranks: Ranks) -> dict[str, Any]:
    """DeepSpeed's configuration: `deepspeed.*`, and what the hub's own keys say, which `deepspeed.*` may not."""
    if hparams.train.activation_checkpointing and (hparams.deepspeed.get("zero_optimization") or {}).get("stage") == 3:
        raise HubError(
            "train.activation_checkpointing is true with deepspeed.zero_optimization.stage 3, which has freed weights "
            "when a block is computed again; take stage 2, or drop one of the two"
        )
    dtype, _ = precision.choose(hparams.train.precision, ranks.device)
    filled = {
        "train_batch_size": hparams.data.batch_size,
        "gradient_accumulation_steps": hparams.train.accumulate,
        "train_micro_batch_size_per_gpu": hparams.data.batch_size // (hparams.train.accumulate * ranks.world),
        "gradient_clipping": hparams.train.clip,
        "torch_autocast": {
            "enabled": dtype == torch.bfloat16,
            "dtype": "bfloat16",
            "lower_precision_safe_modules": [],  # gradients are summed over ranks in fp32
        },
        "steps_per_print": 10**9,  # the hub has its own log
        **hparams.deepspeed,
    }
    if "optimizer" in hparams.deepspeed:
        chosen = dict(hparams.deepspeed["optimizer"])
        filled["optimizer"] = {**chosen, "params": {"lr": hparams.train.lr, **chosen.get("params", {})}}
    return filled
