"""The grammar of abc tokens: nothing real is masked, whatever is drawn is whole, bars and lengths are kept."""

from fractions import Fraction

import music21
import pytest
import symusic
import torch

from core.contracts.backbone import select
from core.errors import HubError
from core.seeds import derive
from datatools.abc import repeats as abc_repeats
from datatools.reading.scores import piece_from_abc
from tests.test_abc_tokens import TOKENIZER, ids, notes, pieces, words


def first_masked(grammar, said):
    """The position of the first id that is masked, eos included; None when none is."""
    state = grammar.begin(1)
    for at, id in enumerate([*said, TOKENIZER.eos_id]):
        if not grammar.allowed(state)[0, id]:
            return at
        state = grammar.advance(state, torch.tensor([id]))
    return None


def draw(grammar, rows, most, liked=""):
    """Rows drawn from random logits under the mask, the words of `liked` favored; all must end by themselves."""
    generator = torch.Generator().manual_seed(derive("abc grammar", rows, most, liked))
    state, alive, drawn = grammar.begin(rows), list(range(rows)), [[] for _ in range(rows)]
    favor = torch.zeros(TOKENIZER.vocab_size)
    favor[ids(liked)] = 4.0
    for _ in range(most):
        mask = grammar.allowed(state)
        assert mask.any(1).all() and not mask[:, [TOKENIZER.pad_id, TOKENIZER.bos_id]].any()
        logits = (torch.randn(mask.shape, generator=generator) + favor).masked_fill(~mask, -torch.inf)
        chosen = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
        going = [at for at, id in enumerate(chosen.tolist()) if id != TOKENIZER.eos_id]
        if not going:
            return drawn
        alive = [alive[at] for at in going]
        state = grammar.advance(select(state, going), chosen[going])
        for row, id in zip(alive, chosen[going].tolist()):
            drawn[row].append(id)
    raise AssertionError(f"{len(alive)} rows did not end")


def is_whole(said):
    """It has notes, comes back the same, and only the first and the last bar may be short of the meter."""
    piece = TOKENIZER.decode(said)
    assert any(notes(piece))
    assert notes(TOKENIZER.decode(TOKENIZER.encode(piece))) == notes(piece)
    for voice in abc_repeats.read_tune(piece.abc).voices:
        for number, bar in enumerate(voice):
            if bar.meter is not None and 0 < number < len(voice) - 1:
                assert bar.duration == Fraction(*bar.meter)
            elif bar.meter is not None:
                assert bar.duration <= Fraction(*bar.meter)
    return piece


@pytest.mark.parametrize("piece", pieces())
def test_no_token_of_real_music_is_masked(piece) -> None:
    said = TOKENIZER.encode(piece)
    bars = [bar for voice in abc_repeats.read_tune(piece.abc).voices for bar in voice[1:-1]]
    adds_up = all(bar.meter is None or bar.duration == Fraction(*bar.meter) for bar in bars)
    assert (first_masked(TOKENIZER.grammar(), said) is None) == adds_up


