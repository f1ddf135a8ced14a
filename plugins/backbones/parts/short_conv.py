"""The Mamba family's short convolution over rows of vectors, on the fused operator where it works.

Shapes: b batch, l length, e channels, k taps.
"""

from torch import Tensor

from core.contracts.backbone import State
from plugins.backbones.native import kernels
from plugins.backbones.native.mamba.conv import conv
from plugins.backbones.parts.causal_conv import causal_conv, causal_conv_step
from plugins.backbones.stack import Pieces


def short_conv(
    x: Tensor, taps: Tensor, bias: Tensor, state: State | None, pieces: Pieces
) -> tuple[Tensor, Tensor | None]:
    """silu(convolution) of x (b l e) with taps (e k) and bias (e), in x's type or, without the operator, a wider one.

    Reads `conv` (b e k-1) of a state, if there is one, and returns with y (b l e) what that is afterwards.
    """
    before = None if state is None else state["conv"]
    if before is not None and pieces.starts is None and x.shape[1] == 1:
        y, after = causal_conv_step(x[:, 0], taps, bias, before)
        return y[:, None], after
    if kernels.usable(x):
        return conv(x, taps, bias, before, pieces.starts)
    marks = None if pieces.starts is None else pieces.starts.t()
    y, after = causal_conv(x.transpose(0, 1), taps, bias, before, marks)
    return y.transpose(0, 1), after
