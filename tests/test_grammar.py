"""The grammar of REMI and TSD masks nothing real, and whatever is drawn under it is music that survives."""

from typing import Any

import pytest
import torch
from torch import Tensor

from core.contracts.grammar import Grammar
from plugins.tokenizers.note_tokens.tokenizer import MidiTokTokenizer
from tests.odd_pieces import KINDS, METERS, built, chromatic, in_meter, notes, piece

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "byte pairs": {"bpe": 500},
    "whole pieces as words": {"bpe": 500, "options": {"encode_ids_split": "no"}},
    "no meters": {"use_time_signatures": False, "bpe": 450, "beat_res": {"0_2": 8, "2_4": 2}},
    "everything": {
        "use_programs": True,
        "use_velocities": True,
        "use_tempos": True,
        "use_key_signatures": True,
        "bpe": 800,
        "options": {"encode_ids_split": "no"},
    },
    "coarse": {
        "use_programs": True,
        "use_pitchdrum_tokens": False,
        "time_signature_range": {"4": [3, 4], "2": [2], "16": [9]},
        "bpe": 700,
        "options": {"encode_ids_split": "beat"},
    },
}
PIECES = [piece(seed) for seed in range(8)] + [chromatic()] + [in_meter(*meter) for meter in METERS]
_ready: dict[tuple[str, str], MidiTokTokenizer] = {}


def tokenizer_of(kind: str, case: str) -> MidiTokTokenizer:
    if (kind, case) not in _ready:
        tokenizer = built(kind, **CASES[case])
        tokenizer.train(PIECES[::2])
        _ready[kind, case] = tokenizer
    return _ready[kind, case]


def drawn(tokenizer: MidiTokTokenizer, grammar: Grammar, rows: int, seed: int, most: int) -> list[list[int]]:
    """Sequences from random logits, until eos; every step checked for an allowed token that is no pad or bos."""
    generator = torch.Generator().manual_seed(seed)
    state = grammar.begin(rows)
    result: list[list[int]] = [[] for _ in range(rows)]
    going = torch.ones(rows, dtype=torch.bool)
    for _ in range(most + 1):
        allowed = grammar.allowed(state)
        assert allowed.shape == (rows, tokenizer.vocab_size) and allowed.any(1).all()
        assert not allowed[:, [tokenizer.pad_id, tokenizer.bos_id]].any()
        weights = torch.rand(allowed.shape, generator=generator).exp() * allowed
        ids = torch.multinomial(weights, 1, generator=generator)[:, 0]
        going &= ids != tokenizer.eos_id
        for row in going.nonzero()[:, 0].tolist():
            result[row].append(int(ids[row]))
        if not going.any():
            return result
        state = grammar.advance(state, ids)
    raise AssertionError("a piece did not end in time")


def survives(tokenizer: MidiTokTokenizer, ids: list[int]) -> int:
    """Notes of a sequence; all that its tokens name must be in the music, and survive encoding."""
    decoded = tokenizer.decode(ids)
    base = tokenizer.base_ids(ids)
    named = sum(tokenizer.base_tokens[id].startswith("Pitch") for id in base)
    assert named == sum(len(track.notes) for track in decoded.score.tracks) > 0
    again = tokenizer.encode(decoded)
    assert notes(tokenizer.decode(again)) == notes(decoded)
    return named


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_no_token_of_real_music_is_masked(kind: str, case: str) -> None:
    tokenizer = tokenizer_of(kind, case)
    grammar = tokenizer.grammar()
    assert isinstance(grammar, Grammar)
    encoded = sorted((tokenizer.encode(source) for source in PIECES), key=len, reverse=True)
    state = grammar.begin(len(encoded))
    for step in range(len(encoded[0]) + 1):
        rows = sum(len(ids) >= step for ids in encoded)
        state = {key: value[:rows] for key, value in state.items()}
        ids = torch.tensor([(*ids, tokenizer.eos_id)[step] for ids in encoded[:rows]])
        allowed = grammar.allowed(state)
        for row in (~allowed[torch.arange(rows), ids]).nonzero()[:, 0].tolist():
            before = " ".join(tokenizer.token(id) for id in encoded[row][max(0, step - 5) : step])
            raise AssertionError(f"masked after {before}: {tokenizer.token(int(ids[row]))}")
        state = grammar.advance(state, ids)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_random_logits_make_music_that_survives(kind: str, case: str) -> None:
    tokenizer = tokenizer_of(kind, case)
    found = drawn(tokenizer, tokenizer.grammar(length=60), 24, seed=1, most=60)
    assert sum(survives(tokenizer, ids) for ids in found) > 24
    assert max(map(len, found)) <= 60


