"""The stack of Mamba blocks on the fused operators.

Shapes: b batch, l length, d model width, e inner width, n states, k taps.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from core.contracts.backbone import State
from core.model.linear import linear
from plugins.backbones.native.mamba.functions import inner
from plugins.backbones.native.norm import add_norm


def forward(model: Any, stream: Tensor, state: State | None, starts: Tensor | None) -> tuple[Tensor, State]:
    """Blocks and last norm of `plugins.backbones.mamba.Mamba` over stream (b l d).

    Returns hidden (b l d) and, if a state was given, what the blocks keep: `conv.i` (b e k-1), `ssm.i` (b e n).
    """
    norm = model.norm_f
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else norm.weight.dtype
    branch: Tensor | None = None
    after: State = {}
    for i, layer in enumerate(model.layers):
        kept = (None, None) if state is None else (state[f"conv.{i}"], state[f"ssm.{i}"])
        block = model.called(partial(_block, layer, dtype))
        stream, branch, conv, ssm = block(stream, branch, *kept, starts)
        if conv is not None:
            after |= {f"conv.{i}": conv, f"ssm.{i}": ssm}
    return add_norm(stream, branch, norm.weight, norm.eps, dtype)[1], after


def _block(
    layer: Any,
    dtype: torch.dtype,
    stream: Tensor,
    branch: Tensor | None,
    conv: Tensor | None,
    ssm: Tensor | None,
    starts: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """The stream with the branch of the block before, this block's branch, and what it keeps."""
    stream, x = add_norm(stream, branch, layer.norm.weight, layer.norm.eps, dtype)
    mixer = layer.mixer
    y, last, window = inner(
        linear(x, mixer.in_proj.weight),
        mixer.conv1d.weight[:, 0],
        mixer.conv1d.bias,
        mixer.x_proj.weight,
        mixer.dt_proj.weight,
        mixer.dt_proj.bias,
        -torch.exp(mixer.A_log.to(stream.dtype)),
        mixer.D,
        conv,
        ssm,
        starts,
    )
    branch = layer.dropout(linear(y, mixer.out_proj.weight))
    if conv is None or ssm is None or window is None:
        return stream, branch, None, None
    return stream, branch, window.to(conv.dtype).contiguous(), last.to(ssm.dtype)
