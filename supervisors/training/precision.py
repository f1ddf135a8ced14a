"""Which number format the matrix products run in, and why. Weights, states and norms stay in fp32."""

import contextlib

import torch

from core.errors import HubError


def choose(asked: str, device: torch.device) -> tuple[torch.dtype, str]:
    """The dtype for `auto`, `fp32` or `bf16` on a device, and the reason in words."""
    if asked == "fp32":
        return torch.float32, "asked for"
    if device.type == "cuda":
        native, name = torch.cuda.is_bf16_supported(), torch.cuda.get_device_name(device)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        name = "this CPU"
    if asked == "bf16":
        return torch.bfloat16, "asked for" if native else f"asked for, though {name} only emulates it"
    if native:
        return torch.bfloat16, f"{name} multiplies it natively"
    return torch.float32, f"{name} has no native bf16"


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[None]:
    """Runs matrix products in `dtype`; does nothing for fp32."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    if dtype != torch.bfloat16:
        raise HubError(f"{dtype} is not a training precision; expected fp32 or bf16")
    return torch.autocast(device.type, dtype=dtype)
