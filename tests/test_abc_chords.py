"""Chord symbols of ABC: how they are spelled, what they stand over, their tokens and the grammar with them."""

import re

import music21
import pytest
import torch

from core.seeds import derive
from datatools.abc.repeats import read_tune
from datatools.abc.symbols import chord_symbol, shifted
from datatools.abc.text import words
from datatools.preparing.encoding import encode_piece
from datatools.preparing.losses import advice
from datatools.reading.scores import piece_from_abc, piece_from_score
from hparams.tokenizers.abc import AbcHParams
from hparams.tokenizers.note_tokens import RemiHParams
from plugins.manager import load_manager
from plugins.tokenizers.abc import build
from tests.abc_texts import unrolled

TOKENIZER, PLAIN = build(AbcHParams(chord_symbols=True)), build(AbcHParams())
AIR = """X:1
M:6/8
L:1/8
K:Em
"Em"E2E "D/f#"F{g}"G"G2|(3"Am"ABc "Bm7(b5)"[Bd]z "^slow""C"c2-|"Amin7/g"c2 "Fine"d2 "G(Em)""x"e2|
"""
SAID = """M:6/8 L:1/8 K:Emin "Em" E 2 E "D" "/F#" F { g } "G" G 2 |
(3 "Am" A B c "Bm7b5" [ B d ] z "C" c 2 - | "Am7" "/G" c 2 d 2 "G" e 2 |"""
WORDS = SAID.split()
ODD = '"Am" | "C" "C" C "/G" "G" "/B" "/D" E [ "F" C E ] "D" "D7" { "E" c } G "A" (3 "B" "/C" z'


@pytest.mark.parametrize(
    ("said", "meant"),
    [("Am", "Am"), ("Amin7", "Am7"), ("A-7", "Am7"), ("BbM7", "Bbmaj7"), ("F♯sus", "F#sus4"), ("C+", "Caug")]
    + [("Cm(maj7)", "Cmmaj7"), ("G(Em)", "G"), ("D7/F#", "D7/F#"), ("C/e", "C/E"), ("Ebo7", "Ebdim7")]
    + [("Co", "Cdim"), ("Cm6", "Cm6"), ("CM6", "C6"), ("B♭", "Bb"), ("C7+", "Caug7"), ("C(add9)", "Cadd9")]
    + [(none, "") for none in ("Fine", "D.C.", "DC", "Coda", "^Am", "am", "A min", "H7", "", "C/", "Cx", "A##")],
)
def test_symbols_in_one_spelling(said: str, meant: str) -> None:
    assert chord_symbol(said) == meant


def test_symbols_move_with_a_transposing_voice() -> None:
    assert [shifted(symbol, 1, 2) for symbol in ("C", "Am7/G", "Bb", "Eb7", "F#m")] == ["D", "Bm7/A", "C", "F7", "G#m"]
    assert shifted("E#", 1, 2) == shifted("C/E#", 1, 2) == "", "it would take two sharps"
    assert [shifted(symbol, 4, 7) for symbol in ("C", "F#m7/C#")] == ["G", "C#m7/G#"]
    events = read_tune('X:1\nK:C transpose=-2\n"C"C"Am/E"E\n').voices[0][0].events
    assert [event.symbol for event in events] == ["Bb", "Gm/D"]


def test_what_a_symbol_stands_over() -> None:
    """The note behind its grace notes, the first bar of a long rest, the chord that it is in; a tempo is no word."""
    tune = read_tune('X:1\nM:4/4\nL:1/4\nK:C\n"G"{g}G4|"C"Z2|["Am"AC]4|[Q:1/4=90]C4|\n')
    assert [event.symbol for bar in tune.voices[0] for event in bar.events] == ["G", "C", "", "Am", ""]
    assert not [word for word in words(tune, chords=True) if word[0] == "Q"]


def test_music21_reads_the_same_symbols_over_the_same_notes() -> None:
    text = 'X:1\nM:4/4\nL:1/4\nK:C\n"C"C2 "Am7"E2|"F"[FA]3 "G/B"G|"Dm"z4|"Gdim"G>"C"c "E"e2|\n'
    theirs = [
        (float(symbol.getOffsetInHierarchy(score)), symbol.root().pitchClass, symbol.bass().pitchClass)
        for score in [music21.converter.parse(text, format="abc")]
        for symbol in score.recurse().getElementsByClass(music21.harmony.ChordSymbol)
    ]
    mine, now = [], 0.0
    for event in (event for bar in read_tune(text).voices[0] for event in bar.events):
        if event.symbol:
            names = [name.replace("b", "-") for name in re.findall(r"[A-G][#b]?", event.symbol)]
            classes = [music21.pitch.Pitch(name).pitchClass for name in names]
            mine.append((now, classes[0], classes[-1]))
        now += 4 * float(event.duration)
    assert mine == theirs and len(mine) == 8


