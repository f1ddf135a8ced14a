"""The same toy model through the hub's own run: `python -m tests.twin.hub JOB.json`, alone or under torchrun.

A job is {"folder", "words": [key=value, ...], "tied"}; the last weights go to FOLDER/weights.safetensors.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.checkpoint import save_weights
from core.model.language_model import LanguageModel
from hparams.base import HParams
from hparams.loading import load
from plugins.manager import load_manager
from supervisors.language_model import LanguageModelSupervisor
from supervisors.training import process_group

PAD, BOS, EOS, FIRST, VOCABULARY, WIDTH = 0, 1, 2, 3, 21, 6
FADE = 0.8
LONG = (5, 130, 700, 1300)  # ids of the validation pieces, some longer than any chunk


class Fading(nn.Module):
    """m = FADE m + x, then two matrices with tanh between; keeps its state between calls."""

    packs = True
    dim = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(WIDTH, WIDTH) * 0.5)
        self.bias = nn.Parameter(torch.randn(WIDTH) * 0.1)
        self.exempt = nn.Parameter(torch.randn(WIDTH, WIDTH) * 0.5)
        self.exempt._no_weight_decay = True  # type: ignore[attr-defined]

    def init_state(self, batch: int, max_length: int) -> dict[str, Tensor]:
        return {"memory": self.bias.new_zeros(batch, WIDTH)}

    def forward(self, x: Tensor, state: Any = None, starts: Tensor | None = None) -> tuple[Tensor, Any]:
        memory = x.new_zeros(len(x), WIDTH) if state is None else state["memory"]
        memories = []
        for t in range(x.shape[1]):
            if starts is not None:
                memory = memory * ~starts[:, t, None]
            memory = FADE * memory + x[:, t]
            memories.append(memory)
        bent = torch.tanh(torch.stack(memories, 1) @ self.mix.T + self.bias)  # b l d
        return bent @ self.exempt.T, None if state is None else {"memory": memory}


def model(tied: bool = False, seed: int = 0) -> LanguageModel:
    """The toy model in float64."""
    torch.manual_seed(seed)
    made = LanguageModel(Fading(), VOCABULARY, tie=tied)  # type: ignore[arg-type]
    with torch.no_grad():
        made.embedding.weight[:VOCABULARY] = torch.randn(VOCABULARY, WIDTH)
        if not tied:
            made.head.weight[:VOCABULARY] = torch.randn(VOCABULARY, WIDTH)
    return made.double()


def weights(of: LanguageModel) -> dict[str, NDArray[np.float64]]:
    """Copies of the weights by name, shared ones once."""
    return {name: value.detach().numpy().copy() for name, value in of.named_parameters()}


class Tokenizer:
    """Ids that mean nothing but their kind: pitches, onsets, durations and others in turn."""

    vocab_size, pad_id, bos_id, eos_id, streams = VOCABULARY, PAD, BOS, EOS, 1

    def kind_of(self, id: int) -> str:
        return "other" if id < FIRST else ("pitch", "onset", "duration", "other")[id % 4]

    def fingerprint(self) -> str:
        return "toy"

    def save(self, folder: Path) -> None:
        (folder / "toy").write_text("")


@dataclass(frozen=True)
class Info:
    """What a piece says of itself; its tokens do not tell all of its notes."""

    notes: int
    told: int
    seconds: float
    source: str = "x"
    title: str = ""
    index: int = 0


class Store:
    """Pieces that repeat themselves, made from a seed."""

    def __init__(self, train: tuple[int, ...] = (9, 3, 30, 14, 50, 7, 22, 5), valid: tuple[int, ...] = LONG) -> None:
        self._pieces = {"train": _pieces(train, 1), "valid": _pieces(valid, 2), "test": []}
        hashes = {name: {"sha256": "0" * 64} for name in ("tokens.bin", "offsets.npy")}
        self.manifest = {"files": hashes, "dataset": {"license": "none", "url": "nowhere"}}

    def lengths(self, split: str) -> NDArray[np.int64]:
        return np.array([len(piece) for piece in self._pieces[split]], dtype=np.int64)

    def ids(self, split: str, k: int) -> NDArray[np.uint16]:
        return self._pieces[split][k]

    def pieces(self, split: str) -> list[Info]:
        return [Info(len(ids) // 2 + k, len(ids) // 3, 1.5 * len(ids)) for k, ids in enumerate(self._pieces[split])]


def _pieces(lengths: tuple[int, ...], seed: int) -> list[NDArray[np.uint16]]:
    rng = np.random.default_rng(seed)
    found = []
    for length in lengths:
        step = rng.integers(1, 4, length) * (rng.random(length) < 0.9)
        found.append((FIRST + (rng.integers(0, 18) + np.cumsum(step)) % (VOCABULARY - FIRST)).astype(np.uint16))
    return found


class Supervisor(LanguageModelSupervisor):
    """A whole run of the toy model on the toy store; all else is the hub's."""

    tied = False
    number = torch.float64

    def load_data(self) -> None:
        self.store = Store()  # type: ignore[assignment]
        self.tokenizer = Tokenizer()  # type: ignore[assignment]

    def make_model(self, hparams: HParams) -> LanguageModel:
        return model(self.tied).to(self.number)


def supervisor(folder: Path, words: list[str], tied: bool = False, kind: type[Any] = Supervisor) -> Any:
    """A supervisor that has not begun; in float32 but for plain torch, since DeepSpeed sums no wider numbers."""
    manager = load_manager()
    made = kind(load("tiny", words, preset=manager.preset, section=manager.section), manager, folder)
    made.tied = tied
    made.number = torch.float64 if made.hparams.train.engine == "torch" else torch.float32
    return made


if __name__ == "__main__":
    for job in json.loads(Path(sys.argv[1]).read_text()):
        run = supervisor(Path(job["folder"]), job["words"], job["tied"])
        run.train()
        if run.ranks.first:
            save_weights(run.weights(), Path(job["folder"]) / "weights.safetensors")
    process_group.stop()
