"""Ready-made runs. A preset's name is its function's name; `<backbone>_<tokenizer>` composes any two plugins.

The grid {mamba, transformer, lstm} x {remi, tsd, abc} has models of 3.2 M parameters, equal within 2 %. Each runs 300
steps of 8 rows of 512 tokens, about 1.2 million tokens, which takes three to five minutes on two CPU cores with native
bf16 products (Mamba with its compiled kernels). README has what such runs reached.
"""

from collections.abc import Callable
from typing import Any

import pluggy

from hparams.backbones import LstmHParams, MambaHParams, TransformerHParams
from hparams.base import (
    AugmentHParams,
    DataHParams,
    EvaluateHParams,
    GenerateHParams,
    HParams,
    TrainHParams,
)
from hparams.datasets import BachChoralesHParams, FolkTunesHParams, JsbChoralesHParams
from hparams.tokenizers import AbcHParams, GridHParams, RemiHParams, TsdHParams

hookimpl = pluggy.HookimplMarker("swaptunes")


def compose(name: str, backbone: Any, tokenizer: Any) -> HParams:
    """A run of any backbone with any tokenizer on music that ships with the install, or is downloaded once.

    ABC tokens get the folk tunes, the grid the published chorales in four voices, everything else the chorales that
    the install brings; tokenizers known to transpose exactly train on transpositions by up to five semitones.
    """
    datasets = {"abc": FolkTunesHParams, "grid": JsbChoralesHParams}
    return HParams(
        name=name,
        backbone=backbone,
        tokenizer=tokenizer,
        dataset=datasets.get(tokenizer.name, BachChoralesHParams)(),
        data=DataHParams(augment=AugmentHParams(transpose=5 if tokenizer.name in ("remi", "tsd", "grid") else 0)),
        # An LSTM's saturating gates bear, and want, larger steps than residual blocks do.
        train=TrainHParams(steps=300, lr=4e-3 if backbone.name == "lstm" else 2e-3),
    )


def mamba_remi() -> HParams:
    """Mamba-1 on REMI tokens of Bach's chorales, `python -m supervisors.run --hparams mamba_remi`."""
    return compose("mamba_remi", MambaHParams(), RemiHParams())


def mamba_tsd() -> HParams:
    """Mamba-1 on TSD tokens of Bach's chorales, `python -m supervisors.run --hparams mamba_tsd`."""
    return compose("mamba_tsd", MambaHParams(), TsdHParams())


def mamba_abc() -> HParams:
    """Mamba-1 on ABC tokens of folk tunes, `python -m supervisors.run --hparams mamba_abc`."""
    return compose("mamba_abc", MambaHParams(), AbcHParams())


def transformer_remi() -> HParams:
    """A Transformer on REMI tokens of Bach's chorales, `python -m supervisors.run --hparams transformer_remi`."""
    return compose("transformer_remi", TransformerHParams(), RemiHParams())


def transformer_tsd() -> HParams:
    """A Transformer on TSD tokens of Bach's chorales, `python -m supervisors.run --hparams transformer_tsd`."""
    return compose("transformer_tsd", TransformerHParams(), TsdHParams())


def transformer_abc() -> HParams:
    """A Transformer on ABC tokens of folk tunes, `python -m supervisors.run --hparams transformer_abc`."""
    return compose("transformer_abc", TransformerHParams(), AbcHParams())


def lstm_remi() -> HParams:
    """An LSTM on REMI tokens of Bach's chorales, `python -m supervisors.run --hparams lstm_remi`."""
    return compose("lstm_remi", LstmHParams(), RemiHParams())


def lstm_tsd() -> HParams:
    """An LSTM on TSD tokens of Bach's chorales, `python -m supervisors.run --hparams lstm_tsd`."""
    return compose("lstm_tsd", LstmHParams(), TsdHParams())


def lstm_abc() -> HParams:
    """An LSTM on ABC tokens of folk tunes, `python -m supervisors.run --hparams lstm_abc`."""
    return compose("lstm_abc", LstmHParams(), AbcHParams())


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


@hookimpl
def register_presets(register: Callable[..., None]) -> None:
    """Registers every preset of this file."""
    for preset in (
        mamba_remi, mamba_tsd, mamba_abc,
        transformer_remi, transformer_tsd, transformer_abc,
        lstm_remi, lstm_tsd, lstm_abc,
        mamba_jsb, transformer_jsb, lstm_jsb,
        tiny,
    ):  # fmt: skip
        register(preset)
