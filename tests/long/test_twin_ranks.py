"""The hundred steps of the twin, by two ranks of DeepSpeed under a launcher."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_twin import ROOT, ByHand, deepspeed, one_thread  # noqa: F401  one_thread is a fixture


def test_a_hundred_steps_of_deepspeed_on_two_ranks(tmp_path: Path, figures: list[str]) -> None:
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1", f"--master_port={port}"]

    def start(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *launcher, *words],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    figures.append(deepspeed(tmp_path, ByHand(False), 2, 2, start))
