"""Models of earlier work in their published shapes; the hub's own sizes are those of `<backbone>_<tokenizer>`.

Shapes and schedules: Sturm et al., arXiv 1604.08723 (Folk-RNN); Symbotunes, arXiv 2410.20515 (GPT-2 on ABC);
Neuromusic (Music Transformer, GPT-2 and Llama on REMI); Simon and Oore, Performance RNN (Magenta, 2017), in its own
form and in that of Performance-RNN-PyTorch. Training is the hub's, AdamW with warm-up and cosine decay.
"""

from typing import Any

from hparams.backbones.attentive_gru import AttentiveGruHParams
from hparams.backbones.gpt2 import Gpt2HParams
from hparams.backbones.gru import GruHParams
from hparams.backbones.lstm import LstmHParams
from hparams.backbones.mamba import MambaHParams
from hparams.backbones.music_transformer import MusicTransformerHParams
from hparams.backbones.transformer import TransformerHParams
from hparams.base import AugmentHParams, DataHParams, HParams, ModelHParams, TrainHParams
from hparams.datasets import BachChoralesHParams, FolkTunesHParams, MaestroHParams
from hparams.tokenizers.abc import AbcHParams
from hparams.tokenizers.note_tokens import RemiHParams, TsdHParams
from hparams.tokenizers.performances import Performance240HParams, Performance388HParams


def folk_rnn() -> HParams:
    """Folk-RNN, three LSTM layers of 512 on ABC tokens, `python -m supervisors.run --hparams folk_rnn`.

    The embedding stands for its one-hot input: folded into the first layer it is the same function.
    """
    return HParams(
        name="folk_rnn",
        backbone=LstmHParams(dim=512, layers=3, dropout=0.5, forget_bias=5.0),
        tokenizer=AbcHParams(),
        dataset=FolkTunesHParams(),
        model=ModelHParams(tie=False),
        data=DataHParams(length=1024, batch_size=16),
        train=TrainHParams(steps=3000, lr=3e-3, lr_floor=0.1, weight_decay=0.0, clip=5.0),
    )


def performance_rnn() -> HParams:
    """PerformanceRNN, GRU 3 x 512 under two controls, `python -m supervisors.run --hparams performance_rnn`.

    Piano performances as events; `generate.controls.density_seconds=5` asks, and with nothing asked it plays freely.
    """
    return HParams(
        name="performance_rnn",
        backbone=GruHParams(dim=512, layers=3, dropout=0.3),
        tokenizer=Performance240HParams(),
        dataset=MaestroHParams(),
        model=ModelHParams(tie=False, controls=["pitch_histogram", "density_seconds"]),
        data=DataHParams(length=512, batch_size=32, augment=AugmentHParams(transpose=5)),
        train=TrainHParams(steps=8000, lr=1e-3, weight_decay=0.0, clip=1.0),
    )


def performance_rnn_attentive() -> HParams:
    """PerformanceRNN behind attention over its past, `python -m supervisors.run --hparams performance_rnn_attentive`.

    The same run as `performance_rnn`, whose GRU reads what eight heads have gathered from all events so far.
    """
    hparams = performance_rnn()
    hparams.name = "performance_rnn_attentive"
    hparams.backbone = AttentiveGruHParams(dim=512, layers=3, dropout=0.3, heads=8)
    return hparams


def performance_rnn_magenta() -> HParams:
    """PerformanceRNN of Magenta, LSTM 3 x 512, `python -m supervisors.run --hparams performance_rnn_magenta`.

    Asked for nothing. The embedding stands for its one-hot input: folded into the first layer it is the same function.
    """
    hparams = performance_rnn()
    hparams.name = "performance_rnn_magenta"
    hparams.backbone = LstmHParams(dim=512, layers=3, dropout=0.0)
    hparams.tokenizer = Performance388HParams()
    hparams.model.controls = []
    hparams.data.batch_size = 64
    hparams.train.clip = 3.0
    return hparams


def gpt2_abc() -> HParams:
    """Symbotunes' small GPT-2 on ABC tokens, `python -m supervisors.run --hparams gpt2_abc`."""
    return HParams(
        name="gpt2_abc",
        backbone=Gpt2HParams(dim=256, layers=4, heads=4, hidden=0, positions=1955, dropout=0.0),
        tokenizer=AbcHParams(),
        dataset=FolkTunesHParams(),
        model=ModelHParams(tie=False),
        data=DataHParams(length=1024, batch_size=16),
        train=TrainHParams(steps=3000, lr=1e-3),
    )


def on_remi(name: str, backbone: Any, *, tie: bool) -> HParams:
    """A run of Neuromusic: rows of 1,024 tokens, 30 a step, 8,000 steps, about 246 million tokens."""
    return HParams(
        name=name,
        backbone=backbone,
        tokenizer=RemiHParams(),
        dataset=BachChoralesHParams(),
        model=ModelHParams(tie=tie),
        data=DataHParams(length=1024, batch_size=30, augment=AugmentHParams(transpose=5)),
        train=TrainHParams(steps=8000, lr=3e-4, lr_floor=0.0, warmup=0.2, weight_decay=0.0, clip=0.5, accumulate=10),
    )


def music_transformer_remi() -> HParams:
    """Neuromusic's Music Transformer, 58 M parameters, `python -m supervisors.run --hparams music_transformer_remi`."""
    backbone = MusicTransformerHParams(dim=768, layers=12, heads=12, hidden=1536, distances=1024)
    return on_remi("music_transformer_remi", backbone, tie=False)


def gpt2_remi() -> HParams:
    """Neuromusic's GPT-2 of 58 M parameters, `python -m supervisors.run --hparams gpt2_remi`."""
    return on_remi("gpt2_remi", Gpt2HParams(dim=768, layers=12, heads=12, hidden=1536, positions=1024), tie=True)


def llama_remi() -> HParams:
    """Neuromusic's Llama of 202 M parameters, `python -m supervisors.run --hparams llama_remi`."""
    backbone = TransformerHParams(dim=1024, layers=12, heads=16, hidden=4096)
    return on_remi("llama_remi", backbone, tie=False)


def mamba_tsd_bpe() -> HParams:
    """Mamba-1 on TSD tokens merged to a vocabulary of 2,000, `python -m supervisors.run --hparams mamba_tsd_bpe`."""
    return HParams(
        name="mamba_tsd_bpe",
        backbone=MambaHParams(),
        tokenizer=TsdHParams(bpe=2000),
        dataset=BachChoralesHParams(),
        data=DataHParams(augment=AugmentHParams(transpose=5)),
        train=TrainHParams(steps=300, lr=2e-3),
    )
