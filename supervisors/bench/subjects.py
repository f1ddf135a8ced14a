"""What is measured, behind one contract: a loss to train on, and reading with a cache to decode by.

Shapes: b batch, l length, v vocabulary.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.contracts.backbone import fork, select
from core.model.language_model import LanguageModel
from core.model.memory import keep_freed_memory
from plugins.manager import load_manager

CHUNK = 1024  # tokens of a prompt that are read at once


@dataclass(frozen=True)
class Spec:
    """Which subject a process builds: a backbone of ours or a peer, and of what size."""

    name: str
    ours: bool
    hparams: Any  # of the backbone, or of the backbone of ours whose size the peer takes
    vocabulary: int
    threads: int
    device: str


class Trained(Protocol):
    """A language model whose training is timed."""

    @property
    def model(self) -> nn.Module:
        """All that has parameters."""
        ...

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy of targets (b l) after ids (b l)."""
        ...


class Subject(Trained, Protocol):
    """One whose decoding is timed too."""

    chunk: int | None  # tokens of a prompt that may be read at once; None: all of them must be

    def cache(self, limit: int) -> Any:
        """An empty cache of one row for at most `limit` tokens."""
        ...

    def read(self, ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Reads ids (b l) on; the logits (b v) of the next token, and the cache after ids."""
        ...

    def repeat(self, cache: Any, batch: int) -> Any:
        """A cache of one row as `batch` equal ones."""
        ...

    def copy(self, cache: Any) -> Any:
        """A copy that may be written."""
        ...


class Ours:
    """A registered backbone in the hub's language model, through nothing but their contracts."""

    chunk: int | None = CHUNK

    def __init__(self, spec: Spec) -> None:
        keep_freed_memory()  # as training does
        build = load_manager().backbones[spec.name].build
        assert build is not None
        torch.manual_seed(0)
        self.model = LanguageModel(build(spec.hparams), spec.vocabulary).to(spec.device)

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """See `Subject`."""
        return self.model.loss(ids, targets)[0].mean()

    def cache(self, limit: int) -> Any:
        """See `Subject`."""
        return self.model.init_state(1, limit)

    def read(self, ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """See `Subject`."""
        logits, cache = self.model(ids, cache)
        return logits[:, -1], cache

    def repeat(self, cache: Any, batch: int) -> Any:
        """See `Subject`."""
        return select(cache, [0] * batch)

    def copy(self, cache: Any) -> Any:
        """See `Subject`."""
        return fork(cache)

    @property
    def kernel(self) -> str:
        """What the backbone says of itself by its optional attribute `kernel`; empty where it has none."""
        return str(getattr(self.model.backbone, "kernel", ""))


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean over targets (b l) of logits (b l v), in float32."""
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
