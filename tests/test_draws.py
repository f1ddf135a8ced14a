"""The programs that draw from grammars and walk through them take tokens of one stream and of several."""

from typing import Any

import pytest

from core.model.generation import grammar_after
from datatools.reading.scores import piece_from_score
from plugins.manager import load_manager
from tests import fuzz_tokens, made_scores, validity
from tests.exactness import masked


def built(name: str) -> Any:
    entry = load_manager().tokenizers[name]
    assert entry.build is not None and entry.hparams is not None
    return entry.build(entry.hparams())


@pytest.mark.parametrize("name", ["cpword", "structured"])
def test_a_masked_token_is_counted_in_any_stream(name: str) -> None:
    tokenizer = built(name)
    ids = tokenizer.encode(piece_from_score(made_scores.tunes(1)[0]))[:40]
    right, wrong = masked(tokenizer.grammar(), [ids, list(reversed(ids))], tokenizer.eos_id)
    assert right <= 1 and wrong > 3  # one: the end, where a note is cut off


def test_notes_that_tokens_name_are_counted() -> None:
    tokenizer = built("cpword")
    for ids in validity.sequences(tokenizer, 0, 4, masked=True):
        assert ids and all(len(token) == tokenizer.streams for token in ids)
        assert validity.told(tokenizer, ids) == len(validity.notes(tokenizer.decode(ids)))
    midilike = built("midilike")
    names = ["NoteOn_60", "DrumOn_36", "NoteOff_60", "DrumOff_36", "TimeShift_1.0.12"]
    ids = [midilike.base_tokens.index(name) for name in names]
    assert validity.told(midilike, ids) == 2
    assert validity.told(built("grid"), [0, 1]) is None


def test_a_short_last_bar_of_abc_is_no_dead_end() -> None:
    abc = built("abc")
    words = ["M:4/4", "L:1/4", "K:Cmaj", "C", "4", "|", "D", "|"]
    ids = [next(id for id in range(abc.vocab_size) if abc.token(id) == word) for word in words]
    grammar = abc.grammar()
    assert grammar.allowed(grammar_after(grammar, [ids])).nonzero()[:, 1].tolist() == [abc.eos_id]
    assert not validity.dead(abc, ids)


def test_ids_of_several_streams_are_changed_as_single_ones_are() -> None:
    from random import Random

    real = [[5, 1, 2], [6, 1, 3]] * 10
    made = [fuzz_tokens.fuzzed_ids(Random(seed), (9, 4, 7), real, real) for seed in range(60)]
    assert any(len(token) != 3 for ids in made for token in ids)  # of another number of streams, now and then
    assert any(0 < sum(a != b for a, b in zip(ids, real, strict=False)) < 3 for ids in made if len(ids) == len(real))
    assert real == [[5, 1, 2], [6, 1, 3]] * 10