@pytest.mark.parametrize(
    "body",
    [
        "C",
        "G|c8|G7|",
        "(3CDE (3:2:2 C2D (5CDEFG z2|C8|",
        "{ab}c4 [CEG]4-|[CEG]8|",
        "[C-E]4 C4|C8|",
        "^c8-|^c4 c2z2|",
        "C8|[K:D]F4 [K:G]F4|[M:3/4]F6|F2|",
        "(3C{d}D[EG]- [EG]6|C8|",
        "_B4 [K:D]B4-|B8|",
    ],
)
def test_all_that_can_be_told_is_allowed(body) -> None:
    said = TOKENIZER.encode(piece_from_abc(f"X:1\nM:4/4\nL:1/8\nK:C\n{body}\n"))
    assert first_masked(TOKENIZER.grammar(), said) is None


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        ("C", "C"),
        ("M:4/4 L:1/8 K:Cmaj C 8 C", "C"),
        ("M:4/4 L:1/8 K:Cmaj C 4 D 6", "6"),
        ("M:4/4 L:1/8 K:Cmaj C 4 | D 4 | E", "E"),
        ("M:4/4 L:1/8 K:Cmaj C - D", "D"),
        ("M:4/4 L:1/8 K:Dmaj C - =C", "=C"),
        ("M:4/4 L:1/8 K:Cmaj C - z", "z"),
        ("M:4/4 L:1/8 K:Cmaj C - <eos>", "<eos>"),
        ("M:4/4 L:1/8 K:Cmaj z <eos>", "<eos>"),
        ("M:4/4 L:1/8 K:Cmaj [ ]", "]"),
        ("M:4/4 L:1/8 K:Cmaj [ C ]", "]"),
        ("M:4/4 L:1/8 K:Cmaj [ E C", "C"),
        ("M:4/4 L:1/8 K:Cmaj [ E E", "E"),
        ("M:4/4 L:1/8 K:Cmaj [ C E |", "|"),
        ("M:4/4 L:1/8 K:Cmaj { }", "}"),
        ("M:4/4 L:1/8 K:Cmaj { C } z", "z"),
        ("M:4/4 L:1/8 K:Cmaj (3 C D |", "|"),
        ("M:2/4 L:1/8 K:Cmaj C 4 (3", "(3"),
        ("M:none L:1/2 K:Cmaj (3 C 64", "64"),
        ("M:4/4 L:1/8 K:Cmaj C K:Cmaj", "K:Cmaj"),
        ("M:4/4 L:1/8 K:Cmaj V:1 C 4 | V:2 C 3 |", "|"),
        ("M:4/4 L:1/8 K:Cmaj V:1 C 8 | V:2 C 8 | V:2", "V:2"),
    ],
)
def test_what_makes_no_music_is_masked(said, masked) -> None:
    at = first_masked(TOKENIZER.grammar(), ids(said))
    assert at == len(ids(said)) - 1 and words(ids(said))[at] == masked


FAVORED = "| [ ] V:1 V:2 V:3 (3 { } z"


@pytest.mark.parametrize("liked", ["", FAVORED, "K:Dmaj M:3/4 M:none 3/2 |"])
@pytest.mark.parametrize(("bars", "length"), [(0, 24), (0, 100), (0, 300), (3, 0), (4, 300), (6, 400)])
def test_drawn_from_random_logits(bars, length, liked) -> None:
    drawn = draw(TOKENIZER.grammar(bars=bars, length=length), 12, 4000, liked)
    for said in drawn:
        piece = is_whole(said)
        assert not length or len(said) <= length
        assert not bars or len(TOKENIZER.bar_starts(said)) == bars
    music21.converter.parse(piece.abc, format="abc")


def test_voices_are_drawn_too() -> None:
    drawn = draw(TOKENIZER.grammar(length=300), 40, 400, "V:1 V:2 |")
    assert sum("V:2" in words(said) for said in drawn) >= 2
    assert all(is_whole(said) for said in drawn)


def test_abc2midi_loses_no_note_of_long_ties(capfd) -> None:
    said = "M:none L:1/4 K:Cmaj c - | [ E G c ] - [ E G - c - ] [ G c ] |"
    text = TOKENIZER.decode(ids(said)).abc
    assert "[cEG]- [c-EG-] [cG]" in text
    assert words(TOKENIZER.encode(piece_from_abc(text))) == said.split()
    symusic.Score.from_abc(text)
    assert "Error" not in "".join(capfd.readouterr())


def test_a_prompt_with_a_short_last_bar_is_opened() -> None:
    whole = ids("M:4/4 L:1/8 K:Cmaj C 8 | D 8 |")
    short = ids("M:4/4 L:1/8 K:Cmaj C 8 | D 7 |")
    assert TOKENIZER.opening(whole) == whole
    assert TOKENIZER.opening(short) == short[:-1]


def test_too_short_a_length_is_refused() -> None:
    with pytest.raises(HubError, match="24 tokens"):
        TOKENIZER.grammar(length=10)