@pytest.mark.parametrize("kind", KINDS)
def test_under_the_grammar_sequences_are_as_encode_writes_them(kind: str) -> None:
    tokenizer = tokenizer_of(kind, "plain")
    for ids in drawn(tokenizer, tokenizer.grammar(length=80), 24, seed=2, most=80):
        again = tokenizer.encode(tokenizer.decode(ids))
        if kind == "remi":  # tsd may tell one time shift in several tokens
            assert again == ids
        assert [t for t in again if tokenizer.token(t)[:5] == "Pitch"] == [
            t for t in ids if tokenizer.token(t)[:5] == "Pitch"
        ]


def bars_of(score: Any) -> int:
    """Bars until the one in which the last note begins."""
    last = max(note.time for track in score.tracks for note in track.notes)
    meters = list(score.time_signatures)
    total = 0
    for meter, end in zip(meters, [m.time for m in meters[1:]] + [last + 1], strict=True):
        length = score.ticks_per_quarter * 4 * meter.numerator // meter.denominator
        total += -(-(end - meter.time) // length)
    return total


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["plain", "byte pairs", "whole pieces as words", "coarse"])
def test_a_length_in_bars_is_kept(kind: str, case: str) -> None:
    tokenizer = tokenizer_of(kind, case)
    found = drawn(tokenizer, tokenizer.grammar(bars=3), 12, seed=3, most=3000)
    assert {bars_of(tokenizer.decode(ids).score) for ids in found} == {3}


@pytest.mark.parametrize("kind", KINDS)
def test_the_shortest_lengths(kind: str) -> None:
    tokenizer = tokenizer_of(kind, "everything")
    least = {"remi": 7, "tsd": 5}[kind]  # bar meter position / meter, then program pitch velocity duration
    with pytest.raises(ValueError, match=f"takes {least}"):
        tokenizer.grammar(length=least - 1)
    for ids in drawn(tokenizer, tokenizer.grammar(length=least), 8, seed=4, most=least):
        assert survives(tokenizer, ids) >= 1
    with pytest.raises(ValueError, match="bars is -1"):
        tokenizer.grammar(bars=-1)


def test_rows_do_not_touch_each_other_and_states_stay() -> None:
    tokenizer = tokenizer_of("remi", "byte pairs")
    grammar = tokenizer.grammar(length=50)
    encoded = [tokenizer.encode(source)[:12] for source in PIECES[:4]]

    def masks(rows: list[list[int]]) -> Tensor:
        state = grammar.begin(len(rows))
        result = [grammar.allowed(state)]
        for ids in zip(*rows, strict=True):
            kept = {key: value.clone() for key, value in state.items()}
            after = grammar.advance(state, torch.tensor(ids))
            assert all(torch.equal(kept[key], state[key]) for key in kept)
            state = after
            result.append(grammar.allowed(state))
        assert all(value.shape[0] == len(rows) for value in state.values())
        return torch.stack(result)

    together = masks(encoded)
    for row, ids in enumerate(encoded):
        assert torch.equal(masks([ids])[:, 0], together[:, row])


def test_known_masks() -> None:
    tokenizer = tokenizer_of("remi", "plain")
    ids = {tokenizer.token(id): id for id in range(tokenizer.vocab_size)}
    grammar = tokenizer.grammar()
    state = grammar.begin(1)

    def say(*names: str) -> set[str]:
        nonlocal state
        for name in names:
            assert grammar.allowed(state)[0, ids[name]], name
            state = grammar.advance(state, torch.tensor([ids[name]]))
        return {tokenizer.token(int(id)) for id in grammar.allowed(state)[0].nonzero()[:, 0]}

    assert say() == {"Bar_None"}
    assert {name[:7] for name in say("Bar_None")} == {"TimeSig"}
    assert say("TimeSig_3/4") == {"Bar_None"} | {f"Position_{i}" for i in range(36)}
    assert say("Position_6") == {f"Pitch_{i}" for i in range(21, 110)}
    assert {name[:8] for name in say("Pitch_60")} == {"Duration"}
    later = {"Bar_None", "EOS_None"} | {f"Position_{i}" for i in range(7, 36)}
    assert say("Duration_1.0.12") == later | {f"Pitch_{i}" for i in range(61, 110)}
    assert "Pitch_60" not in say("Position_17")  # it sounds until position 18
    assert "Pitch_60" in say("Pitch_61", "Duration_0.1.12", "Position_18")


@pytest.mark.parametrize("options", [{"use_rests": True}, {"options": {"use_pitch_intervals": True}}])
def test_options_without_a_grammar_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options.get("options", options)))):
        built("tsd", **options).grammar()
