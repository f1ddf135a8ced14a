"""What is logged reaches every tracker, and a missing one is a line before training."""

import sys
from types import ModuleType

import numpy as np
import pytest

from core.errors import HubError
from plugins.manager import load_manager
from supervisors.training import trackers


class Recorder(ModuleType):
    """Stands for a tracker's library; keeps what it is told."""

    def __init__(self, name):
        super().__init__(name)
        self.__spec__ = ModuleType(name)  # as found
        self.calls = []

    def init(self, **known):
        self.calls.append(("init", known))

    def log(self, values, step):
        self.calls.append(("log", step, values))

    def finish(self):
        self.calls.append(("finish",))


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_library_is_told_the_settings_and_every_step(name, tmp_path, monkeypatch):
    library = Recorder(name)
    monkeypatch.setitem(sys.modules, name, library)
    hparams = load_manager().preset("tiny")
    hparams.train.trackers = [name]
    trackers.check(hparams.train.trackers)
    board, found = trackers.opened(hparams, tmp_path, 3)
    for tracker in (board, found):
        tracker.numbers(4, {"loss": 1.5})
        tracker.picture(4, "sample", np.zeros((4, 5, 3), np.uint8))
        tracker.sound(4, "sample_sound", np.zeros(100, np.float32), 100)
        tracker.close()
    began = library.calls[0][1]
    assert began["name"] == "tiny" and began["config"]["backbone"]["dim"] == hparams.backbone.dim
    assert library.calls[1:] == [("log", 4, {"loss": 1.5}), ("finish",)]  # it has no means for pictures and sound
    assert list((tmp_path / "tensorboard").iterdir())


def test_wandb_itself_keeps_a_run_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    hparams = load_manager().preset("tiny")
    hparams.train.trackers = ["wandb"]
    _, found = trackers.opened(hparams, tmp_path, 0)
    found.numbers(1, {"loss": 2.0})
    found.picture(1, "sample", np.zeros((8, 8, 3), np.uint8))
    found.close()
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.parametrize("names, said", [(["wandbb"], 'Did you mean "wandb"'), (["trackio"], "pip install 'swaptunes")])
def test_what_is_not_there_is_one_line(names, said, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(HubError, match=said.replace("'", "'")):
        trackers.check(names)
