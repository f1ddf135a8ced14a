"""Steps replayed in place equal steps that are not, while rows leave; on the CPU, with a stand-in for a graph."""

import contextlib
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.contracts.backbone import fork
from core.model.conditioning import Known
from core.model.language_model import LanguageModel
from core.model.recording import recorded
from core.model.stepping import Stepper
from hparams.backbones.lstm import LstmHParams
from hparams.backbones.transformer import TransformerHParams
from plugins.backbones import lstm, transformer
from tests.test_model import Memory


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


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams and graphs that do at once what they are given."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", SimpleNamespace)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: contextlib.nullcontext())


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.usefixtures("cuda")
@torch.inference_mode()
def test_what_was_recorded_plays_on_from_the_state_and_with_what_is_known(streams: int) -> None:
    torch.manual_seed(1)
    model = LanguageModel(Memory(), (11, 7)[:streams], controls=[2])
    known = Known(torch.randn(3, 1, 2), torch.ones(3, 1, 1, dtype=torch.bool))
    _, state = model.read(torch.randint(0, 7, (3, 5, 2)[: streams + 1]), model.init_state(3, 16), known=known)
    assert state is not None
    plain, recorded = Stepper(model, fork(state), 0, known), Stepper(model, fork(state), 0, known)
    recorded._record()
    assert recorded.recorded and not plain.recorded
    recorded._graph.replay = recorded._advance
    recorded.state["h"].copy_(state["h"])  # recording has gone a step ahead here, which a real graph does not
    for left in ([0, 1, 2], [2, 0], [0]):
        rows = torch.tensor(left)
        if len(left) < 3:
            plain.keep(rows)
            recorded.keep(rows)
        for _ in range(2):
            ids = torch.randint(0, 7, (len(left), 2)[:streams])
            torch.testing.assert_close(recorded(ids), plain(ids), rtol=1e-5, atol=1e-6)


def test_a_backbone_has_to_return_a_state() -> None:
    model: Any = SimpleNamespace(read=lambda ids, state, known: (torch.zeros(1, 1, 2), None))
    stepper = Stepper(model, {"h": torch.zeros(1, 2)}, 0)
    with pytest.raises(AssertionError, match="returns one"):
        stepper(torch.zeros(1, dtype=torch.int64))


@pytest.mark.parametrize(("steps", "places", "recorded"), [(64, "cc", 1), (63, "cc", 0), (64, "c-", 0), (640, "--", 0)])
def test_a_graph_is_recorded_where_all_lies_on_cuda_and_it_pays(
    steps: int, places: str, recorded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Stepper] = []
    monkeypatch.setattr(Stepper, "_record", lambda stepper: seen.append(stepper))
    state: Any = {str(k): SimpleNamespace(is_cuda=place == "c") for k, place in enumerate(places)}
    Stepper(SimpleNamespace(), state, steps)  # type: ignore[arg-type]
    assert len(seen) == recorded


@pytest.mark.usefixtures("cuda")
def test_what_cannot_be_recorded_is_said_and_done_step_by_step(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused() -> None:
        raise RuntimeError("a copy to the host\nwith more lines")

    waited: list[int] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(1))
    assert recorded(refused, lambda: None, torch.device("cuda")) is None and waited == [1]
    assert caplog.messages == ["decoding without a CUDA graph, more slowly: a copy to the host"]
