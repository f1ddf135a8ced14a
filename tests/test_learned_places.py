"""A backbone with a learned vector for each place: what is longer is scored in windows, and nothing longer is drawn."""

import contextlib
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.errors import HubError
from supervisors.evaluation import scoring
from supervisors.generating import drawing
from tests.test_foreign import supervisor


class Counts(torch.nn.Module):
    """A model whose nats say how many tokens it has read before, of which it may read five."""

    def init_state(self, batch: int, length: int) -> dict[str, torch.Tensor]:
        assert length <= 5
        return {"read": torch.zeros(batch, 1)}

    def loss(self, ids: torch.Tensor, targets: torch.Tensor, state: Any, known: Any = None) -> Any:
        before = state["read"] + torch.arange(ids.shape[1])
        return torch.where(targets == -100, 0.0, before), {"read": before[:, -1:] + 1}


@pytest.mark.parametrize("chunk", [1, 2, 3, 512])
def test_a_piece_beyond_a_models_places_is_read_in_windows_that_overlap_by_half(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(scoring, "CHUNK", chunk)
    for reach, length, expected in (
        (4, 3, [0, 1, 2]),
        (4, 4, [0, 1, 2, 3]),
        (4, 5, [0, 1, 2, 3, 2]),
        (4, 9, [0, 1, 2, 3, 2, 3, 2, 3, 2]),
        (5, 9, [0, 1, 2, 3, 4, 3, 4, 3, 4]),
        (1, 3, [0, 0, 0]),
    ):
        ids = torch.arange(length)[None]
        found = scoring.token_nats(Counts(), ids, ids, contextlib.nullcontext(), None, reach)  # type: ignore[arg-type]
        assert found.tolist() == [expected], (reach, length)


def test_no_piece_is_longer_than_the_places_that_a_model_has(caplog: pytest.LogCaptureFixture) -> None:
    few: Any = SimpleNamespace(positions=10)
    assert drawing.room(SimpleNamespace(positions=None), [1] * 50, 1000) == 1000  # type: ignore[arg-type]
    assert drawing.room(few, [], 9) == 9 and not caplog.records  # the beginning's token takes the tenth place
    assert drawing.room(few, [1] * 4, 20) == 5 and drawing.room(few, [1] * 4, 6) == 5
    assert [record.message for record in caplog.records] == [
        "the model has learned places for 10 tokens: no piece will have more"
    ]
    with pytest.raises(HubError, match=r"prompt has 9 tokens and the model reads 9 at most; cut it"):
        drawing.room(few, [1] * 9, 20)


def test_a_backbone_of_few_places_trains_and_plays_on_longer_pieces(
    tmp_path: Path, music_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All tokens of pieces that are longer than its places are scored, and none that it draws is."""
    words = ["backbone=gpt2", "backbone.dim=16", "backbone.heads=2", "backbone.layers=1", "backbone.positions=48"]
    with pytest.raises(HubError, match=r"^data.length is 64, and gpt2 has places for 48 .*; give data.length=48"):
        supervisor(tmp_path / "refused", music_folder, *words, "data.length=64").build_model()
    run = supervisor(tmp_path / "run", music_folder, *words, "data.length=32", "train.steps=2")
    assert run.store.lengths("valid").max() > 64
    with caplog.at_level(logging.INFO, "swaptunes"):
        run.train()
    result = run.evaluate()
    assert result["valid"]["tokens"] == (run.store.lengths("valid") + 1).sum()
    found = [record.message for record in caplog.records]
    assert "pieces of more than 32 tokens are scored in windows of as many, which overlap by half" in found
    drawn = [json.loads(file.with_suffix(".json").read_text())["tokens"] for file in run.generate()]
    assert max(map(len, drawn)) == 47
