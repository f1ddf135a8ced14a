"""The stack of Mamba blocks on the Triton kernels.

Shapes: b batch, l length, d model width, e inner width, n states, k taps.
"""

from typing import Any

import torch
from torch import Tensor, nn

from core.contracts.backbone import State
from core.model.linear import linear
from plugins.backbones.cuda.inner import inner, since_start
from plugins.backbones.cuda.step import step


def forward(model: nn.Module, stream: Tensor, state: State | None, starts: Tensor | None) -> tuple[Tensor, State]:
    """Blocks and last norm of `plugins.backbones.mamba.Mamba` over stream (b l d).

    Returns hidden (b l d) and, if a state was given, what the blocks keep: `conv.i` (b e k-1), `ssm.i` (b e n). One
    token without gradients writes them in place.
    """
    layers: Any = model.layers
    since = None if starts is None else since_start(starts)
    single = state is not None and since is None and stream.shape[1] == 1 and not torch.is_grad_enabled()
    after: State = {}
    for i, layer in enumerate(layers):
        mixer = layer.mixer
        xz = linear(layer.norm(stream), mixer.in_proj.weight)
        conv, ssm = (None, None) if state is None else (state[f"conv.{i}"], state[f"ssm.{i}"])
        weights = (mixer.conv1d.weight[:, 0], mixer.conv1d.bias, mixer.x_proj.weight, mixer.dt_proj.weight)
        if single and conv is not None and ssm is not None:
            y = step(xz[:, 0], *weights, mixer.dt_proj.bias, mixer.A_log, mixer.D, conv, ssm)[:, None]
            after[f"conv.{i}"], after[f"ssm.{i}"] = conv, ssm
        else:
            y, last, window = inner(xz, *weights, mixer.dt_proj.bias, mixer.rates(), mixer.D, conv, ssm, since)
            if conv is not None and ssm is not None and window is not None:
                after[f"conv.{i}"], after[f"ssm.{i}"] = window.to(conv.dtype).contiguous(), last.to(ssm.dtype)
        stream = stream + layer.dropout(linear(y, mixer.out_proj.weight))
    hidden: Tensor = model.norm_f(stream)
    return hidden, after
