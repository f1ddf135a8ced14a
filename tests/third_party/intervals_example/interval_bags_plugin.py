"""An autoencoder of the bag of melodic intervals of a row: any backbone reads it, a few numbers hold it.

Shapes: b batch, l length, d model width, z latent numbers, i intervals.
"""

import re
from dataclasses import dataclass
from typing import Literal

import pluggy
import symusic
import torch
from torch import nn

from datatools.batching.batches import whole
from supervisors.training.token_supervisor import TokenSupervisor

WIDEST = 12  # semitones up or down; what is wider counts as this
INTERVALS = 2 * WIDEST + 1
NOTES = 32


@dataclass(kw_only=True)
class IntervalBagsHParams:
    """Bags of melodic intervals, told by a few numbers."""

    name: Literal["interval_bags"] = "interval_bags"
    # Numbers that hold a bag.
    latent: int = 4


class IntervalBags(nn.Module):
    """Reads ids, squeezes what the backbone makes of them, and tells the intervals' shares."""

    packs = False  # a bag is one piece's

    def __init__(self, backbone, names, latent):
        super().__init__()
        self.embedding = nn.Embedding(len(names), backbone.dim)
        self.backbone = backbone
        self.squeeze = nn.Linear(backbone.dim, latent)
        self.expand = nn.Linear(latent, INTERVALS)
        found = [re.search(r"(?:Pitch|NoteOn)_(\d+)", name) for name in names]
        self.register_buffer("pitches", torch.tensor([int(match[1]) if match else -1 for match in found]))

    def shares(self, latent):
        """Log-shares (b i) of the intervals that latent numbers (b z) stand for."""
        return self.expand(latent.tanh()).log_softmax(-1)

    def bags(self, ids):
        """Counts (b i) of the intervals in ids (b l)."""
        counts = torch.zeros(len(ids), INTERVALS, device=ids.device)
        for row, pitches in zip(counts, self.pitches[ids], strict=True):
            steps = pitches[pitches >= 0].diff().clamp(-WIDEST, WIDEST) + WIDEST
            row.index_add_(0, steps, torch.ones_like(steps, dtype=row.dtype))
        return counts

    def loss(self, ids):
        """Nats (b,) of each row's intervals."""
        hidden, _ = self.backbone(self.embedding(ids), None, None)  # b l d
        return -(self.bags(ids) * self.shares(self.squeeze(hidden.mean(1)))).sum(-1)


class SummedLoss(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        return self.model.loss(batch["ids"]).sum()


class IntervalBagsSupervisor(TokenSupervisor):
    """Learns bags of intervals and draws melodies from bags that it never saw."""

    def make_model(self, hparams):
        names = [self.tokenizer.token(id) for id in range(self.tokenizer.vocab_size)]
        return IntervalBags(self.manager.make("backbone", hparams.backbone), names, hparams.supervisor.latent)

    def objective(self, model):
        return SummedLoss(model)

    @torch.no_grad()
    def validate(self):
        model, tokenizer = self.whole_model().eval(), self.tokenizer
        ends = {"bos_id": tokenizer.bos_id, "eos_id": tokenizer.eos_id, "pad_id": tokenizer.pad_id}
        batches = list(whole(self.store, "valid", **ends, limit_tokens=self.hparams.evaluate.tokens))
        nats = sum(float(model.loss(batch["ids"].to(self.ranks.device)).sum()) for batch in batches)
        return {"valid_loss": nats / sum(int((batch["targets"] >= 0).sum()) for batch in batches)}

    @torch.no_grad()
    def generate(self, out=None):
        model, asked = self.load_best().eval(), self.hparams.generate
        folder = out or self.folder.samples / f"step_{int(self.best['step']):06d}"
        if not self.ranks.first:
            return []
        folder.mkdir(parents=True, exist_ok=True)
        drawn, files = torch.Generator().manual_seed(asked.seed), []
        for number in range(asked.count):
            latent = torch.randn(1, self.hparams.supervisor.latent, generator=drawn)
            shares = model.shares(latent.to(self.ranks.device))[0].exp().cpu()
            steps = torch.multinomial(shares, NOTES, replacement=True, generator=drawn) - WIDEST
            score, track = symusic.Score(480), symusic.Track()
            for place, pitch in enumerate((60 + steps.cumsum(0)).clamp(0, 127).tolist()):
                track.notes.append(symusic.Note(240 * place, 240, pitch, 80))
            score.tracks.append(track)
            files.append(folder / f"{number}.mid")
            score.dump_midi(files[-1])
        return files


@pluggy.HookimplMarker("swaptunes")
def register_supervisors(register):
    register("interval_bags", IntervalBagsHParams, IntervalBagsSupervisor)
