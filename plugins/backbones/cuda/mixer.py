"""A Mamba mixer on the Triton kernels.

Shapes: b batch, l length, d model width, e inner width, n states, k taps.
"""

from typing import Any

import torch
from torch import Tensor

from core.contracts.backbone import State
from core.model.linear import linear
from plugins.backbones.cuda.inner import inner, since_start
from plugins.backbones.cuda.step import step
from plugins.backbones.stack import Pieces


def forward(mixer: Any, x: Tensor, state: State | None, pieces: Pieces) -> tuple[Tensor, State | None]:
    """What `plugins.backbones.mamba.Mixer` makes of x (b l d); the state: `conv` (b e k-1), `ssm` (b e n).

    One token without gradients writes the state in place.
    """
    with torch.cuda.device_of(x):  # where kernels are launched
        xz = linear(x, mixer.in_proj.weight)
        weights = (mixer.conv1d.weight[:, 0], mixer.conv1d.bias, mixer.x_proj.weight, mixer.dt_proj.weight)
        starts, conv, ssm = pieces.starts, None, None
        if state is not None:
            conv, ssm = state["conv"], state["ssm"]
            if starts is None and x.shape[1] == 1 and not torch.is_grad_enabled():
                y = step(xz[:, 0], *weights, mixer.dt_proj.bias, mixer.A_log, mixer.D, conv, ssm)
                return linear(y[:, None], mixer.out_proj.weight), state
        since = None if starts is None else pieces.once("since_start", lambda: since_start(starts))
        y, last, window = inner(xz, *weights, mixer.dt_proj.bias, mixer.rates(), mixer.D, conv, ssm, since)
        out = linear(y, mixer.out_proj.weight)
        if conv is None or ssm is None or window is None:
            return out, None
        return out, {"conv": window.to(conv.dtype).contiguous(), "ssm": last.to(ssm.dtype)}
