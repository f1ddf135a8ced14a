"""The stack of Mamba blocks on the fused operators.

Shapes: b batch, l length, d model width, e inner width, n states, k taps.
"""

from typing import Any

import torch
from torch import Tensor, nn

from core.contracts.backbone import State
from core.model.linear import linear
from plugins.backbones.native.mamba.functions import inner
from plugins.backbones.native.norm import add_norm


def forward(model: nn.Module, stream: Tensor, state: State | None, starts: Tensor | None) -> tuple[Tensor, State]:
    """Blocks and last norm of `plugins.backbones.mamba.Mamba` over stream (b l d).

    Returns hidden (b l d) and, if a state was given, what the blocks keep: `conv.i` (b e k-1), `ssm.i` (b e n).
    """
    norm: Any = model.norm_f
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else norm.weight.dtype
    layers: Any = model.layers
    branch: Tensor | None = None
    after: State = {}
    for i, layer in enumerate(layers):
        stream, x = add_norm(stream, branch, layer.norm.weight, layer.norm.eps, dtype)
        mixer = layer.mixer
        conv, ssm = (None, None) if state is None else (state[f"conv.{i}"], state[f"ssm.{i}"])
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
        if conv is not None and ssm is not None and window is not None:
            after[f"conv.{i}"], after[f"ssm.{i}"] = window.to(conv.dtype).contiguous(), last.to(ssm.dtype)
    return add_norm(stream, branch, norm.weight, norm.eps, dtype)[1], after
