"""Tokens for the lyrics of ABC, and the grammar with them, with chord symbols and without."""

import re

import pytest
import torch

from core.seeds import derive
from datatools.abc.repeats import read_tune
from datatools.abc.text import words
from datatools.preparing.encoding import encode_piece
from datatools.preparing.losses import advice
from datatools.reading.scores import piece_from_abc
from hparams.tokenizers.abc import AbcHParams
from plugins.tokenizers.abc import AbcTokenizer, build
from tests.test_abc_lyrics import HEAD, SONG

PLAIN, SUNG = build(AbcHParams()), build(AbcHParams(lyrics=True))
BOTH = build(AbcHParams(lyrics=True, chord_symbols=True))
SAID = """M:4/4 L:1/4 K:Cmaj V:1 "C" w:A w:l w:- C w:l w:e w:- D 2 w:l w:u w:- E | V:2 C, 4 |
V:1 z 2 { g } w:j w:a w:, [ F A ] 3/2 w:_ B /2 | V:2 w:O w:h D, 4 |
V:1 K:Dmaj "Am7" "/D" w:o w:f w:~ w:t w:h w:e c 4 - | V:2 E, 4 |
V:1 w:x w:\\- w:r w:a w:y c 2 (3 B w:e w:\u0301 w:- c w:t w:e w:\u0301 d | V:2 F, 4 |
V:1 M:2/4 w:" w:G w:o w:t w:t w:" A w:s w:u w:\u0308 w:- F | V:2 M:2/4 G, 2 |"""
ODD = """w:_ C w:\u0301 w:- w:a w:\u0301 w:\u0301 w:- w:b D w:a z w:b | w:_ E w:c w:_ [ w:d C E ] w:_ F z w:_ G
w:~ w:~ w:\\- w:- A w:_ [ ] w:e B V:2 w:_ C w:f"""


def ids_of(said: str) -> list[int]:
    return [BOTH._ids[word] for word in said.split()]


def test_words_there_and_back() -> None:
    piece = piece_from_abc(SONG)
    ids = BOTH.encode(piece)
    assert ids == ids_of(SAID) and BOTH.encode(BOTH.decode(ids)) == ids and BOTH.decode(ids).abc == piece.abc
    bare = [word for word in SAID.split() if word[0] != '"']
    assert [SUNG.token(id) for id in SUNG.encode(piece)] == bare
    assert [PLAIN.token(id) for id in PLAIN.encode(piece)] == [word for word in bare if word[0] != "w"]
    assert not [word for word in words(read_tune(SONG)) if word[0] == "w"]
    assert PLAIN.fingerprint() == "1258024cfb6660a3", "as before there were lyrics"
    assert len({tokenizer.fingerprint() for tokenizer in (PLAIN, SUNG, BOTH)}) == 3
    assert {SUNG.kind_of(id) for id in range(PLAIN.vocab_size, SUNG.vocab_size)} == {"other"}


def test_what_the_alphabet_lacks_is_counted_and_holds_nothing() -> None:
    piece = piece_from_abc(HEAD + "CDEF|GABc|\nw:Ах_ ấ o- _ & \u0144- *_\n")
    told = encode_piece(SUNG, piece)
    over = [SUNG.token(id) for id in told.ids if id >= PLAIN.vocab_size]
    assert over == ["w:o", "w:-", "w:_", "w:n", "w:\u0301", "w:-"]
    assert told.lost == {"words": 3} and told.remarks == "left out 3 syllables that its alphabet lacks, such as 'Ах'"
    assert encode_piece(PLAIN, piece).lost == {"words": 5}
    manifest = {"counts": {"train": {"notes": 8}}, "lost": {"words": 4}, "remarks": 0}
    assert advice(manifest, AbcHParams()) == ["lost         50 % of notes: the words sung -> tokenizer.lyrics=true"]
    assert advice(manifest, AbcHParams(lyrics=True)) == [
        "lost         50 % of notes: the words sung (more than this tokenizer can tell)"
    ]


def test_a_voice_holds_its_own_syllables() -> None:
    piece = piece_from_abc(HEAD + "V:1\nC4|D4|\nw:a_\nV:2\nC,4|D,4|\nw:_b\n")
    said = " ".join(SUNG.token(id) for id in SUNG.encode(piece)[3:])
    assert said == "V:1 w:a C 4 | V:2 C, 4 | V:1 w:_ D 4 | V:2 w:b D, 4 |"


