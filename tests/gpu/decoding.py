"""Decoding tokens a second: the likeliest token again and again by models of 3 M parameters, at batch 1, 16 and 64."""

from typing import Any

from hparams.backbones.lstm import LstmHParams
from hparams.backbones.mamba import MambaHParams
from hparams.backbones.transformer import TransformerHParams
from supervisors.bench.decoding import Decoding
from supervisors.bench.subjects import Ours, Spec


def measure(device: str) -> dict[str, Any]:
    """Rows of name, batch and tokens a second of the whole batch, after a prompt of 256 tokens."""
    cuda = device == "cuda"
    length = 256 if cuda else 16
    rows: list[dict[str, Any]] = []
    for hparams in (MambaHParams(), TransformerHParams(), LstmHParams()):
        subject = Ours(Spec(hparams.name, True, hparams, 512, 0, device))
        decoding = Decoding(subject, 512, device)
        for batch in (1, 16, 64) if cuda else (1,):
            decoding.prepare(batch, length)
            rows.append({"name": hparams.name, "batch": batch, "rate": decoding.sample(length)["tokens_per_second"]})
    return {"rows": rows}
