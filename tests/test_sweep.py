"""A sweep is one line of words, and its rows are called by what differs."""

from pathlib import Path

import pytest

from core.errors import HubError
from supervisors.comparison.sweep import Plan, folder_name, plans, swept, values


def test_every_value_is_a_row_called_by_what_differs() -> None:
    words = ["train.lr=1e-3,2e-3,4e-3", "dataset=folk_tunes"]
    found = plans(["mamba_remi"], words)
    assert [plan.label for plan in found] == ["train.lr=1e-3", "train.lr=2e-3", "train.lr=4e-3"]
    assert found[1] == Plan("train.lr=2e-3", "mamba_remi", ["train.lr=2e-3", "dataset=folk_tunes"])
    assert swept(words) == {"train.lr"}


def test_several_keys_and_presets_multiply() -> None:
    found = plans(["a", "b"], ["train.lr=1,2", "backbone.layers=3,4"])
    assert len(found) == 8 and len({plan.label for plan in found}) == 8
    assert found[0].label == "a train.lr=1 backbone.layers=3" and found[-1].label == "b train.lr=2 backbone.layers=4"
    assert folder_name(found[0], "a") == "a-train.lr=1-backbone.layers=3"
    assert [plan.label for plan in plans(["a", "b"], ["train.lr=1"])] == ["a", "b"]
    paths = plans(["a"], ["dataset.path=x/one,y/two/three"])
    assert folder_name(paths[1], "a") == "a-dataset.path=y_two_three", "one folder, not one in another"


def test_commas_that_are_no_sweep_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    for word in ("train.betas=[0.9,0.95]", "name='a,b'", f"dataset.path={tmp_path / 'a,b'}", "train.lr=1", "name="):
        assert values(word) == [word]


@pytest.mark.parametrize("word", ["seed=0,1", "train.lr=1,,2", "train.lr=1,1", "train.lr=1,"])
def test_what_cannot_be_swept_is_one_line(word: str) -> None:
    with pytest.raises(HubError, match=r"compare\.seeds=2|different values"):
        values(word)
