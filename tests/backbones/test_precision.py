"""What must be reckoned in float32 in models of bfloat16: gates, decays, and the states of recurrences.

A layer is fed one-hot rows, so that its projections give single weights, which bfloat16 holds exactly; what reaches the
recurrence must then be float64's up to the rounding of float32, 2^-24, and not of bfloat16, 2^-9.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.contracts.backbone import State
from hparams.backbones.gated_deltanet import GatedDeltanetHParams
from hparams.backbones.mamba2 import Mamba2HParams
from hparams.backbones.mamba3 import Mamba3HParams
from hparams.backbones.mlstm import MlstmHParams
from hparams.backbones.rwkv7 import Rwkv7HParams
from plugins.backbones import gated_deltanet, mamba2, mamba3, mlstm, rwkv7
from plugins.backbones.stack import Pieces

FINE = 2e-5
SIZES: dict[str, Any] = {"dim": 32, "layers": 2}
CASES = {
    "mamba2": (lambda: mamba2.Mixer(Mamba2HParams(**SIZES, state=8, head=8)), mamba2, "state_space_duality"),
    "mamba3": (lambda: mamba3.Mixer(Mamba3HParams(**SIZES, state=8, head=8)), mamba3, "trapezoid"),
    "mamba3 of rank 2": (lambda: mamba3.Mixer(Mamba3HParams(**SIZES, state=8, head=8, rank=2)), mamba3, "trapezoid"),
    "mamba3, heavy tail": (
        lambda: mamba3.Mixer(Mamba3HParams(**SIZES, state=8, head=8, a_activation="heavy_tail")),
        mamba3,
        "trapezoid",
    ),
    "rwkv7": (lambda: rwkv7.TimeMix(Rwkv7HParams(**SIZES, head=8), 0), rwkv7, "dplr"),
    "mlstm": (lambda: mlstm.Layer(MlstmHParams(**SIZES)), mlstm, "matrix_memory"),
    "gated_deltanet": (lambda: gated_deltanet.Mixer(GatedDeltanetHParams(**SIZES)), gated_deltanet, "gated_delta_rule"),
}


def made(make: Any) -> nn.Module:
    """Weights that bfloat16 holds, and none that adds to what a one-hot row chooses."""
    torch.manual_seed(0)
    layer: nn.Module = make()
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.endswith("preact.bias") or name in ("w1", "a1", "x_r", "x_w", "x_k", "x_v", "x_a", "x_g"):
                parameter.zero_()
            else:
                parameter.add_(0.3 * torch.randn(parameter.shape))
            parameter.copy_(parameter.bfloat16())
    return layer


class Seen(Exception):
    """What a recurrence was called with."""


def reached(
    layer: Any, dtype: torch.dtype, module: Any, name: str, one: bool, patch: pytest.MonkeyPatch
) -> dict[int, Tensor]:
    """The tensors by their place among the arguments of `scan`, or of `step` for one row with a state."""

    class Spy:
        @staticmethod
        def scan(*given: Any) -> Any:
            raise Seen(given)

        step = scan

    patch.setattr(module, name, Spy)
    layer = layer.to(dtype)
    x = torch.eye(32, dtype=dtype)[:, None] if one else torch.eye(32, dtype=dtype)[None]
    state: State | None = layer.init_state(len(x), 4) if one and hasattr(layer, "init_state") else None
    if one and state is None:
        wide = torch.promote_types(dtype, torch.float32)
        state = {"att_x": x.new_zeros(32, 32), "att": torch.zeros(32, 4, 8, 8, dtype=wide)}
    with pytest.raises(Seen) as seen, torch.no_grad():
        layer(x, state, Pieces(x, None, None))
    return {at: each for at, each in enumerate(seen.value.args[0]) if isinstance(each, Tensor)}


@pytest.mark.parametrize("one", [False, True], ids=["scan", "step"])
@pytest.mark.parametrize("name", CASES)
def test_what_a_recurrence_is_given_is_not_rounded(name: str, one: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    make, module, recurrence = CASES[name]
    low = reached(made(make), torch.bfloat16, module, recurrence, one, monkeypatch)
    high = reached(made(make), torch.float64, module, recurrence, one, monkeypatch)
    assert low.keys() == high.keys() and len(low) >= 4
    for at, exact in high.items():
        assert low[at].dtype == torch.float32, at
        largest = exact.abs().max()
        assert (low[at].double() - exact).abs().max() <= FINE * largest, at


class Kept(nn.Module):
    """Stands where a layer's last projection stood and keeps what came to it."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return x


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("rwkv7", "mlstm")])
def test_what_leaves_a_gate_is_rounded_once(name: str) -> None:
    seen = []
    for dtype in (torch.bfloat16, torch.float64):
        layer: Any = made(CASES[name][0])
        last = "o_proj" if name == "gated_deltanet" else "out_proj"
        setattr(layer, last, Kept(getattr(layer, last).weight))
        x = torch.eye(32, dtype=dtype)[None]
        with torch.no_grad():
            layer.to(dtype)(x, None, Pieces(x, None, None))
        seen.append(getattr(layer, last).seen)
    assert (seen[0] == seen[1].bfloat16()).double().mean() > 0.98  # twice: two of three


@pytest.mark.parametrize("module", [mamba2, mamba3, rwkv7, mlstm, gated_deltanet], ids=lambda each: each.__name__)
def test_recurrent_states_are_kept_in_float32(module: Any) -> None:
    hparams = next(value for key, value in vars(module).items() if key.endswith("HParams"))
    state = module.build(hparams(dim=32, layers=1)).bfloat16().init_state(2, 4)
    rough = {key.partition(".")[0] for key, value in state.items() if value.dtype == torch.bfloat16}
    assert rough <= {"conv", "att_x", "ffn_x"} and any(value.dtype == torch.float32 for value in state.values())
