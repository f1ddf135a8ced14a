"""The NumPy path of the note tokenizers writes and reads what MidiTok's own encoders and decoders do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.contracts.piece import Piece
from datatools.reading.scores import read
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
    *(piece(seed, tpq=(480, 96, 1024)[seed % 3]) for seed in range(6)),
    *(in_meter(*meter) for meter in METERS[::3]),
]


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


def test_options_that_need_miditok_go_through_it() -> None:
    assert built("remi", use_rests=True)._fast is None
    assert built("tsd", options={"use_pitch_intervals": True})._fast is None
