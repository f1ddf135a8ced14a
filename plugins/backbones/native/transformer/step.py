"""One token through a whole transformer in one call.

Shapes: b batch, d model width, c head width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from core.contracts.backbone import State
from plugins.backbones.native import kernels
from plugins.backbones.native.operators import ops
from plugins.backbones.places.rotary import angles


def step(model: nn.Module, x: Tensor, state: State) -> tuple[Tensor, State] | None:
    """Hidden (b 1 d) after x (b 1 d) and the state, which is written in place.

    None, with nothing done, where only the general path will do: gradients, dropout, autocast, other types than
    float32, replaced projections, a row without room.
    """
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or not kernels.usable(x):
        return None
    modules: Any = model._modules
    weights: list[Tensor] = []
    caches: list[Tensor] = []
    # Straight from the modules' tables: their attribute access would cost as much as the arithmetic.
    for name, layer in modules["layers"]._modules.items():
        parts = layer._modules
        if parts["dropout"].training and parts["dropout"].p > 0:
            return None
        attention, feed = parts["self_attn"]._modules, parts["mlp"]._modules
        try:
            weights.append(parts["input_layernorm"]._parameters["weight"])
            weights += [attention[f"{each}_proj"]._parameters["weight"] for each in "qkvo"]
            weights.append(parts["post_attention_layernorm"]._parameters["weight"])
            weights += [feed[f"{each}_proj"]._parameters["weight"] for each in ("gate", "up", "down")]
        except KeyError:  # somebody's replacement of a projection
            return None
        caches += (state[f"keys.{name}"], state[f"values.{name}"])
    last: Any = modules["norm"]
    cos, sin = angles(state["length"][:, None], caches[0].shape[3], model.base, x.dtype)  # type: ignore[arg-type]
    hidden = ops().transformer_step(
        x[:, 0], weights, caches, state["length"], cos, sin, last._parameters["weight"], last.eps
    )
    return (hidden[:, None], state) if len(hidden) else None
