"""What a plugin makes is held against its contract, its failures are one line, and what it changes is put back."""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch

from core.contracts.dataset import Item
from core.errors import HubError
from core.log import logger
from core.model.language_model import LanguageModel
from core.registry import Entry
from datatools.preparing import asking
from datatools.preparing.encoding import encode_piece
from plugins.guarding import guarded
from plugins.making import insist_importable, made
from plugins.registration import check_hparams
from supervisors.evaluation import metrics
from supervisors.training.data import controls
from tests.test_manager import loaded, plugin, section


def nothing(*given: Any) -> None:
    """A method of a fake."""


def tokenizer(**other: Any) -> SimpleNamespace:
    """A tokenizer that looks whole, but for `other`."""
    whole: dict[str, Any] = {"vocab_size": 5, "pad_id": 0, "bos_id": 1, "eos_id": 2, "streams": 1}
    whole["fingerprint"] = lambda: "same"
    return SimpleNamespace(**whole | dict.fromkeys(("encode", "decode", "token", "save"), nothing) | other)


def entry(kind: str, build: Callable[..., Any]) -> Entry:
    return Entry("foo", kind, "foo", "foo-dist", "1.0", "foo.py", 7, hparams=section("foo"), build=build)


def counted() -> Callable[[], str]:
    numbers = iter("abc")
    return lambda: next(numbers)


@pytest.mark.parametrize(
    ("kind", "thing", "said"),
    [
        ("backbone", None, "NoneType.dim is None; expected a whole number"),
        ("backbone", SimpleNamespace(dim=True), "SimpleNamespace.dim is True; expected a whole number"),
        ("backbone", SimpleNamespace(dim=4, packs=1), "SimpleNamespace.packs is 1; expected true or false"),
        ("backbone", SimpleNamespace(dim=4, packs=True), "SimpleNamespace has no method init_state"),
        ("dataset", SimpleNamespace(license="x", url=None), "SimpleNamespace.url is None; expected text"),
        ("control", SimpleNamespace(dim=1, of=nothing), "SimpleNamespace has no method parse"),
        ("supervisor", object(), "object has no method load_data"),
        ("tokenizer", tokenizer(streams=None), "SimpleNamespace.streams is None; expected a whole number"),
        ("tokenizer", tokenizer(bos_id=0), r"\(0, 0, 2\); expected three different ids from 0 to 4"),
        ("tokenizer", tokenizer(eos_id=5), r"\(0, 1, 5\); expected three different ids from 0 to 4"),
        ("tokenizer", tokenizer(streams=2, vocab_sizes=(5,)), r"streams is 2 and vocab_sizes \[5\]"),
        ("tokenizer", tokenizer(streams=2, vocab_sizes=(4, 9)), r"streams is 2 and vocab_sizes \[4, 9\]"),
        ("tokenizer", tokenizer(streams=0), "streams is 0"),
        ("tokenizer", tokenizer(fingerprint=lambda: 7), "gives 7 and then 7; expected the same text"),
        ("tokenizer", tokenizer(fingerprint=counted()), "gives 'a' and then 'b'; expected the same text"),
    ],
)
def test_what_does_not_keep_the_contract_is_refused(kind: str, thing: Any, said: str) -> None:
    with pytest.raises(HubError, match=rf'^{kind} "foo" of foo-dist 1\.0 at foo\.py:7 is no {kind}: .*{said}'):
        made(entry(kind, lambda: thing))


def test_what_keeps_it_is_given_and_failures_say_where() -> None:
    whole = tokenizer(streams=2, vocab_sizes=[5, 9])
    assert made(entry("tokenizer", lambda: whole)) is whole
    with pytest.raises(HubError, match=r'^backbone "foo" of foo-dist 1\.0 cannot be built: KeyError: .* \(.*test_mak'):
        made(entry("backbone", lambda: dict[str, int]()["dim"]))
    error = HubError("said already")
    with pytest.raises(HubError, match=r"^said already$"):
        made(entry("backbone", lambda: (_ for _ in ()).throw(error)))


