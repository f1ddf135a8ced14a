"""The abc tokenizer: its laws on real and on random tokens, and what other programs say to its texts."""

import pickle
from pathlib import Path

import music21
import pytest
import symusic

from core.contracts.piece import Piece
from core.seeds import generator
from datatools.abc import book as abc_book
from datatools.reading.scores import piece_from_abc
from hparams.tokenizers.abc import AbcHParams
from plugins.tokenizers import abc
from plugins.tokenizers.abc import build
from plugins.tokenizers.abc_tokens.vocabulary import parse_length, parse_pitch, parse_tuplet
from tests.test_abc_reader import oracle

MUSIC = Path(__file__).parent / "music"
TOKENIZER = build(AbcHParams())


def notes(piece):
    return [[(n.time, n.pitch, n.duration) for n in track.notes] for track in piece.score.tracks]


def pieces():
    for path in sorted(MUSIC.glob("*.abc")):
        text = abc_book.decode_bytes(path.read_bytes())
        for index in range(abc_book.count_tunes(text)):
            yield pytest.param(piece_from_abc(abc_book.tune(text, index), source=path.name), id=f"{path.stem}-{index}")


def words(ids):
    return [TOKENIZER.token(id) for id in ids]


def ids(text):
    known = {TOKENIZER.token(id): id for id in range(TOKENIZER.vocab_size)}
    return [known[word] for word in text.split()]


def test_vocabulary_is_closed_and_pinned() -> None:
    said = words(range(TOKENIZER.vocab_size))
    assert len(said) == len(set(said)) == 512
    assert TOKENIZER.fingerprint() == "1258024cfb6660a3"
    kinds = [(parse_pitch(w) is not None) + (parse_length(w) is not None) + (parse_tuplet(w) is not None) for w in said]
    assert set(kinds) == {0, 1}


def test_a_tune_word_by_word() -> None:
    piece = piece_from_abc("X:1\nT:T\nM:6/8\nL:1/8\nK:Em\nB|{f}e2E ^G(3efe a-|[ae]3 z3|\n", source="here")
    expected = "M:6/8 L:1/8 K:Emin B | { f } e 2 E ^G (3 e f e a - | [ e a ] 3 z 3 |"
    assert " ".join(words(TOKENIZER.encode(piece))) == expected


@pytest.mark.parametrize("piece", pieces())
def test_tunes_come_through_unchanged(piece) -> None:
    said = TOKENIZER.encode(piece)
    decoded = TOKENIZER.decode(said)
    assert notes(decoded) == notes(piece)
    assert TOKENIZER.encode(decoded) == said
    assert TOKENIZER.bar_starts(said)[0] == 0
    assert all(words(said)[start - 1] == "|" for start in TOKENIZER.bar_starts(said)[1:])


def test_bars_of_voices_take_turns() -> None:
    piece = piece_from_abc((MUSIC / "two_of_us.abc").read_text())
    said = TOKENIZER.encode(piece)
    assert [word for word in words(said) if word[:2] == "V:"] == ["V:1", "V:2"] * 7
    assert [words(said)[start] for start in TOKENIZER.bar_starts(said)[1:]] == ["V:1"] * 6


