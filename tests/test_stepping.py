"""Steps replayed in place equal steps that are not, while rows leave; on the CPU, with a stand-in for a graph."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.contracts.backbone import fork
from core.model.language_model import LanguageModel
from core.model.stepping import Stepper
from hparams.backbones.lstm import LstmHParams
from hparams.backbones.transformer import TransformerHParams
from plugins.backbones import lstm, transformer


@dataclass
class Replayed:
    """What a CUDA graph does: the same work on the same places in memory."""

    stepper: Stepper

    def replay(self) -> None:
        self.stepper._advance()


@pytest.mark.parametrize("backbone", ["transformer", "lstm"])
@torch.inference_mode()
def test_a_replayed_batch_equals_a_shrinking_one(backbone: str) -> None:
    torch.manual_seed(0)
    if backbone == "lstm":
        model = LanguageModel(lstm.build(LstmHParams(dim=16, layers=2)), 24).eval()
    else:
        hparams = TransformerHParams(dim=16, layers=2, heads=2, hidden=32)
        model = LanguageModel(transformer.build(hparams), 24).eval()
    _, state = model.read(torch.randint(0, 24, (4, 5)), model.init_state(4, 16))
    assert state is not None
    plain, replayed = Stepper(model, fork(state), 0), Stepper(model, fork(state), 0)
    replayed._ids = torch.zeros(4, 1, dtype=torch.int64)
    replayed._graph = Replayed(replayed)
    ids = torch.tensor([1, 2, 3, 4])
    for left in ([0, 1, 2, 3], [3, 0, 1], [2, 1], [1]):
        rows = torch.tensor(left)
        if len(left) < len(ids):
            plain.keep(rows)
            replayed.keep(rows)
            ids = ids[rows]
        for _ in range(2):
            wanted, found = plain(ids).clone(), replayed(ids)
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
            ids = model.logits(wanted).argmax(-1)


@pytest.mark.parametrize(("steps", "places", "recorded"), [(64, "cc", 1), (63, "cc", 0), (64, "c-", 0), (640, "--", 0)])
def test_a_graph_is_recorded_where_all_lies_on_cuda_and_it_pays(
    steps: int, places: str, recorded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Stepper] = []
    monkeypatch.setattr(Stepper, "_record", lambda stepper: seen.append(stepper))
    state: Any = {str(k): SimpleNamespace(is_cuda=place == "c") for k, place in enumerate(places)}
    Stepper(SimpleNamespace(), state, steps)  # type: ignore[arg-type]
    assert len(seen) == recorded


def test_what_cannot_be_recorded_is_said_and_decoded_step_by_step(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(stepper: Stepper) -> None:
        stepper._graph = "half a graph"
        raise RuntimeError("a copy to the host\nwith more lines")

    monkeypatch.setattr(Stepper, "_record", refused)
    waited: list[int] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(1))
    state: Any = {"a": SimpleNamespace(is_cuda=True)}
    stepper = Stepper(SimpleNamespace(), state, 64)  # type: ignore[arg-type]
    assert not stepper.recorded and waited == [1]
    assert caplog.messages == ["decoding without a CUDA graph, more slowly: a copy to the host"]