def test_words_there_and_back() -> None:
    piece = piece_from_abc(AIR)
    ids = TOKENIZER.encode(piece)
    assert [TOKENIZER.token(id) for id in ids] == WORDS
    assert [PLAIN.token(id) for id in PLAIN.encode(piece)] == [word for word in WORDS if word[0] != '"']
    assert TOKENIZER.encode(TOKENIZER.decode(ids)) == ids and '"Am7/G"c2d2"G"e2' in TOKENIZER.decode(ids).abc
    assert TOKENIZER.fingerprint() != PLAIN.fingerprint() and {TOKENIZER.kind_of(id) for id in ids[3:4]} == {"other"}
    again = read_tune(unrolled('X:1\nK:C\n|:"C"C4:|\n')).voices[0]
    assert [event.symbol for bar in again for event in bar.events] == ["C", "C"]


def test_decoding_leaves_out_what_stands_over_nothing() -> None:
    piece = TOKENIZER.decode([TOKENIZER._ids[word] for word in ODD.split()])
    assert '"C"C"G/B"E[CE]{c}"D7"G"B/C"z' in piece.abc.replace(" ", "")


@pytest.mark.parametrize(("bars", "length"), [(0, 0), (3, 80), (0, 26)])
def test_drawn_symbols_survive(bars: int, length: int) -> None:
    grammar = TOKENIZER.grammar(bars=bars, length=length)
    generator = torch.Generator().manual_seed(derive("abc chords", bars, length))
    favor = torch.ones(TOKENIZER.vocab_size)
    favor[TOKENIZER._ids["|"]], favor[TOKENIZER.eos_id], favor[PLAIN.vocab_size :] = 30.0, 40.0, 0.2
    state, drawn, going = grammar.begin(12), [[] for _ in range(12)], torch.ones(12, dtype=torch.bool)
    for _ in range(300):
        mask = grammar.allowed(state)
        assert mask[going].any(1).all()
        mask[~going, TOKENIZER.eos_id] = True
        ids = torch.multinomial(mask * favor, 1, generator=generator)[:, 0]
        going &= ids != TOKENIZER.eos_id
        for row in going.nonzero()[:, 0].tolist():
            drawn[row].append(int(ids[row]))
        if not going.any():
            break
        state = grammar.advance(state, torch.where(going, ids, TOKENIZER.eos_id))
    told = 0
    for ids in (ids for row, ids in enumerate(drawn) if not going[row]):
        assert not length or len(ids) <= length
        symbols = [id for id in ids if id >= PLAIN.vocab_size]
        assert [id for id in TOKENIZER.encode(TOKENIZER.decode(ids)) if id >= PLAIN.vocab_size] == symbols
        told += len(symbols)
    assert told >= 10


def test_the_grammar_masks_no_written_symbol_and_no_misplaced_one_passes() -> None:
    grammar, ids = TOKENIZER.grammar(), [TOKENIZER._ids[word] for word in WORDS]
    state = grammar.begin(1)
    for id in ids:
        assert grammar.allowed(state)[0, id], TOKENIZER.token(id)
        state = grammar.advance(state, torch.tensor([id]))
    for before, word in (('"Em"', '"D"'), ('"Em"', "|"), ('"Em"', "{"), ("2", '"/G"'), ("[", '"D"'), ("{", '"D"')):
        state = grammar.begin(1)
        for id in ids[: WORDS.index(before) + 1]:
            state = grammar.advance(state, torch.tensor([id]))
        assert not grammar.allowed(state)[0, TOKENIZER._ids[word]], (before, word)


def test_symbols_that_tokens_do_not_tell_are_counted() -> None:
    """Eight stand over notes of the air; a title in quotes is none, nor is a voice's name."""
    piece = piece_from_abc(AIR.replace("X:1\n", 'X:1\nT:"C" and "D"\n').replace("K:Em", 'K:Em\nV:1 name="G"'))
    remi = load_manager().make("tokenizer", RemiHParams())
    lost = [encode_piece(one, piece).lost.get("symbols", 0) for one in (PLAIN, remi, TOKENIZER)]
    assert lost == [8, 8, 0]
    score = piece_from_score(piece.score)
    assert "symbols" not in encode_piece(PLAIN, score).lost, "music in notes has none to lose"
    manifest = {"counts": {"train": {"notes": 12}}, "lost": {"symbols": 8}, "remarks": 1}
    assert advice(manifest, AbcHParams()) == [
        "lost         8 marks: chord symbols -> tokenizer.chord_symbols=true",
        "remarks      on 1 piece: remarks.txt in the token store",
    ]
    assert advice(manifest, RemiHParams())[0] == "lost         8 marks: chord symbols (this tokenizer cannot tell them)"
