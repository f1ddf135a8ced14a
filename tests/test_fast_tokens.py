"""The NumPy path of the note tokenizers writes and reads what MidiTok's own encoders and decoders do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import symusic

from core.contracts.piece import Piece
from core.errors import HubError
from datatools.reading.scores import piece_from_score, read
from hparams.tokenizers.note_tokens import MidiLikeHParams, StructuredHParams
from plugins.tokenizers import midilike, structured
from plugins.tokenizers.learnt import unigram
from plugins.tokenizers.note_tokens.quantise import quantise, same
from plugins.tokenizers.note_tokens.tokenizer import MidiTokTokenizer
from tests.odd_pieces import KINDS, METERS, built, in_meter, piece

BAND = Path(__file__).parent / "music" / "band.mid"
OPTIONS: list[dict[str, Any]] = [
    {},
    {"use_velocities": True, "use_tempos": True, "use_programs": True, "use_key_signatures": True},
    {"use_time_signatures": False, "beat_res": {"0_2": 8, "2_4": 2}},
    {"use_programs": True, "use_pitchdrum_tokens": False, "time_signature_range": {"4": [4], "2": [3], "16": [9]}},
    {"use_programs": True, "use_velocities": True, "beat_res": {"0_1": 24, "1_12": 3}},
]
PIECES: list[Piece] = [
    *(piece(seed, tpq=(480, 96, 1024)[seed % 3]) for seed in range(4)),
    *(in_meter(*meter) for meter in METERS[::4]),
]
GLOBAL = ("use_tempos", "use_key_signatures", "use_time_signatures", "time_signature_range")


def miditok_ids(tokenizer: MidiTokTokenizer, source: Piece) -> list[int]:
    """What MidiTok alone makes of the quantised piece."""
    return tokenizer._compressed(quantise(source.score, tokenizer.grid, source.source))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS)
def test_ids_and_music_are_miditoks(kind: str, options: dict[str, Any]) -> None:
    tokenizer = built(kind, **options)
    assert tokenizer._fast is not None
    rng = np.random.default_rng(len(str(options)))
    for source in [*PIECES, read(BAND)]:
        ids = tokenizer.encode(source)
        assert ids == miditok_ids(tokenizer, source)
        for noise in (0.0, 0.1, 0.6):
            wild = np.array(ids)[int(rng.integers(len(ids))) // 2 :]
            wild = np.where(rng.random(len(wild)) < noise, rng.integers(0, tokenizer.vocab_size, len(wild)), wild)
            base = tokenizer.base_ids(wild)
            assert same(tokenizer.decode(wild.tolist()).score, tokenizer._score(base))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", ["bar", "beat", "no"])
def test_byte_pairs_are_miditoks(kind: str, split: str) -> None:
    tokenizer = built(kind, bpe=700, use_programs=True, options={"encode_ids_split": split})
    tokenizer.train(PIECES)
    for source in PIECES:
        assert tokenizer.encode(source) == miditok_ids(tokenizer, source)


@pytest.mark.parametrize("options", OPTIONS[1::3])
def test_structured_and_midilike_are_miditoks(options: dict[str, Any]) -> None:
    told = {key: value for key, value in options.items() if key not in GLOBAL}
    for tokenizer in (
        structured.build(StructuredHParams(**told)),
        midilike.build(MidiLikeHParams(**options)),
    ):
        assert tokenizer._fast is not None
        for source in [*PIECES, read(BAND)]:
            ids = tokenizer.encode(source)
            assert ids == miditok_ids(tokenizer, source)
            assert same(tokenizer.decode(ids).score, tokenizer._score(tokenizer.base_ids(ids)))
            assert tokenizer.encode(tokenizer.decode(ids)) == ids


def test_midilike_known_answer_and_what_is_never_released() -> None:
    tokenizer = midilike.build(MidiLikeHParams(use_velocities=True, num_velocities=127))
    score = symusic.Score(100)
    track = symusic.Track()
    track.notes.append(symusic.Note(0, 200, 60, 77))
    track.notes.append(symusic.Note(100, 100, 64, 20))
    score.tracks.append(track)
    ids = tokenizer.encode(piece_from_score(score))
    on, off = ["TimeSig_4/4", "NoteOn_60", "Velocity_77", "TimeShift_1.0.12"], ["NoteOff_60", "NoteOff_64"]
    expected = [*on, "NoteOn_64", "Velocity_20", "TimeShift_1.0.12", *off]
    assert [tokenizer.token(id) for id in ids] == expected
    assert tokenizer.decode(ids[:-2]).score.tracks == tokenizer.decode(ids).score.tracks
    assert len(tokenizer.decode(ids[:-3]).score.tracks[0].notes) == 1  # the second was pressed and lasted no time


def test_structured_shortens_long_silence_only() -> None:
    tokenizer = structured.build(StructuredHParams())
    score = symusic.Score(24)
    track = symusic.Track()
    for beat in (0, 1, 41, 42, 43):
        track.notes.append(symusic.Note(beat * 24, 24, 60 + beat % 7, 80))
    score.tracks.append(track)
    found = tokenizer.decode(tokenizer.encode(piece_from_score(score))).score
    assert [note.time / found.ticks_per_quarter for note in found.tracks[0].notes] == [
        0,
        1,
        13,
        14,
        15,
    ]  # 12 beats are the longest shift
    with pytest.raises(ValueError, match="Structured tells notes and nothing else"):
        StructuredHParams(use_tempos=True)
    with pytest.raises(
        HubError, match=r"^tokenizer\.options\.use_sustain_pedals cannot be used: Structured tells notes"
    ):
        structured.build(StructuredHParams(options={"use_sustain_pedals": True}))


def test_an_option_that_is_passed_over_is_one_line(recwarn: pytest.WarningsRecorder) -> None:
    wanted = (
        r"^tokenizer\.options\.ac_polyphony_track cannot be used with tokenizer\.use_programs: it is of a single track$"
    )
    for kind in ("remi", "tsd"):
        with pytest.raises(HubError, match=wanted):
            built(kind, use_programs=True, options={"ac_polyphony_track": True})
        assert built(kind, options={"ac_polyphony_track": True}).vocab_size
    assert not recwarn.list


def test_word_pieces_are_learnt_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    tokenizer = built("remi", bpe=500, vocabulary="wordpiece")
    tokenizer.train(PIECES)
    assert tokenizer.vocab_size > len(tokenizer.base_tokens) and "Ignored" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("vocabulary", ["unigram", "wordpiece"])
def test_other_vocabularies_stand_for_the_same_base_tokens(vocabulary: Any, tmp_path: Path) -> None:
    plain = structured.build(StructuredHParams())
    hparams = StructuredHParams(bpe=500, vocabulary=vocabulary)
    tokenizer, twin = structured.build(hparams), structured.build(hparams)
    for each in (tokenizer, twin):
        each.train(PIECES)
    assert tokenizer.fingerprint() == twin.fingerprint()
    tokenizer.save(tmp_path)
    loaded = structured.build(hparams, tmp_path)
    for source in PIECES:
        ids = tokenizer.encode(source)
        assert tokenizer.base_ids(ids) == plain.encode(source) and len(ids) < len(plain.encode(source))
        assert loaded.encode(source) == ids


def test_a_unigram_vocabulary_does_not_depend_on_the_order_of_a_hash_table() -> None:
    """Base tokens that were not kept, c, d and e, get -9 and a ten-thousandth more each; sums are rounded otherwise."""
    front, kept = [["p", 0.0], ["q", 0.0]], [["ab", -1.5], ["b", -9.0]]
    one = {"type": "Unigram", "vocab": [*front, *kept, ["e", -8.9998], ["c", -8.9999], ["d", -9.0]]}
    other = {"type": "Unigram", "vocab": [*front, ["ab", -1.5 + 4e-11], ["d", -8.9998], ["e", -8.9999], ["c", -9.0],
                                          ["b", -9.0]]}  # fmt: skip
    assert (
        unigram.settled(one)
        == unigram.settled(other)
        == one | {"vocab": [*front, ["ab", -1.5], ["e", -8.9998], ["d", -8.9999], ["b", -9.0], ["c", -9.0]]}
    )


def test_options_that_need_miditok_go_through_it() -> None:
    assert built("remi", use_rests=True)._fast is None
    assert built("tsd", options={"use_pitch_intervals": True})._fast is None
