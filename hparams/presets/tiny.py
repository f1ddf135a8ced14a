"""A run of seconds."""

from hparams.backbones.mamba import MambaHParams
from hparams.base import DataHParams, EvaluateHParams, GenerateHParams, HParams, TrainHParams
from hparams.datasets import BachChoralesHParams
from hparams.tokenizers.note_tokens import RemiHParams


def tiny() -> HParams:
    """A Mamba of 20 thousand parameters that trains in seconds and knows nothing: for tests and first tries."""
    return HParams(
        name="tiny",
        backbone=MambaHParams(dim=32, layers=2, state=4, dropout=0.0),
        tokenizer=RemiHParams(),
        dataset=BachChoralesHParams(),
        data=DataHParams(length=64, batch_size=4),
        train=TrainHParams(steps=20, precision="fp32"),
        evaluate=EvaluateHParams(every=10, tokens=2048),
        generate=GenerateHParams(count=2, length=128),
    )
