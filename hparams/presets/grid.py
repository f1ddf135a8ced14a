"""What every run composed of a backbone and a tokenizer starts from, as `mamba_remi` is of `mamba` and `remi`.

The grid {mamba, transformer, lstm} x {remi, tsd, abc} has models of 3.2 M parameters, equal within 2 %. Each runs 1,200
steps of 8 rows of 512 tokens, about 4.7 million tokens, which takes five to ten minutes on two CPU cores with native
bf16 products (Mamba with its compiled kernels).
"""

from hparams.base import HParams, TrainHParams
from hparams.datasets import BachChoralesHParams


def composed(name: str) -> HParams:
    """The run `name` before its backbone and tokenizer are known; what these wish at registration wins over it."""
    return HParams(name=name, dataset=BachChoralesHParams(), train=TrainHParams(steps=1200, lr=2e-3, lr_floor=0.0))