def test_decoding_leaves_out_what_cannot_be_sung() -> None:
    assert re.findall("w:.*", BOTH.decode(ids_of(ODD)).abc) == ["w: * á-_ c__ ~~\\--_"]


@pytest.mark.parametrize(("bars", "length"), [(0, 0), (3, 80), (0, 26)])
@pytest.mark.parametrize("tokenizer", [SUNG, BOTH], ids=["lyrics", "both"])
def test_drawn_words_survive(tokenizer: AbcTokenizer, bars: int, length: int) -> None:
    grammar = tokenizer.grammar(bars=bars, length=length)
    generator = torch.Generator().manual_seed(derive("abc lyrics", bars, length))
    favor = torch.ones(tokenizer.vocab_size)
    favor[tokenizer._ids["|"]], favor[tokenizer.eos_id], favor[PLAIN.vocab_size :] = 30.0, 40.0, 0.4
    favor[tokenizer._ids["w:_"]], favor[tokenizer._ids["V:1"]] = 30.0, 5.0
    drawn: list[list[int]] = [[] for _ in range(12)]
    state, going = grammar.begin(12), torch.ones(12, dtype=torch.bool)
    for _ in range(300):
        mask = grammar.allowed(state)
        assert mask[going].any(1).all()
        mask[~going, tokenizer.eos_id] = True
        id = torch.multinomial(mask * favor, 1, generator=generator)[:, 0]
        going &= id != tokenizer.eos_id
        for row in going.nonzero()[:, 0].tolist():
            drawn[row].append(int(id[row]))
        if not going.any():
            break
        state = grammar.advance(state, torch.where(going, id, tokenizer.eos_id))
    told = 0
    for ids in (ids for row, ids in enumerate(drawn) if not going[row]):
        assert not length or len(ids) <= length
        over = [id for id in ids if id >= PLAIN.vocab_size]
        assert [id for id in tokenizer.encode(tokenizer.decode(ids)) if id >= PLAIN.vocab_size] == over
        told += len(over)
    assert told >= 5


@pytest.mark.parametrize("tokenizer", [SUNG, BOTH], ids=["lyrics", "both"])
def test_the_grammar_masks_no_written_word(tokenizer: AbcTokenizer) -> None:
    grammar = tokenizer.grammar()
    state = grammar.begin(1)
    for id in tokenizer.encode(piece_from_abc(SONG)):
        assert grammar.allowed(state)[0, id], tokenizer.token(id)
        state = grammar.advance(state, torch.tensor([id]))


@pytest.mark.parametrize(
    ("before", "may", "may_not"),
    [
        ("", "w:a w:1 w:~ z {", "w:_ w:- w:\u0301"),
        ("w:a", "C [ w:a w:\u0301 w:1 w:-", 'z | { w:_ "C"'),
        ("w:a w:\u0301", "C w:a w:~ w:-", "w:\u0301"),
        ("w:1", "C w:a w:-", "w:\u0301 w:_"),
        ("w:a w:-", "C [", "w:a w:1 w:- w:_ z"),
        ("w:a C", "w:_ w:a z |", "w:- w:\u0301"),
        ("w:a C w:_", "D [", "w:a w:- w:_ z"),
        ("w:a C w:_ D", "w:_", ""),
        ("w:a C D", "w:a", "w:_"),
        ("w:a C z", "w:_", ""),
        ("w:a [ C", "D", "w:a w:_"),
        ("w:a [ C E ]", "w:_ w:a", ""),
        ("{", "C", "w:a"),
        ("{ C }", "w:a D", "w:_"),
        ('"C"', 'w:a "/E" z C', '"C" w:_'),
        ('"C" "/E"', "w:a z", ""),
        ('"C" w:a', "C", 'z "/E"'),
        ('w:a C "C"', "w:_", ""),
        ("V:1 w:a C 4 | V:2", "w:a", "w:_"),
        ("V:1 w:a C 4 | V:2 D 4 | V:1", "w:_", ""),
    ],
)
def test_what_may_follow(before: str, may: str, may_not: str) -> None:
    grammar = BOTH.grammar()
    state = grammar.begin(1)
    for id in ids_of(f"M:4/4 L:1/4 K:Cmaj {before}"):
        state = grammar.advance(state, torch.tensor([id]))
    allowed = grammar.allowed(state)[0]
    assert allowed[ids_of(may)].all() and not allowed[ids_of(may_not)].any()