@pytest.mark.parametrize("seed", range(60))
def test_any_ids_decode_and_settle(seed) -> None:
    draw = generator("abc ids", seed)
    garbage = draw.integers(0, TOKENIZER.vocab_size + 4, size=int(draw.integers(0, 200))).tolist()
    # Few of the vocabulary's words are structure; drawing them often reaches the odd corners.
    frequent = ids("| [ ] { } - z (3 (5:2:5 2 /2 3/2 V:1 V:2 C ^c =c _e M:3/4 K:Dmaj L:1/4")
    garbage = [int(draw.choice(frequent)) if draw.random() < seed % 3 / 2.5 else id for id in garbage]
    piece = TOKENIZER.decode(garbage)
    piece.score.dumps_midi()
    once = TOKENIZER.encode(piece)
    again = TOKENIZER.decode(once)
    assert TOKENIZER.encode(again) == once
    assert notes(again) == notes(piece)
    if any(notes(piece)):
        music21.converter.parse(piece.abc, format="abc")
    # abc2midi has grace notes its own way, and passes over some.
    plain = TOKENIZER.decode([id for id in garbage if id not in ids("{ }")])
    mine = sorted(pitch for track in notes(plain) for _, pitch, _ in track)
    assert mine == (sorted(pitch for _, pitch, _ in oracle(plain.abc)) if mine else [])


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("", "M:4/4 L:1/8 K:Cmaj"),
        ("C 2 3 |", "M:4/4 L:1/8 K:Cmaj C 2 |"),
        ("K:Gmaj M:3/4 [ C E", "M:3/4 L:1/8 K:Gmaj [ C E ] |"),
        ("[ ] { } C ] }", "M:4/4 L:1/8 K:Cmaj C |"),
        ("[ E C C ] -", "M:4/4 L:1/8 K:Cmaj [ C E ] |"),
        ("(3 C D | E", "M:4/4 L:1/8 K:Cmaj C D | E |"),
        ("C - D", "M:4/4 L:1/8 K:Cmaj C D |"),
        ("C - | C", "M:4/4 L:1/8 K:Cmaj C - | C |"),
        ("{ C } | D { E }", "M:4/4 L:1/8 K:Cmaj { C } D |"),
        ("C M:3/4 D | M:2/4 E", "M:4/4 L:1/8 K:Cmaj C D | M:2/4 E |"),
        ("| | z | |", "M:4/4 L:1/8 K:Cmaj z |"),
        ("V:2 C | V:1 D V:2 E", "M:4/4 L:1/8 K:Cmaj V:1 D | V:2 C | V:2 E |"),
        ("<bos> C <eos> D <pad>", "M:4/4 L:1/8 K:Cmaj C D |"),
    ],
)
def test_repairs(said, kept) -> None:
    assert " ".join(words(TOKENIZER.encode(TOKENIZER.decode(ids(said))))) == kept


def test_nothing_decodes_to_silence() -> None:
    piece = TOKENIZER.decode([])
    assert sum(len(track.notes) for track in piece.score.tracks) == 0
    assert piece.abc.startswith("X:1\n")


def test_scores_become_tokens() -> None:
    score = symusic.Score(480)
    track = symusic.Track(name="", program=0, is_drum=False)
    for time, pitch in ((0, 60), (0, 64), (480, 62), (1920, 60)):
        track.notes.append(symusic.Note(time, 480, pitch, 64))
    score.tracks.append(track)
    from datatools.reading.scores import piece_from_score

    said = TOKENIZER.encode(piece_from_score(score, source="x.mid"))
    assert " ".join(words(said)) == "M:4/4 L:1/4 K:Cmaj [ C E ] D z 2 | C z 3 |"


def test_what_has_no_token_is_named() -> None:
    for text, thing in (("C,,,,,", "C,,,,"), ("C63/64", "63/64"), ("(9:7:9CDEFGABcd", "9:7:9")):
        with pytest.raises(ValueError, match="odd") as caught:
            TOKENIZER.encode(piece_from_abc(f"X:1\nL:1/8\nK:C\n{text}|\n", source="odd.abc"))
        assert thing in str(caught.value)
    with pytest.raises(ValueError, match="a piece"):
        TOKENIZER.encode(Piece("a piece", "", "", lambda: symusic.Score(480), lambda: "K:Zz\nC|"))


def test_saved_and_built_again(tmp_path) -> None:
    TOKENIZER.save(tmp_path)
    other = build(AbcHParams(), tmp_path)
    assert other.fingerprint() == TOKENIZER.fingerprint() == pickle.loads(pickle.dumps(TOKENIZER)).fingerprint()
    (tmp_path / "abc.json").write_text('{"format": 0, "words": []}')
    with pytest.raises(ValueError, match="format 0 with 0 words"):
        build(AbcHParams(), tmp_path)


def test_what_each_word_tells() -> None:
    said = "M:3/4 L:1/8 K:Dmaj V:1 z 2 [ ^F A ] /2 - { c } (3 |"
    told = ["other"] * 4 + ["onset", "duration", "onset", "pitch", "pitch", "onset", "duration", "duration"]
    told += ["other", "pitch", "other", "duration", "onset"]
    assert [TOKENIZER.kind_of(id) for id in ids(said)] == told
    assert TOKENIZER.kind_of(TOKENIZER.eos_id) == "other"


def test_a_piece_of_too_many_words_is_refused_before_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abc, "MOST_WORDS", 8)
    text = "X:1\nM:4/4\nL:1/4\nK:C\nCDEF|\n"  # three of the header, four notes, a bar line
    assert len(TOKENIZER.encode(piece_from_abc(text, source="here.abc"))) == 8
    with pytest.raises(ValueError, match=r"here\.abc: it has 9 abc tokens; expected at most 8"):
        TOKENIZER.encode(piece_from_abc(text.replace("F|", "F2|").replace("M:4/4", "M:5/4"), source="here.abc"))