def test_workers_must_import_what_builds_a_tokenizer() -> None:
    insist_importable(entry("tokenizer", tokenizer))
    with pytest.raises(HubError, match=r'tokenizer "foo" .* top level of its module'):
        insist_importable(entry("tokenizer", lambda: None))


@dataclass
class Wide:
    name: Literal["foo"] = "foo"
    dim: int = "wide"  # type: ignore[assignment]
    layers: int = 1
    dropout: float = 0  # a whole number may stand for a number


@dataclass
class Whole(Wide):
    dim: int = 8


def test_defaults_are_of_their_types() -> None:
    check_hparams("backbone", "foo", Whole)
    with pytest.raises(HubError, match=r"Wide\.dim is 'wide' by default; expected int, as it is typed"):
        check_hparams("backbone", "foo", Wide)


def test_metrics_say_what_they_are() -> None:
    def f(generated: Any, reference: Any) -> float:
        return 0.0

    host = loaded(
        unit=plugin(metrics=lambda register: register("a", f, unit=3, higher_is_better=True)),
        way=plugin(metrics=lambda register: register("b", f, unit="x", higher_is_better="yes")),
    )
    assert "has unit 3; expected text" in str(host.broken["unit"])
    assert "has higher_is_better 'yes'; expected True, False or None" in str(host.broken["way"])


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"got": 1.0, "ref": 2}, "the metric gives a dict without a value: got, ref"),
        ({}, "the metric gives a dict without a value: empty"),
        ({"value": float("nan")}, "the metric gives nan for its value"),
        ({"value": 1.0, "low": 2.0, "high": 0.0}, "an interval from 2.0 to 0.0"),
        ("0.5", "the metric gives '0.5'; expected a number or a dict"),
        ({"value": np.float32(0.5), 3: 4, "curve": np.arange(2)}, 0.5),
    ],
)
def test_what_a_metric_may_give(given: Any, found: Any) -> None:
    one = Entry("foo", "metric", "foo", "", "", "", 0, function=lambda generated, reference: given)
    figure = metrics._figure(one, [], SimpleNamespace(reference=[], prompts=()), [])  # type: ignore[arg-type]
    if isinstance(found, str):
        assert found in figure["error"]
    else:
        assert figure == {"value": found, "low": None, "high": None, "n": 0, "failures": 0}


def data_set(items: Any) -> Any:
    return SimpleNamespace(identity="Pond", items=items, prepare=nothing, fingerprint=lambda: None)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (lambda: ["a"], "Pond has the item 'a'; expected path, index, group and split"),
        (lambda: [Item("a", split="dev")], "Pond puts a into 'dev'; expected train, valid, test or None"),  # type: ignore[arg-type]
        (lambda: [Item("a"), Item("b"), Item("a", group="x")], r"Pond lists a \(index 0\) 2 times"),
        (lambda: (1 / 0 for _ in "a"), r"Pond cannot list its items: ZeroDivisionError: division by zero \(.*:\d+\)"),
    ],
)
def test_items_that_are_none(items: Any, said: str) -> None:
    with pytest.raises(HubError, match=said):
        asking.items_of(data_set(items))
    whole = [Item("a"), Item("a", 1), Item("b", split="test")]
    assert asking.items_of(data_set(lambda: iter(whole))) == whole
    assert asking.items_of(data_set(list)) == []
    theirs = [SimpleNamespace(path=Path("a")), SimpleNamespace(path="b", index=2, group="g", split="valid")]
    assert asking.items_of(data_set(lambda: theirs)) == [
        Item("a"),
        Item("b", 2, "g", "valid"),
    ]  # nobody need import ours


