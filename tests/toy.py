"""A run of milliseconds with real checkpoints, for tests of what surrounds a model."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from core.files import atomic_folder
from core.model.language_model import LanguageModel
from core.model.optim import parameter_groups
from hparams.base import HParams
from plugins.manager import load_manager
from supervisors.training import environment
from supervisors.training.base import Supervisor
from supervisors.training.engine import build_engine
from tests.test_model import Memory

STEPS = 6


class Loss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = LanguageModel(Memory(), 11)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.model.loss(batch["ids"], batch["ids"].roll(-1, 1))[0].mean()


class Toy(Supervisor):
    """A run of milliseconds with real checkpoints: every step has its own rows, every second one is validated."""

    def load_data(self) -> None:
        pass

    def build_model(self) -> None:
        module = Loss()
        self.engine = build_engine(module, parameter_groups(module.model, 0.1), self.hparams, self.ranks)

    def train_step(self, step: int) -> dict[str, float]:
        loss = self.engine({"ids": torch.randint(0, 11, (2, 5), generator=torch.Generator().manual_seed(step))})
        self.engine.backward(loss)
        self.engine.step()
        return {"loss": loss.item(), "lr": 1e-3, "grad_norm": self.engine.gradient_norm(), "tokens": 10}

    def validate(self) -> dict[str, float]:
        return {"valid_loss": float(sum(value.abs().sum() for value in self.engine.state_dict().values()))}

    def save_model(self) -> None:
        with atomic_folder(self.folder.model) as folder:
            (folder / "config.json").write_text(json.dumps(self.best))

    def identity(self) -> dict[str, str]:
        return {"data": "toy"}


class Board:
    """TensorBoard's writer, without TensorBoard."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def add_scalar(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Leaves away what a toy has no use for and takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "write", lambda *_: None)
        patch.setattr("torch.utils.tensorboard.SummaryWriter", Board)
        patch.setattr(os, "fsync", lambda _: None)
        yield


def toy(folder: Path) -> Toy:
    hparams = HParams(name="toy")
    hparams.train.steps, hparams.train.engine = STEPS, "torch"
    hparams.evaluate.every = hparams.checkpoint.every = 2
    hparams.checkpoint.keep = 3
    return Toy(hparams, load_manager(), folder)
