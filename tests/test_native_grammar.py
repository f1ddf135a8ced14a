"""The compiled steps of the grammars: states and masks as the plain ones give them, whatever is drawn."""

from typing import Any

import pytest
import torch

from core.contracts.backbone import select
from core.seeds import derive
from plugins.tokenizers import compiled as native
from tests.odd_pieces import built, piece
from tests.test_abc_tokens import TOKENIZER as ABC
from tests.test_grammar import CASES as NOTE_CASES

EVERYTHING = NOTE_CASES["everything"]
CASES = [
    ("REMI", {}, ""),
    ("TSD", {}, ""),
    ("REMI", EVERYTHING, ""),
    ("TSD", EVERYTHING, ""),
    ("ABC", {}, ""),
    ("ABC", {}, "| [ ] V:1 V:2 V:3 (3 { } z -"),
    ("ABC", {}, "(3 (3:2:6 (5:4:5 2 3 /2 3/2"),
]


def tokenizer_of(kind: str, options: dict[str, Any]) -> Any:
    if kind == "ABC":
        return ABC
    tokenizer = built(kind, **options)
    tokenizer.train([piece(seed) for seed in range(4)])
    return tokenizer


@pytest.mark.parametrize(("kind", "options", "liked"), CASES)
def test_compiled_is_plain(kind: str, options: dict[str, Any], liked: str) -> None:
    tokenizer = tokenizer_of(kind, options)
    favor = torch.tensor([3.0 * (tokenizer.token(id) in liked.split()) for id in range(tokenizer.vocab_size)])
    favor[tokenizer.eos_id] = -5
    for bars, length in ((0, 60), (4, 0), (1, 0)):
        compiled, plain = (tokenizer.grammar(bars=bars, length=length) for _ in range(2))
        if compiled.native is None:
            pytest.skip("no C++ compiler")
        plain.native = None
        generator = torch.Generator().manual_seed(derive("native grammar", kind, bars, liked))
        state = expected = compiled.begin(12)
        for _ in range(60):
            allowed = compiled.allowed(state)
            assert torch.equal(allowed, plain.allowed(expected))
            logits = torch.randn(allowed.shape, generator=generator) + favor
            ids = logits.masked_fill(~allowed, -torch.inf).argmax(1)
            going = (ids != tokenizer.eos_id).nonzero()[:, 0]
            if not len(going):
                break
            state = compiled.advance(select(state, going), ids[going])
            expected = plain.advance(select(expected, going), ids[going])
            assert state.keys() == expected.keys()
            assert all(torch.equal(state[key], expected[key]) for key in state)


@pytest.mark.parametrize(
    ("kind", "options", "rows"),
    [("REMI", EVERYTHING, 40), ("TSD", {"pitch_range": (0, 127), "use_programs": True}, 400)],
)
def test_a_prompt_that_no_grammar_would_draw_leaves_the_same_state(
    kind: str, options: dict[str, Any], rows: int
) -> None:
    """A prompt is read, not drawn: keys are struck while they sound, and the lowest key is one of them."""
    tokenizer = tokenizer_of(kind, options)
    compiled, plain = tokenizer.grammar(bars=2), tokenizer.grammar(bars=2)
    if compiled.native is None:
        pytest.skip("no C++ compiler")
    plain.native = None
    generator = torch.Generator().manual_seed(derive("native prompt", kind))
    rows = min(rows, tokenizer.vocab_size)  # with so many as there are ids each step reads them all
    state = expected = compiled.begin(rows)
    for _ in range(25):
        ids = torch.randperm(tokenizer.vocab_size, generator=generator)[:rows]
        state, expected = compiled.advance(state, ids), plain.advance(expected, ids)
        assert torch.equal(state["fields"], expected["fields"])
        assert torch.equal(state["busy"][:, :-1], expected["busy"][:, :-1])  # the last is where nothing goes
    assert torch.equal(compiled.allowed(state), plain.allowed(expected))


@pytest.mark.parametrize(("bars", "length"), [(2, 0), (0, 60)])
def test_of_abc_the_same_words_may_follow_such_a_prompt(bars: int, length: int) -> None:
    """A piece of one voice names another, a header is left out: each row has words that the others do not have."""
    compiled, plain = (ABC.grammar(bars=bars, length=length) for _ in range(2))
    if compiled.native is None:
        pytest.skip("no C++ compiler")
    plain.native = None
    generator = torch.Generator().manual_seed(derive("native prompt", "ABC", bars))
    state = expected = compiled.begin(ABC.vocab_size)
    for _ in range(15):
        ids = torch.randperm(ABC.vocab_size, generator=generator)
        state, expected = compiled.advance(state, ids), plain.advance(expected, ids)
        assert all(torch.equal(state[key], expected[key]) for key in state)
        assert torch.equal(compiled.allowed(state), plain.allowed(expected))


@pytest.mark.parametrize("kind", ["TSD", "ABC"])
def test_an_id_that_does_not_exist_is_refused(kind: str) -> None:
    tokenizer = tokenizer_of(kind, {})
    grammar = tokenizer.grammar()
    if grammar.native is None:
        pytest.skip("no C++ compiler")
    with pytest.raises(ValueError, match="row 1"):
        grammar.advance(grammar.begin(2), torch.tensor([3, tokenizer.vocab_size]))


def test_without_a_compiler_the_plain_step_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_compiler", lambda: "no-such-compiler")
    native._loaded.cache_clear()
    grammar = ABC.grammar()
    assert grammar.native is None and grammar.allowed(grammar.begin(1)).any()
    native._loaded.cache_clear()
