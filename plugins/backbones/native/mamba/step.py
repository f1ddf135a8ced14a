"""One token through a whole Mamba in one call.

Shapes: b batch, d model width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from core.contracts.backbone import State
from plugins.backbones.native import kernels
from plugins.backbones.native.operators import ops


def step(model: nn.Module, x: Tensor, state: State) -> tuple[Tensor, State] | None:
    """Hidden (b 1 d) after x (b 1 d) and the state, which is written in place.

    None, with nothing done, where only the general path will do: gradients, dropout, autocast, other types than
    float32, replaced projections, a row without room.
    """
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or not kernels.usable(x):
        return None
    modules: Any = model._modules
    weights: list[Tensor] = []
    states: list[Tensor] = []
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
        states += (state[f"conv.{name}"], state[f"ssm.{name}"])
    last = modules["norm_f"]
    hidden = ops().mamba_step(
        x[:, 0], weights, states, state["length"], state["limit"], last._parameters["weight"], last.eps
    )
    return (hidden[:, None], state) if len(hidden) else None
