"""The supervisor of next-token models: any backbone, any tokenizer, one loss."""

import functools
from pathlib import Path
from typing import Any

import symusic
import torch
from torch import Tensor, nn

from core.contracts.dataset import SPLITS, Split
from core.contracts.tokenizer import vocab_sizes
from core.log import say_once
from core.model.conditioning import known_of
from core.model.language_model import LanguageModel
from datatools.batching.batches import whole
from datatools.batching.controls import Beside
from datatools.reading import scores
from datatools.writing import pianoroll, sound
from hparams.base import HParams
from supervisors.evaluation import results as evaluation
from supervisors.evaluation.kinds import token_kinds
from supervisors.evaluation.scoring import PieceScore, records, score_pieces, totals
from supervisors.generating.asked import asked_of
from supervisors.generating.pieces import write_samples
from supervisors.summary import measures, still_to_do, summary
from supervisors.training import precision
from supervisors.training.data.controls import controls_of
from supervisors.training.token_supervisor import TokenSupervisor
from supervisors.training.trackers import opened

HEARD = 22_050  # samples a second of what trackers hear


class SummedLoss(nn.Module):
    """The module that an engine trains: a batch in, the sum of nats over its counted targets out."""

    def __init__(self, model: LanguageModel, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self._autocast = functools.partial(precision.autocast, device, dtype)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Nats, a scalar; fields of the batch as `Batches` gives them."""
        with self._autocast():
            nats, _ = self.model.loss(batch["ids"], batch["targets"], batch["starts"], known=known_of(batch))
        return nats.sum()


class LanguageModelSupervisor(TokenSupervisor):
    """Trains a model of the next token: any backbone, any tokenizer, one loss."""

    takes_streams = takes_controls = True

    def make_model(self, hparams: HParams) -> LanguageModel:
        backbone = self.manager.make("backbone", hparams.backbone)
        widths = [control.dim for control in controls_of(self.manager, hparams)]
        return LanguageModel(backbone, vocab_sizes(self.tokenizer), tie=hparams.model.tie, controls=widths)

    def objective(self, model: LanguageModel) -> SummedLoss:
        return SummedLoss(model, self.ranks.device, self.dtype)

    def measure(self, split: Split, limit: int | None = None, beside: Beside | None = None) -> list[PieceScore]:
        """Scores whole pieces of a split, all or about `limit` tokens of them, knowing what is `beside` them."""
        tokenizer = self.tokenizer
        batches = whole(
            self.store,
            split,
            bos_id=tokenizer.bos_id,
            eos_id=tokenizer.eos_id,
            pad_id=tokenizer.pad_id,
            limit_tokens=limit,
            beside=beside,
        )
        model = self.whole_model()
        return score_pieces(model, batches, token_kinds(tokenizer), self.autocast(), reach=self.reach(model))

    def reach(self, model: LanguageModel) -> int | None:
        """Tokens that the model was taught to read at once, where it has learned places: those of a row at most."""
        if model.positions is None:
            return None
        reach = min(model.positions, self.hparams.data.length)
        longest = max(int(self.store.lengths(split).max(initial=0)) + 1 for split in SPLITS)
        if longest > reach:
            say_once(f"pieces of more than {reach:,} tokens are scored in windows of as many, which overlap by half")
        return reach

    def validate(self) -> dict[str, float]:
        pieces = self.measure("valid", self.hparams.evaluate.tokens)
        nats, infos = sum(score.nats for score in pieces), self.store.pieces("valid")
        notes = sum(infos[score.number].notes for score in pieces)
        tokens = sum(score.tokens for score in pieces)
        found = {"valid_loss": nats / tokens, "valid_nats_per_note": nats / max(notes, 1)}
        if self.beside is not None:  # which says something of the notes to come, and is no figure to compare
            knowing = self.measure("valid", self.hparams.evaluate.tokens, self.beside)
            found["valid_loss_given_controls"] = sum(score.nats for score in knowing) / tokens
        return found

    def evaluate(self) -> dict[str, Any]:
        self.load_best()
        baselines = evaluation.baselines(self.store, self.tokenizer, keep=self.ranks.first)
        result: dict[str, Any] = {**self.facts()}
        lines: list[dict[str, Any]] = []
        for split in evaluation.splits_of(self.store):
            infos = self.store.pieces(split)
            pieces = self.measure(split)
            result[split] = {**totals(pieces, infos), "baselines": baselines[split]}
            lines += records(split, pieces, infos)
        if self.ranks.first:
            result = evaluation.write(self.folder, result, lines)
        return result

    def report(self) -> str:
        from supervisors.evaluation.report import report  # draws pictures, which no other verb waits for

        result = report(self)
        return f"{self.summary(result)}\n{measures(result)}\npage         {self.folder.report / 'index.html'}"

    def generate(self, out: Path | None = None) -> list[Path]:
        best = self.load_best()
        if not self.ranks.first:
            return []
        step = int(self.best["step"])
        known = asked_of(self.manager, self.hparams)
        out_to = out or self.folder.samples / f"step_{step:06d}"
        files = write_samples(best, self.tokenizer, self.hparams, out_to, known)
        if out is None:
            self._show(step, scores.read(files[0]).score)
        return files

    def _show(self, step: int, score: symusic.Score) -> None:
        """One sample to the run's trackers, as picture and sound."""
        samples = sound.render(score, told=False)[:: sound.RATE // HEARD].mean(axis=1)  # (t,)
        for tracker in opened(self.hparams, self.folder.path, None):
            tracker.picture(step, "sample", pianoroll.image(score))
            tracker.sound(step, "sample_sound", samples, HEARD)
            tracker.close()

    def summary(self, result: dict[str, Any]) -> str:
        folder, store = self.folder.path, self.store
        told = summary(folder, result, store.manifest, store.failures_path, self.hparams.tokenizer)
        return "\n".join([told, *still_to_do(folder, result)])
