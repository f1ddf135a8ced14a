"""The GPU script, rehearsed on the CPU, and its count of attention's arithmetic beside PyTorch's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.gpu.shares import flops
from tests.test_run import ROOT


def test_attention_is_counted_as_torch_counts_it() -> None:
    l, d = 32, 16
    q, k, v = (torch.randn(1, 2, l, d // 2, requires_grad=True) for _ in range(3))
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        F.scaled_dot_product_attention(q, k, v).sum().backward()
    # Every token sees all l; of one layer and no parameters.
    assert counter.get_total_flops() == l * flops({"parameters": 0, "attention": d, "seen": l})


def test_the_script_rehearses(tmp_path: Path, figures: list[str]) -> None:
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
    stages = "machine,parity,scan,training,decoding,losses,whole,context,ranks,peers"
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu", "device=cpu", "minutes=9", f"only={stages}", f"out={tmp_path}"],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert not [row for stage in found.values() for row in stage.get("rows", []) if "failed" in row]
    assert found["losses"]["apart"] == 0 and len(found["losses"]["rows"]) == 12
    assert found["ranks"]["backend"] == "gloo" and found["ranks"]["apart"] < 1e-4
    figures.append(f"two ranks of `tests.gpu`: losses of 12 steps differ by at most {found['ranks']['apart']:.1e}")
    assert {row["kind"] for row in found["peers"]["rows"] if row["rate"]} == {"train", "decode"}
