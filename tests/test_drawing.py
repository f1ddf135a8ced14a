"""Draws replayed in place, many read at once, are those of one step after the other; with a stand-in for a graph."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from core.model import drawing, generation, stepping
from core.model.conditioning import Known
from core.model.drawing import Drawer
from core.model.generation import Generated, generate
from core.model.language_model import LanguageModel
from core.model.sampling import Sampling, draw, filtered, uniform
from hparams.backbones.lstm import LstmHParams
from plugins.backbones import lstm
from plugins.manager import load_manager
from tests.test_model import Memory

SAMPLINGS = [
    Sampling(seed=3),
    Sampling(temperature=0),
    Sampling(seed=5, top_p=0.9, repetition_penalty=1.3),
    Sampling(seed=1, temperature=0.8, top_k=5, min_p=0.1),
]


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets all that is worth it be recorded on the CPU, from the call on: a replay does the work once more.

    As a graph does, it leaves each result where the one before was.
    """

    def recorded(work: Any, warm: Any, device: torch.device) -> Any:
        owner = work.__self__
        name = "_hidden" if isinstance(owner, stepping.Stepper) else "_ids"
        places: list[Tensor] = []

        def replay() -> None:
            work()
            places.append(getattr(owner, name))
            setattr(owner, name, places[0].copy_(places.pop()) if len(places) > 1 else places[0])

        return SimpleNamespace(replay=replay)

    def begin() -> None:
        monkeypatch.setattr(stepping, "pays", lambda places, steps: True)
        for module in (stepping, drawing):
            monkeypatch.setattr(module, "recorded", recorded)

    return begin


@pytest.mark.parametrize("halves", [1, 2])
@pytest.mark.parametrize("sampling", SAMPLINGS)
@torch.inference_mode()
def test_a_recorded_draw_is_the_draw(sampling: Sampling, halves: int, recording: Callable[[], None]) -> None:
    torch.manual_seed(0)
    head = torch.randn(8, 30)

    def logits(hidden: Tensor) -> Tensor:
        first, *rest = (hidden @ head).chunk(halves)
        return first - sum(rest)

    recording()
    drawer = Drawer(logits, sampling, halves)
    drawer.record(torch.zeros(6 * halves, 8), torch.zeros(6).double(), *[torch.ones(6, 30, dtype=torch.bool)] * 2)
    for step, count in enumerate((6, 6, 4, 1)):
        hidden, rows = torch.randn(count * halves, 8), torch.arange(count) + 3
        allowed, seen = torch.rand(2, count, 30) > 0.5
        found = drawer(hidden, uniform(sampling.seed, rows, step), allowed, seen)
        assert torch.equal(found, draw(logits(hidden), sampling, rows, step, allowed, seen))


@torch.inference_mode()
def test_what_has_no_draw_is_told_in_its_place() -> None:
    logits = torch.zeros(4, 3)
    logits[1, 2], logits[3] = torch.nan, torch.inf
    allowed = torch.ones(4, 3, dtype=torch.bool)
    allowed[2] = False
    drawer = Drawer(lambda hidden: hidden, Sampling(top_p=0.9))
    assert drawer(logits, torch.full((4,), 0.5).double(), allowed, ~allowed).tolist() == [1, -1, -2, -1]
    for rows, wrong in (([0, 2, 1], "logits of row 2 hold NaN"), ([0, 2], "row 1 has no token that it may draw")):
        with pytest.raises(ValueError, match=wrong):
            filtered(logits[rows], Sampling(), allowed[rows])
        with pytest.raises(ValueError, match=wrong):
            draw(logits[rows], Sampling(), torch.tensor(rows), 0, allowed[rows])


def drawn(model: LanguageModel, **changed: Any) -> tuple[list[Generated], list[int]]:
    """Seven pieces, and how many tokens each step drew."""
    torch.manual_seed(4)
    heard: list[int] = []
    sizes = model.vocab_sizes
    token: Any = 5 if len(sizes) == 1 else [5] * len(sizes)
    settings: dict[str, Any] = {"bos_id": 1, "eos_id": 2, "pad_id": 0, "length": 70, "sampling": Sampling(seed=3)}
    settings |= {"max_batch": 4, "progress": heard.append}
    return generate(model, [[token] * (n % 3) for n in range(7)], **settings | changed), heard


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_pieces_are_the_same(sampling: Sampling, recording: Callable[[], None]) -> None:
    torch.manual_seed(1)
    model = LanguageModel(lstm.build(LstmHParams(dim=16, layers=1)), 24)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that what was read before matters
    stop = lambda row, ids: row == 3 and len(ids) > 20  # noqa: E731
    expected = drawn(model, sampling=sampling, stop=stop)
    recording()
    found = drawn(model, sampling=sampling, stop=stop)
    assert found == expected
    lengths = {len(piece.ids) for piece in found[0]}
    assert len(lengths) > 3 or sampling.temperature == 0, "pieces end at different steps"


def test_pieces_of_a_grammar_are_the_same(recording: Callable[[], None]) -> None:
    torch.manual_seed(1)
    entry = load_manager().tokenizers["remi"]
    tokenizer: Any = entry.build(entry.hparams(), None)  # type: ignore[misc]
    model = LanguageModel(lstm.build(LstmHParams(dim=16, layers=1)), tokenizer.vocab_size)
    settings = {"bos_id": tokenizer.bos_id, "eos_id": tokenizer.eos_id, "pad_id": tokenizer.pad_id, "length": 70}
    settings |= {"sampling": Sampling(seed=3), "grammar": tokenizer.grammar(bars=2), "max_batch": 3}
    expected = generate(model, [[]] * 5, **settings)
    recording()
    assert generate(model, [[]] * 5, **settings) == expected


@pytest.mark.parametrize("streams", [1, 2])
def test_pieces_that_know_something_are_the_same(streams: int, recording: Callable[[], None]) -> None:
    torch.manual_seed(1)
    model = LanguageModel(Memory(), (11, 7)[:streams], controls=[2])
    known = Known(torch.randn(7, 1, 2), torch.ones(7, 1, 1, dtype=torch.bool))
    expected = drawn(model, known=known, guidance=2.0)
    recording()
    assert drawn(model, known=known, guidance=2.0) == expected


@pytest.mark.parametrize(("recorded", "reads"), [(True, [16, 16, 8] * 2), (False, [1] * 80)])
def test_the_host_reads_many_steps_at_once(
    recorded: bool, reads: list[int], recording: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LanguageModel(lstm.build(LstmHParams(dim=16, layers=1)), 24)
    model.logits = lambda hidden, stream=0: torch.eye(24)[7].repeat(len(hidden), 1)  # type: ignore[method-assign]
    stack, told = torch.stack, []

    def counting(ahead: list[Tensor], *rest: Any) -> Tensor:
        told.append(len(ahead))
        return stack(ahead, *rest)

    monkeypatch.setattr(generation, "torch", SimpleNamespace(**vars(torch) | {"stack": counting}))
    if recorded:
        recording()
    drawn(model, sampling=Sampling(temperature=0), length=40)
    assert told == reads


def test_a_model_that_breaks_between_two_reads_is_named(recording: Callable[[], None]) -> None:
    model = LanguageModel(lstm.build(LstmHParams(dim=16, layers=1)), 24)
    steps = iter(range(1000))
    logits = model.logits
    model.logits = lambda hidden, stream=0: logits(hidden, stream) * (torch.nan if next(steps) > 20 else 1)  # type: ignore[method-assign]
    recording()
    with pytest.raises(ValueError, match="logits of row 0 hold NaN or infinity"):
        drawn(model)
