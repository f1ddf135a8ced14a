"""Models that hold music in latent vectors."""

from hparams.backbones.lstm import LstmHParams
from hparams.base import AugmentHParams, DataHParams, GenerateHParams, HParams, ModelHParams, TrainHParams
from hparams.datasets import FolkTunesHParams
from hparams.supervisors import MusicVaeHParams, PartHParams
from hparams.tokenizers.sixteenths import MelodyHParams


def music_vae() -> HParams:
    """MusicVAE on two bars of melody, `python -m supervisors.run --hparams music_vae`.

    An LSTM of 256 reads the window each way and another one decodes it (Roberts et al., arXiv 1803.05428, cut down from
    `cat-mel_2bar_small`). Two bars are 32 tokens.
    """
    return HParams(
        name="music_vae",
        supervisor=MusicVaeHParams(bars=2, latent=128, beta=0.2, beta_rate=0.999),
        backbone=LstmHParams(dim=256, layers=1, dropout=0.0),
        tokenizer=MelodyHParams(),
        dataset=FolkTunesHParams(),
        model=ModelHParams(tie=False),
        data=DataHParams(length=32, batch_size=128, augment=AugmentHParams(transpose=5)),
        train=TrainHParams(steps=3000, lr=3e-3, lr_floor=0.02, weight_decay=0.0),
        generate=GenerateHParams(top_p=1.0),
    )


def music_vae_16() -> HParams:
    """MusicVAE on 16 bars of melody with a conductor, `python -m supervisors.run --hparams music_vae_16`.

    A conductor over the bars tells the decoder of each bar what to play (`hierdec-mel_16bar`, cut down); without it,
    `supervisor.hierarchical=false`, the same decoder is told of the latent vector alone. 256 tokens a window.
    """
    hparams = music_vae()
    hparams.name = "music_vae_16"
    hparams.supervisor = MusicVaeHParams(
        bars=16, latent=256, hierarchical=True, conductor=PartHParams(layers=1), free_bits=64, beta_rate=0.999
    )
    hparams.data = DataHParams(length=256, batch_size=32, augment=AugmentHParams(transpose=5))
    return hparams
