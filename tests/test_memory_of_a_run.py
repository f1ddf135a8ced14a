"""A model that cannot be trained in the memory there is, is refused before it is built."""

from pathlib import Path

import pytest
import torch
from torch import nn

from core.errors import HubError
from supervisors.training import memory
from supervisors.training.runfolder import RunFolder

CPU = torch.device("cpu")


def test_the_estimate_counts_weights_gradients_and_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> nn.Module:
        return nn.Linear(1024, 1024, bias=False)  # 2^20 parameters: 16 MiB with gradients and moments

    monkeypatch.setattr(memory, "memory", lambda device: 16 << 20)
    memory.insist_fitting(make, CPU, 1)
    monkeypatch.setattr(memory, "memory", lambda device: (16 << 20) - 1)
    with pytest.raises(HubError, match=r"1,048,576 parameters and need at least 0\.0 GiB.*backbone\.dim"):
        memory.insist_fitting(make, CPU, 1)
    memory.insist_fitting(make, CPU, 8)  # spread, as engines may


def test_a_model_of_petabytes_takes_no_memory_to_refuse() -> None:
    with pytest.raises(HubError, match="GiB to train"):
        memory.insist_fitting(lambda: nn.Linear(10**7, 10**7), CPU, 1)


def test_a_run_in_which_nothing_was_done_leaves_no_folder(tmp_path: Path) -> None:
    for name, more in (("early", ""), ("trained", "metrics.jsonl")):
        folder = RunFolder(tmp_path / name)
        folder.lock()
        folder.hparams.write_text("name: x")
        if more:
            (folder.path / more).write_text("{}")
        folder.forget()
        folder.unlock()
    assert [path.name for path in tmp_path.iterdir()] == ["trained"]
    assert len(list((tmp_path / "trained").iterdir())) == 3
