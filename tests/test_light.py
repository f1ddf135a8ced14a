"""Who lists, asks, errs or prepares waits for no PyTorch, whose import takes longer than all of that."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from plugins.manager import load_manager
from supervisors.training.ranks import Ranks

ROOT = Path(__file__).resolve().parents[1]
CODE = """
import sys
from supervisors.run import main
def said(status, *words):
    try:
        main(list(words))
    except SystemExit as end:
        assert end.code == status, (words, end.code)
    assert "torch" not in sys.modules, words
said(0, "list")
said(0, "--help")
said(0, "help", "backbone.dim")
said(2, "prepare", "mamba_rem")
said(2, "train", "--hparams", "tiny", "train.step=4")
said(2, "generate", "--run", "nowhere")
said(0, "prepare", "tiny", *sys.argv[1:], "model.controls=[density]")
"""


def test_who_trains_nothing_imports_no_torch(tmp_path: Path, music_folder: Path) -> None:
    words = ["dataset=folder", f"dataset.path={music_folder}", "data.workers=1"]
    env = {**os.environ, "SWAPTUNES_RUNS": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", CODE, *words], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("store  ") == 1


@pytest.mark.parametrize("name", sorted(load_manager().supervisors))
def test_the_data_by_themselves_are_those_of_the_supervisor(name: str, tmp_path: Path) -> None:
    manager, hparams = load_manager(), load_manager().preset("tiny")
    hparams.supervisor = manager.section("supervisor", name)
    whole, data = manager.supervise(hparams, tmp_path), manager.data_of(hparams, tmp_path)
    assert type(data) is manager.supervisors[name].data
    for taken in ("takes_streams", "takes_controls", "takes_latents"):
        assert getattr(whole, taken) == getattr(data, taken), taken
    for method in ("load_data", "insist_fits", "insist_answers", "prepared"):
        assert getattr(type(whole), method) is getattr(type(data), method), method


def test_a_process_computes_on_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Ranks(local=3).device == torch.device("cpu") and not taken
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    ranks = Ranks(local=3)
    assert ranks.device == ranks.device == torch.device("cuda", 3) and taken == [torch.device("cuda", 3)]
