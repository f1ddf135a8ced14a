"""A supervisor that begins with all but the idea: tokens in rows, one model, one engine, one artefact.

A subclass brings `make_model`, `objective`, `validate` and `generate`; it may bring `evaluate`, and more.
"""

import json
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from core.checkpoint import load_weights
from core.errors import HubError
from core.files import checksum, write_json
from core.log import logger
from core.model.memory import keep_freed_memory
from core.model.optim import learning_rate, parameter_groups
from core.seeds import derive
from datatools.batching.batches import Batches
from hparams.base import HParams
from supervisors.artefacts import artefact
from supervisors.training import precision
from supervisors.training.data.feed import Feed
from supervisors.training.data.token_data import TokenData
from supervisors.training.engine import build_engine
from supervisors.training.memory import insist_fitting
from supervisors.training.start import load_start

FACTS = ("best", "parameters", "tokens_seen", "steps", "minutes", "precision", "weights")  # of training
EPOCHS, FEWEST, MOST = 20, 200, 2000  # of a run that leaves its steps to the data


def default_steps(batches: Batches) -> int:
    """Optimizer steps of a run that leaves them to the data."""
    return min(MOST, max(FEWEST, round(EPOCHS * batches.steps_per_epoch)))


def why_steps(batches: Batches) -> str:
    """What `default_steps` rests on, in words."""
    whole = f"{EPOCHS} epochs of {batches.steps_per_epoch:.1f} steps"
    steps = default_steps(batches)
    if steps == FEWEST:
        return f"the fewest that a run takes by itself; {whole} would be less"
    if steps == MOST:
        return f"the most that a run takes by itself; {whole} would be more"
    return whole


