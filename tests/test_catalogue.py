"""What there is, in words: `list`, `list NAME` and `plan`."""

from pathlib import Path

import pytest

from core.errors import HubError
from hparams.loading import load
from plugins.manager import load_manager
from supervisors import catalogue
from supervisors.planning import plan


def test_every_plugin_says_what_it_is() -> None:
    manager = load_manager()
    names = [(registry.kind, entry.name) for registry in manager.registries for entry in registry.values()]
    for kind, name in names:
        assert catalogue.document(manager.registry(kind)[name]).strip(), f"{kind} {name} has no docstring"
    lines = catalogue.listing(manager).splitlines()
    assert len(lines) == len(names) + len(manager.broken)
    (line,) = [line for line in lines if line.split()[:2] == ["backbone", "lstm"]]
    assert "Stacked LSTM (Hochreiter & Schmidhuber 1997)" in line
    (line,) = [line for line in lines if line.split()[:2] == ["preset", "tiny"]]
    assert "mamba 32 x 2, remi, bach_chorales" in line


def test_one_plugin_tells_its_settings_and_its_size() -> None:
    said = catalogue.about(load_manager(), "lstm")
    assert "backbone.dim=356\n      Width of the model and of every layer." in said
    # Four gates of an input and a hidden matrix and two biases, in each of three layers of 356.
    assert f"{3 * 4 * (2 * 356 * 356 + 2 * 356):,} parameters" in said
    assert "composed presets get train.lr=0.004" in said and "check lstm" in said
    composed = catalogue.about(load_manager(), "lstm_abc")
    assert "dataset folk_tunes" in composed and "steps: 300, each of 8 rows of 512 tokens" in composed
    with pytest.raises(HubError, match=r'no plugin "mambo"\. Did you mean "mamba"\?'):
        catalogue.about(load_manager(), "mambo")


def test_a_plan_trains_nothing_and_says_what_a_run_would_take(music_folder: Path, tmp_path: Path) -> None:
    manager = load_manager()
    words = ["dataset=folder", f"dataset.path={music_folder}", "data.workers=1", "train.engine=torch", "backbone=lstm"]
    hparams = load("tiny", [*words, "backbone.dim=16"], preset=manager.preset, section=manager.section)
    supervisor = manager.supervise(hparams, tmp_path / "run")
    said = plan(supervisor)
    assert not (tmp_path / "run").exists()
    rows = -(-supervisor.tokenizer.vocab_size // 8) * 8
    layers = hparams.backbone.layers * 4 * (2 * 16 * 16 + 2 * 16)  # gates of two matrices and two biases
    assert f"\n  embedding  {rows * 16:,}\n  backbone   {layers:,}\n" in said
    counted = sum(supervisor.batches.counted(step) for step in range(20))
    assert f"steps        20, which count {counted:,} tokens" in said and "backbone:\n  name: lstm" in said
