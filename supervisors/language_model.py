"""The supervisor of next-token models: any backbone, any tokenizer, one loss."""

import functools
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.checkpoint import load_weights
from core.contracts.dataset import Split
from core.errors import HubError
from core.files import checksum, write_json
from core.log import logger
from core.model.language_model import LanguageModel
from core.model.memory import keep_freed_memory
from core.model.optim import learning_rate, parameter_groups
from core.seeds import derive
from datatools import ngram
from datatools.batching.batches import Batches, whole
from datatools.preparing import cache
from datatools.reading import scores
from datatools.writing import pianoroll
from hparams.loading import plain
from supervisors.artefacts import artefact
from supervisors.evaluation import results as evaluation
from supervisors.evaluation.kinds import token_kinds
from supervisors.evaluation.scoring import PieceScore, records, score_pieces, totals
from supervisors.generating.pieces import write_samples
from supervisors.training import precision
from supervisors.training.base import Supervisor
from supervisors.training.engine import build_engine
from supervisors.training.logbook import add_picture
from supervisors.training.start import load_start

EPOCHS, FEWEST, MOST = 20, 200, 2000  # of a run that leaves its steps to the data


def default_steps(batches: Batches) -> int:
    """Optimizer steps of a run that leaves them to the data."""
    return min(MOST, max(FEWEST, round(EPOCHS * batches.steps_per_epoch)))