class TokenSupervisor(TokenData):
    """Trains one model on a token store. The `objective` is what the engine trains; the model alone is shared."""

    concluded: Any = None  # the best model, once the run is over

    # What a subclass brings.

    def make_model(self, hparams: HParams) -> nn.Module:
        """A fresh model of these hyper-parameters and `self.tokenizer`, drawn from torch's generator.

        It needs no data: an artefact builds it too. `self.hparams` with another backbone is asked for by comparisons.
        """
        raise NotImplementedError

    def objective(self, model: Any) -> nn.Module:
        """A module whose attribute `model` is the model: a batch (see Batches) in, the sum of nats over its counted
        targets out. `self.autocast()` is for its products."""
        raise NotImplementedError

    # From tokens to an engine.

    def build_model(self) -> None:
        hparams, device = self.hparams, self.ranks.device
        insist_fitting(lambda: self.make_model(hparams), device, self.ranks.world)
        keep_freed_memory()
        torch.manual_seed(derive(hparams.seed, "weights"))
        self.model: Any = self.make_model(hparams)
        positions = getattr(self.model, "positions", None)
        if positions is not None and hparams.data.length > positions:
            raise HubError(
                f"data.length is {hparams.data.length}, and {hparams.backbone.name} has places for {positions} tokens "
                f"of a piece; give data.length={positions}, or a backbone with more"
            )
        if not self.folder.checkpoints():  # else the run's own weights are restored, wherever it once started
            load_start(self.model, hparams, self.tokenizer, self.manager)
        if hparams.train.activation_checkpointing:
            keep_inputs_only(self.model, hparams.backbone.name)
        self.model.to(device)
        self.parameters = parameter_count(self.model)  # counted before an engine spreads them over ranks
        self.dtype, reason = precision.choose(hparams.train.precision, device)
        logger.info("precision: %s (%s)", str(self.dtype).removeprefix("torch."), reason)
        self.batches = self.build_batches(packs(self.model))
        if not self.steps:
            self.steps = default_steps(self.batches)
            logger.info("train.steps: %d, %s", self.steps, why_steps(self.batches))
        groups = parameter_groups(self.model, hparams.train.weight_decay)
        self.engine = build_engine(self.objective(self.model), groups, hparams, self.ranks)

    def build_batches(self, packs: bool) -> Batches:
        """The training batches of the loaded data."""
        hparams = self.hparams
        return Batches(
            self.store,
            "train",
            bos_id=self.tokenizer.bos_id,
            eos_id=self.tokenizer.eos_id,
            pad_id=self.tokenizer.pad_id,
            length=hparams.data.length,
            batch_size=hparams.data.batch_size,
            seed=hparams.seed,
            packs=packs,
            augment=hparams.data.augment,
            tokenizer=self.tokenizer,
            accumulate=hparams.train.accumulate,
            beside=self.beside,
        )

    def train_step(self, step: int) -> dict[str, float]:
        hparams, ranks = self.hparams.train, self.ranks
        self.engine.set_rate(
            learning_rate(step, lr=hparams.lr, steps=self.steps, warmup=hparams.warmup, floor=hparams.lr_floor)
        )
        counted = self.batches.counted(step)
        total = torch.zeros((), device=ranks.device)
        self.model.train()
        for micro in range(hparams.accumulate):
            batch = self.feed.batch(step, micro)
            torch.manual_seed(derive(self.hparams.seed, "dropout", step, micro, ranks.rank))
            nats = self.engine(batch)
            # The engine averages over micro-batches and ranks; what is wanted is the sum over the step's tokens.
            self.engine.backward(nats * (hparams.accumulate * ranks.world / counted))
            self.engine.step()
            total += nats.detach()
            if step + 1 < self.steps:
                self.feed.make(*divmod(step * hparams.accumulate + micro + 1, hparams.accumulate))
        loss = float(ranks.sum(total)) / counted
        return {"loss": loss, "lr": self.engine.rate(), "grad_norm": self.engine.gradient_norm(), "tokens": counted}

    @cached_property
    def feed(self) -> Feed:
        """The training batches on this rank's device."""
        return Feed(self.batches, self.ranks)

    def autocast(self) -> AbstractContextManager[None]:
        """The number format of the matrix products."""
        return precision.autocast(self.ranks.device, self.dtype)

    # From an engine to an artefact, and back.

    def weights(self) -> dict[str, Tensor]:
        """The engine's weights under the model's own names; every rank must ask."""
        return self.engine.state_dict()

    def whole_model(self) -> Any:
        """The model with all its weights in this process: a copy where the engine spreads them over ranks."""
        if self.concluded is not None:
            return self.concluded
        if not self.engine.spreads_weights:
            return self.model
        return self._made_of(self.weights(), "the engine")

    def load_best(self) -> Any:
        """The model with the best weights, not the last; the engine's are left as they are."""
        if self.concluded is None:
            path = self.folder.model / "model.safetensors"
            self.concluded = self._made_of(load_weights(path), str(path))
        return self.concluded

    def _made_of(self, weights: dict[str, Tensor], source: str) -> Any:
        model = self.make_model(self.hparams).to(self.ranks.device)
        artefact.load_into(model, weights, source)
        return model

    def save_model(self) -> None:
        weights = self.weights()
        with self.ranks.together():
            if self.ranks.first:
                facts = {
                    "best": self.best,
                    "parameters": self.parameters,
                    "data_license": self.store.manifest["dataset"]["license"],
                    "data_url": self.store.manifest["dataset"]["url"],
                    "data_fingerprint": self.identity()["data"],
                }
                artefact.write(self.folder.model, weights, self.tokenizer, self.hparams, self.manager, facts)

    def identity(self) -> dict[str, str]:
        files = self.store.manifest["files"]
        data = "-".join(files[name]["sha256"][:16] for name in ("tokens.bin", "offsets.npy"))
        return {"data": data, "tokenizer": self.tokenizer.fingerprint()}

    def open(self) -> None:
        self.insist_answers()
        found = artefact.read(self.folder.path, self.manager)
        self.tokenizer, self.folder.model = found.tokenizer, found.folder
        self.concluded = self._made_of(found.weights, str(self.folder.path))
        self.best, weights = found.config["best"], found.config["sha256"]
        self.known = {"best": self.best, "parameters": found.config["parameters"], "weights": weights}
        self.known |= self._remembered(weights)
        self.dtype, _ = precision.choose(self.hparams.train.precision, self.ranks.device)

    # What it says of itself.

    def facts(self) -> dict[str, Any]:
        """What is known of the best model's training."""
        if self.known is not None:
            return self.known
        return {
            "best": self.best,
            "parameters": self.parameters,
            "tokens_seen": sum(self.batches.counted(step) for step in range(self.step)),
            "steps": self.step,
            "minutes": self.seconds / 60,
            "precision": str(self.dtype).removeprefix("torch."),
            "weights": checksum(self.folder.model / "model.safetensors"),
        }

    def _remembered(self, weights: str) -> dict[str, Any]:
        """What evaluation.json tells of the training of these weights."""
        try:
            told = json.loads(self.folder.evaluation.read_text(encoding="utf-8"))
            return {key: told[key] for key in FACTS if key in told} if told.get("weights") == weights else {}
        except (OSError, ValueError, AttributeError):
            return {}

    def evaluate(self) -> dict[str, Any]:
        """The facts of training, and the validation of the best model."""
        self.load_best()
        result = {**self.facts(), **self.validate()}
        if self.ranks.first:
            write_json(self.folder.evaluation, result)
        return result


def parameter_count(model: nn.Module) -> int:
    """Numbers that are stored: shared weights once."""
    return sum(parameter.numel() for parameter in model.parameters())


def keep_inputs_only(model: nn.Module, backbone: str) -> None:
    """Switches activation checkpointing on in all of a model that offers it; HubError where nothing does."""
    able = [module for module in model.modules() if hasattr(module, "activation_checkpointing")]
    if not able:
        raise HubError(
            f"train.activation_checkpointing is true, and {backbone} offers none (a backbone that does has an "
            f"attribute of that name); drop it, or raise train.accumulate to save memory"
        )
    for module in able:
        module.activation_checkpointing = True  # type: ignore[assignment]


def packs(model: Any) -> bool:
    """Whether several pieces may share a row: as the model says, else its backbone, else not."""
    return bool(getattr(model, "packs", getattr(getattr(model, "backbone", None), "packs", False)))
