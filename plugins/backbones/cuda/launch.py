"""How kernels are launched: with one warp a program, so that nothing waits for another warp; and products and sums that
follow each other are one instruction, which Triton from 3.10 on does only where it is told to."""

from typing import Any

FUSED: dict[str, Any] = {"enable_fp_fusion": True}
ONE_WARP: dict[str, Any] = {"num_warps": 1, **FUSED}