def test_a_disk_keeps_its_own_words_and_fingerprints_are_text(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="Pond has the fingerprint None; expected text"):
        asking.prepared(data_set(list), tmp_path)
    full = data_set(list)
    full.prepare = lambda folder: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space"):
        asking.prepared(full, tmp_path)
    full.prepare = lambda folder: (_ for _ in ()).throw(OSError("server\n down"))
    with pytest.raises(HubError, match="Pond cannot be prepared: OSError: server down"):
        asking.prepared(full, tmp_path)


def test_ids_are_whole_numbers_and_never_cast() -> None:
    piece: Any = SimpleNamespace(source="a", remarks=[])
    with pytest.raises(ValueError, match="ids of type float64; expected whole numbers"):
        encode_piece(tokenizer(encode=lambda piece: [3, 3.5]), piece)


def test_what_loading_changes_for_all_is_put_back(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    out, here, disabled = sys.stdout, os.getcwd(), logging.root.manager.disable
    with guarded("loud"):
        print("hello")
        sys.stdout = sys.stderr = None  # type: ignore[assignment]
        os.chdir("/")
        logging.disable(logging.CRITICAL)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
    assert (sys.stdout, os.getcwd(), logging.root.manager.disable) == (out, here, disabled)
    assert torch.zeros(1).dtype == torch.float32 and torch.is_grad_enabled()
    assert all(f'plugin "loud" changed {what}' in caplog.text for what in ("what logging shows", "the working folder"))
    assert "torch's default dtype" in caplog.text and "torch's default device" not in caplog.text
    assert capfd.readouterr().out == ""


class Odd(torch.nn.Module):
    """A backbone that gives what it was told to."""

    dim, packs = 4, True

    def __init__(self, give: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.give = give

    def forward(self, x: torch.Tensor, state: Any = None, starts: Any = None) -> Any:
        return self.give(x)


@pytest.mark.parametrize(
    ("give", "said"),
    [
        (lambda x: x, r"backbone tests\.test_making\.Odd gives Tensor; expected hidden states and a state"),
        (lambda x: (x, None, None), "gives tuple of 3"),
        (lambda x: (x[:, 1:], None), r"makes \(1, 2, 4\) of \(1, 3, 4\); expected the same shape"),
    ],
)
def test_hidden_states_are_of_the_shape_of_what_was_given(give: Callable[[torch.Tensor], Any], said: str) -> None:
    with pytest.raises(HubError, match=said):
        LanguageModel(Odd(give), (5,)).read(torch.zeros(1, 3, dtype=torch.long))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parse", "said"),
    [
        (lambda text: {}[text], "generate.controls.loud: KeyError: 'very'"),
        (
            lambda text: np.zeros(2),
            r"very is parsed to \[0.0, 0.0\]; expected 1 finite numbers",
        ),
        (lambda text: np.array([np.nan]), r"very is parsed to \[nan\]; expected 1 finite numbers"),
    ],
)
def test_what_a_control_parses_is_its_vector(
    parse: Callable[[str], Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controls, "controls_of", lambda manager, hparams: [SimpleNamespace(dim=1, parse=parse)])
    asked = SimpleNamespace(controls={"loud": "very"}, guidance=1)
    hparams: Any = SimpleNamespace(generate=asked, model=SimpleNamespace(controls=["loud"]))
    with pytest.raises(HubError, match=said):
        controls.wishes(loaded(), hparams)


def test_numbers_of_numpy_are_whole_and_what_learns_may_have_no_fingerprint_yet() -> None:
    def untrained() -> str:
        raise RuntimeError("train me first")

    whole = tokenizer(vocab_size=np.int64(5), eos_id=np.int32(2))
    assert made(entry("tokenizer", lambda: whole)) is whole
    learner = tokenizer(train=nothing, fingerprint=untrained)
    assert made(entry("tokenizer", lambda: learner)) is learner
    with pytest.raises(HubError, match="train me first"):
        made(entry("tokenizer", lambda: tokenizer(fingerprint=untrained)))