class SummedLoss(nn.Module):
    """The module that an engine trains: a batch in, the sum of nats over its counted targets out."""

    def __init__(self, model: LanguageModel, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self._autocast = functools.partial(precision.autocast, device, dtype)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Nats, a scalar; fields of the batch: ids, targets and starts, each (b l)."""
        with self._autocast():
            nats, _ = self.model.loss(batch["ids"], batch["targets"], batch["starts"])
        return nats.sum()


class LanguageModelSupervisor(Supervisor):
    """Trains a LanguageModel on a token store."""

    concluded: LanguageModel | None = None  # the best model, once the run is over
    facts: dict[str, Any] | None = None  # what training said of a model that was adopted

    def load_data(self) -> None:
        hparams = self.hparams
        tokenizer_entry = self.manager.tokenizers[hparams.tokenizer.name]
        dataset_entry = self.manager.datasets[hparams.dataset.name]
        assert tokenizer_entry.build is not None and dataset_entry.build is not None
        prepare = functools.partial(
            cache.prepare,
            dataset_entry.build(hparams.dataset),
            functools.partial(tokenizer_entry.build, hparams.tokenizer),
            json.dumps(
                [tokenizer_entry.distribution, tokenizer_entry.version, plain(hparams)["tokenizer"]], sort_keys=True
            ),
            hparams.data,
        )
        if self.ranks.first:
            self.store = prepare()
        self.ranks.barrier()
        if not self.ranks.first:
            self.store = prepare(progress=False)
        self.tokenizer = artefact.build_tokenizer(self.manager, hparams, self.store.tokenizer_folder)
        self.kinds = token_kinds(self.tokenizer)

    def build_model(self) -> None:
        hparams, device = self.hparams, self.ranks.device
        keep_freed_memory()
        torch.manual_seed(derive(hparams.seed, "weights"))
        self.model = artefact.build_model(self.manager, hparams, self.tokenizer)
        if not self.folder.checkpoints():  # else the run's own weights are restored, wherever it once started
            load_start(self.model, hparams, self.tokenizer, self.manager)
        self.model.to(device)
        self.parameters = self.model.parameter_count()  # counted before an engine spreads them over ranks
        self.dtype, reason = precision.choose(hparams.train.precision, device)
        logger.info("precision: %s (%s)", str(self.dtype).removeprefix("torch."), reason)
        self.batches = self.build_batches(self.model.backbone.packs)
        self.steps = self.steps or default_steps(self.batches)
        groups = parameter_groups(self.model, hparams.train.weight_decay)
        self.engine = build_engine(SummedLoss(self.model, device, self.dtype), groups, hparams, self.ranks)

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
            batch = self.batches.batch(step, micro, ranks.rank, ranks.world)
            torch.manual_seed(derive(self.hparams.seed, "dropout", step, micro, ranks.rank))
            nats = self.engine({key: value.to(ranks.device, non_blocking=True) for key, value in batch.items()})
            # The engine averages over micro-batches and ranks; what is wanted is the sum over the step's tokens.
            self.engine.backward(nats * (hparams.accumulate * ranks.world / counted))
            self.engine.step()
            total += nats.detach()
        loss = float(ranks.sum(total)) / counted
        return {"loss": loss, "lr": self.engine.rate(), "grad_norm": self.engine.gradient_norm(), "tokens": counted}

    def autocast(self) -> AbstractContextManager[None]:
        """The number format of the matrix products."""
        return precision.autocast(self.ranks.device, self.dtype)

    def measure(self, split: Split, limit: int | None = None) -> list[PieceScore]:
        """Scores whole pieces of a split, all or about `limit` tokens of them."""
        tokenizer = self.tokenizer
        batches = whole(
            self.store,
            split,
            bos_id=tokenizer.bos_id,
            eos_id=tokenizer.eos_id,
            pad_id=tokenizer.pad_id,
            limit_tokens=limit,
        )
        return score_pieces(self.whole_model(), batches, self.kinds, self.autocast())

    def validate(self) -> dict[str, float]:
        pieces = self.measure("valid", self.hparams.evaluate.tokens)
        nats, infos = sum(score.nats for score in pieces), self.store.pieces("valid")
        notes = sum(infos[score.number].notes for score in pieces)
        return {
            "valid_loss": nats / sum(score.tokens for score in pieces),
            "valid_nats_per_note": nats / max(notes, 1),
        }

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

    def whole_model(self) -> LanguageModel:
        """The model with all its weights in this process: a copy where the engine spreads them over ranks."""
        if self.concluded is not None:
            return self.concluded
        if not self.engine.spreads_weights:
            return self.model
        copy = artefact.build_model(self.manager, self.hparams, self.tokenizer).to(self.ranks.device)
        artefact.load_into(copy, self.weights(), "the engine")
        return copy

    def weights(self) -> dict[str, Tensor]:
        """The engine's weights under the model's own names; every rank must ask."""
        return self.engine.state_dict()

    def load_best(self) -> LanguageModel:
        """The model with the best weights, not the last; the engine's are left as they are."""
        if self.concluded is None:
            path = self.folder.model / "model.safetensors"
            best = artefact.build_model(self.manager, self.hparams, self.tokenizer).to(self.ranks.device)
            artefact.load_into(best, load_weights(path), path)
            self.concluded = best
        return self.concluded

    def identity(self) -> dict[str, str]:
        files = self.store.manifest["files"]
        data = "-".join(files[name]["sha256"][:16] for name in ("tokens.bin", "offsets.npy"))
        return {"data": data, "tokenizer": self.tokenizer.fingerprint()}

    def adopt(self, found: artefact.Artefact, facts: dict[str, Any]) -> None:
        """Takes a trained model as the best one, to be evaluated without an engine; `facts` is what is known of it."""
        if found.tokenizer.fingerprint() != self.tokenizer.fingerprint():
            raise HubError(
                f"the tokenizer that {self.folder.path} was trained with is not the one that its data gives now; "
                "restore the data, or train under another name="
            )
        best = artefact.build_model(self.manager, self.hparams, self.tokenizer).to(self.ranks.device)
        artefact.load_into(best, found.weights, self.folder.path)
        self.concluded, self.facts = best, facts
        self.dtype, _ = precision.choose(self.hparams.train.precision, self.ranks.device)

    def evaluate(self) -> dict[str, Any]:
        self.load_best()
        baselines = self._baselines()
        result: dict[str, Any] = {**(self.facts or self._facts())}
        lines: list[dict[str, Any]] = []
        for split in evaluation.splits_of(self.store):
            infos = self.store.pieces(split)
            pieces = self.measure(split)
            result[split] = {**totals(pieces, infos), "baselines": baselines[split]}
            lines += records(split, pieces, infos)
        if self.ranks.first:
            result = evaluation.write(self.folder, result, lines)
        return result

    def _facts(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "parameters": self.parameters,
            "tokens_seen": sum(self.batches.counted(step) for step in range(self.step)),
            "steps": self.step,
            "minutes": self.seconds / 60,
            "precision": str(self.dtype).removeprefix("torch."),
            "weights": checksum(self.folder.model / "model.safetensors"),
        }

    def _baselines(self) -> dict[str, Any]:
        # They depend on the store alone, so they lie beside it.
        path = self.store.folder / "baselines.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = ngram.baselines(self.store, self.tokenizer)
            if self.ranks.first:
                write_json(path, found)
        return found

    def generate(self) -> list[Path]:
        best = self.load_best()
        if not self.ranks.first:
            return []
        step = int(self.best["step"])
        files = write_samples(best, self.tokenizer, self.hparams, self.folder.samples / f"step_{step:06d}")
        add_picture(self.folder.path, "sample", step, pianoroll.image(scores.read(files[0]).score))
        return files
