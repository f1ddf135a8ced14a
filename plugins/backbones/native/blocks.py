"""The stack of Mamba blocks on the fused operators.

Shapes: b batch, l length, d model width, e inner width, n states, k taps.
"""

from typing import Any

import torch
from torch import Tensor, nn

from core.backbone import State
from plugins.backbones.native.functions import add_norm, decode, inner
from plugins.backbones.native.matmul import linear


def forward(model: nn.Module, stream: Tensor, state: State | None, starts: Tensor | None) -> tuple[Tensor, State]:
    """Blocks and last norm of `plugins.backbones.mamba.Mamba` over stream (b l d).

    Returns hidden (b l d) and, if a state was given, what the blocks keep: `conv.i` (b e k-1), `ssm.i` (b e n). One
    token that needs no gradient overwrites the state's tensors.
    """
    if state is not None and stream.shape[1] == 1 and starts is None:
        step = _decode(model, stream, state)
        if step is not None:
            return step
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


def _decode(model: nn.Module, stream: Tensor, state: State) -> tuple[Tensor, State] | None:
    """One token in one call, or None where that cannot be done."""
    if torch.is_grad_enabled() or stream.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return None
    modules: Any = model._modules
    weights: list[Tensor] = []
    keys: list[str] = []
    # Straight from the modules' tables: their attribute access would cost as much as the arithmetic.
    for name, layer in modules["layers"]._modules.items():
        parts, mixer = layer._modules, layer._modules["mixer"]
        inside, own = mixer._modules, mixer._parameters
        if parts["dropout"].training and parts["dropout"].p > 0:
            return None
        conv, dt = inside["conv1d"]._parameters, inside["dt_proj"]._parameters
        try:
            weights += (parts["norm"]._parameters["weight"], inside["in_proj"]._parameters["weight"])
            weights += (conv["weight"], conv["bias"])
            weights += (inside["x_proj"]._parameters["weight"], dt["weight"], dt["bias"], own["A_log"], own["D"])
            weights.append(inside["out_proj"]._parameters["weight"])
        except KeyError:  # somebody's replacement of a projection
            return None
        keys += (f"conv.{name}", f"ssm.{name}")
    states = [state[key].contiguous() for key in keys]
    last = modules["norm_f"]
    hidden = decode(stream[:, 0], weights, states, last._parameters["weight"], last.eps)
    if hidden is None:
        return None
    return hidden[:, None], dict(zip(keys, states, strict=True))
