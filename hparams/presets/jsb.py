"""Runs on the published split of the JSB chorales, with the losses that its papers report."""

from typing import Any

from hparams.backbones.lstm import LstmHParams
from hparams.backbones.mamba import MambaHParams
from hparams.backbones.music_transformer import MusicTransformerHParams
from hparams.backbones.transformer import TransformerHParams
from hparams.base import DataHParams, EvaluateHParams, HParams, TrainHParams
from hparams.datasets import JsbChoralesHParams
from hparams.tokenizers.grid import GridHParams


def jsb(name: str, backbone: Any, data: DataHParams, train: TrainHParams) -> HParams:
    """A run on the published split of the JSB chorales, with the losses that its papers report: every token charged.

    Pieces are transposed in training by up to five semitones, where that keeps them within 36 to 81; whole pieces are
    scored, of 900 tokens in the middle and 2,560 at most.
    """
    data.augment.transpose = 5
    return HParams(
        name=name,
        backbone=backbone,
        tokenizer=GridHParams(),
        dataset=JsbChoralesHParams(),
        data=data,
        train=train,
        evaluate=EvaluateHParams(every=500, tokens=80_000),
    )


def mamba_jsb() -> HParams:
    """Mamba-1 of 1.5 M parameters on the grid of the JSB chorales, `python -m supervisors.run --hparams mamba_jsb`.

    Sixteen taps reach back one quarter in all voices. 12 million tokens, 56 epochs.
    """
    return jsb(
        "mamba_jsb",
        MambaHParams(dim=192, layers=6, conv=16, dropout=0.2),
        DataHParams(length=1024, batch_size=2),
        TrainHParams(steps=7000, lr=2e-3, lr_floor=0.02, patience=0),
    )


def transformer_jsb() -> HParams:
    """A Transformer of 1.8 M parameters on the same, `python -m supervisors.run --hparams transformer_jsb`.

    Rows are long because rotary positions beyond those trained on are strange to it. 14 million tokens, 65 epochs.
    """
    return jsb(
        "transformer_jsb",
        TransformerHParams(dim=192, layers=4, heads=6, hidden=512, dropout=0.2),
        DataHParams(length=1536, batch_size=2),
        TrainHParams(steps=6000, lr=1e-3, lr_floor=0.02, patience=0),
    )


def lstm_jsb() -> HParams:
    """An LSTM of 1.1 M parameters on the same, `python -m supervisors.run --hparams lstm_jsb`.

    14 million tokens, 64 epochs.
    """
    return jsb(
        "lstm_jsb",
        LstmHParams(dim=256, layers=2, dropout=0.3),
        DataHParams(length=1024, batch_size=4),
        TrainHParams(steps=4000, lr=6e-3, lr_floor=0.02, patience=0),
    )


def music_transformer_jsb() -> HParams:
    """The Music Transformer of its paper's JSB model on the same, of 8 M parameters.

    Five layers of 512 with tables of 256 distances for each head (Huang et al., arXiv 1809.04281, section 4.1).
    """
    return jsb(
        "music_transformer_jsb",
        MusicTransformerHParams(dim=512, layers=5, heads=8, hidden=512, distances=256, table="per_head", dropout=0.1),
        DataHParams(length=1024, batch_size=2),
        TrainHParams(steps=6000, lr=5e-4, lr_floor=0.02, patience=0),
    )
