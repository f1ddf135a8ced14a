"""The supervisor of MusicVAE: windows of bars in, latent vectors between, any backbones as encoder and decoder.

Source: Roberts et al., arXiv 1803.05428.
"""

import functools
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from core.contracts.dataset import Split
from core.errors import HubError
from core.model.generation import Generated
from core.model.language_model import IGNORED
from core.words import agree, counted
from datatools.batching.batches import Batches
from datatools.writing import formats
from hparams.base import HParams
from hparams.supervisors import MusicVaeHParams, PartHParams
from supervisors.evaluation import results
from supervisors.evaluation.kinds import token_kinds
from supervisors.evaluation.scoring import records, totals
from supervisors.generating.drawing import sampling_of
from supervisors.generating.pieces import made_folder, write_pieces
from supervisors.music_vae import elbo, latents, measures
from supervisors.music_vae.data import MusicVaeData
from supervisors.music_vae.drawing import music_of, sample
from supervisors.music_vae.model import MusicVae
from supervisors.music_vae.windows import Windows, tiles
from supervisors.summary import summary
from supervisors.training import precision
from supervisors.training.token_supervisor import TokenSupervisor


class Bound(nn.Module):
    """The module that an engine trains: a batch in, the sum of its windows' costs in nats out."""

    def __init__(self, model: MusicVae, hparams: MusicVaeHParams, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.hparams = model, hparams
        self._autocast = functools.partial(precision.autocast, device, dtype)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Nats, a scalar; fields of the batch as `Windows` gives them."""
        ids, targets, step, hparams = batch["ids"], batch["targets"], batch["step"], self.hparams
        with self._autocast():
            mean, scale = self.model.encoder(ids, (targets != IGNORED).sum(1))
            latent = mean + scale * batch["noise"]
            inputs = self.model.inputs(ids)
            if hparams.scheduled_sampling:
                inputs = self.mixed(inputs, latent, batch["chance"], elbo.drawn_share(hparams, step))
            logits = self.model.decode(inputs, latent)
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
        sums = nats.view_as(targets).sum(1)
        divergence = elbo.divergence(mean, scale)
        return elbo.cost(sums, divergence, elbo.weight(hparams, step), hparams.free_bits).sum()

    @torch.no_grad()
    def mixed(self, inputs: Tensor, latent: Tensor, chance: Tensor, share: Tensor) -> Tensor:
        """Inputs (b n) of which a share is drawn from what the decoder says after the true ones: two passes, so that
        whole windows are learned at once (Mihaylova and Martins, arXiv 1906.07651). `chance` (2 b n) is uniform."""
        cumulative = self.model.decode(inputs, latent).softmax(-1).cumsum(-1)
        drawn = (cumulative < chance[1, ..., None] * cumulative[..., -1:]).sum(-1).clamp(max=cumulative.shape[-1] - 1)
        return torch.where(chance[0] < share, self.model.inputs(drawn), inputs)


class MusicVaeSupervisor(MusicVaeData, TokenSupervisor):
    """Learns to hold windows of bars in latent vectors."""

    def make_model(self, hparams: HParams) -> MusicVae:
        own = hparams.supervisor
        encoders = [self._part(hparams, own.encoder, "encoder") for _ in range(2)]
        conductor = self._part(hparams, own.conductor, "conductor") if own.hierarchical else None
        return MusicVae(
            (encoders[0], encoders[1]),
            self.manager.make("backbone", hparams.backbone),
            conductor,
            vocabulary=self.tokenizer.vocab_size,
            bos_id=self.tokenizer.bos_id,
            bars=own.bars,
            bar_tokens=cast(Any, self.tokenizer).bar_tokens,
            latent=own.latent,
            tie=hparams.model.tie,
        )

    def _part(self, hparams: HParams, part: PartHParams, key: str) -> Any:
        """A backbone beside the decoder."""
        section = self.manager.section("backbone", part.backbone) if part.backbone else hparams.backbone
        dim, layers = part.dim or hparams.backbone.dim, part.layers or section.layers
        try:
            return self.manager.make("backbone", replace(section, dim=dim, layers=layers))
        except ValueError as error:
            raise HubError(f"supervisor.{key}: {error}") from error

    def objective(self, model: MusicVae) -> Bound:
        return Bound(model, self.own, self.ranks.device, self.dtype)

    def build_batches(self, packs: bool) -> Batches:
        hparams = self.hparams
        windows = Windows(
            self.store,
            self.tokenizer,
            bars=self.own.bars,
            bar_tokens=cast(Any, self.tokenizer).bar_tokens,
            latent=self.own.latent,
            batch_size=hparams.data.batch_size,
            accumulate=hparams.train.accumulate,
            seed=hparams.seed,
            augment=hparams.data.augment,
        )
        return cast(Batches, windows)

    def windows(self, model: MusicVae, split: Split, limit: int | None = None, draw: bool = False) -> Any:
        """What the windows of a split cost, all or those of pieces with about `limit` tokens, and what comes back."""
        batches = tiles(self.store, split, model.tokens, self.tokenizer.pad_id, limit)
        return measures.scored(model, batches, self.autocast(), music_of(self.tokenizer) if draw else None)

    def validate(self) -> dict[str, float]:
        windows = self.windows(self.whole_model(), "valid", self.hparams.evaluate.tokens)
        nats = torch.tensor([window.nats.sum() for window in windows])
        costs = elbo.cost(nats, torch.tensor([w.divergence for w in windows]), self.own.beta, self.own.free_bits)
        found = measures.figures(windows)
        kept = {f"valid_{key}": found[key] for key in ("elbo", "divergence", "step_accuracy")}
        return {"valid_loss": float(costs.sum()) / sum(len(window.nats) for window in windows), **kept}

    def evaluate(self) -> dict[str, Any]:
        model = self.load_best()
        baselines = results.baselines(self.store, self.tokenizer, keep=self.ranks.first)
        result: dict[str, Any] = {**self.facts()}
        lines: list[dict[str, Any]] = []
        for split in results.splits_of(self.store):
            infos = self.store.pieces(split)
            windows = self.windows(model, split, draw=True)
            pieces = measures.pieces(windows, token_kinds(self.tokenizer))
            result[split] = {
                **totals(pieces, infos),
                "baselines": baselines[split],
                "latent": measures.figures(windows),
            }
            lines += records(split, pieces, infos)
        if self.ranks.first:
            result = results.write(self.folder, result, lines)
        return result

    def generate(self, out: Path | None = None) -> list[Path]:
        model, asked = self.load_best().eval(), self.hparams.generate
        if not self.ranks.first:
            return []
        self.insist_windows(model)
        formats.check("generate.formats", asked.formats)
        vectors = latents.wanted(model, self.tokenizer, asked)  # (p w z)
        folder = made_folder(out or self.folder.samples / f"step_{int(self.best['step']):06d}")
        grammar = None
        if not asked.latent.source:  # what is decoded of a file may be silent for a window, as the file is
            grammar = cast(Any, self.tokenizer).grammar(bars=model.bars)
        began = time.perf_counter()
        rows = range(vectors.shape[0] * vectors.shape[1])
        with tqdm(desc="generate", unit="token", dynamic_ncols=True) as bar:
            ids = sample(
                model,
                vectors.flatten(0, 1),
                sampling_of(asked),
                music=music_of(self.tokenizer),
                rows=rows,
                grammar=grammar,
                progress=bar.update,
            )
        pieces = [Generated(piece, 0, False) for piece in ids.view(len(vectors), -1).tolist()]
        silent = sum(not self.tokenizer.decode(piece.ids).score.note_num() for piece in pieces)
        if silent:
            none = f"{silent} of {counted(len(pieces), 'piece')} {agree(silent, 'has', 'have')} no note"
            raise HubError(f"{none}; train longer, or give another generate.seed")
        seconds = time.perf_counter() - began
        ends = [f"{counted(vectors.shape[1] * model.bars, 'bar')}, as its windows have"] * len(pieces)
        return write_pieces(self.tokenizer, self.hparams, pieces, rows[:: vectors.shape[1]], folder, seconds, ends=ends)

    def insist_windows(self, model: MusicVae) -> None:
        """HubError where `generate.*` asks for other than windows."""
        asked = self.hparams.generate
        if asked.prompt:
            raise HubError("generate.prompt: this model continues nothing; generate.latent.source=FILE decodes it anew")
        if asked.bars not in (0, model.bars):
            raise HubError(f"generate.bars is {asked.bars}; this model's windows have {counted(model.bars, 'bar')}")
        if asked.length < model.tokens:
            raise HubError(f"generate.length is {asked.length}; a window of this model has {model.tokens} tokens")

    def summary(self, result: dict[str, Any]) -> str:
        store = self.store
        told = summary(self.folder.path, result, store.manifest, store.failures_path, self.hparams.tokenizer)
        lines = [
            f"{split:<13}{found['elbo']:.2f} nats a window at least (divergence {found['divergence']:.2f}), "
            f"step accuracy {found['step_accuracy']:.3f}, drawn {found['sampled_accuracy']:.3f} "
            f"(n = {counted(found['windows'], 'window')})"
            for split in results.scored(result)
            for found in [result[split]["latent"]]
        ]
        return "\n".join([told, *lines])
