"""The grid tells four voices of sixteenths exactly, names what is none, and gives the published baselines."""

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import symusic
import torch
from numpy.typing import NDArray

from core.contracts.grammar import Grammar
from core.contracts.tokenizer import Tokenizer
from core.errors import HubError
from datatools.reading.four_voices import SILENCE, VOICES, score_of, steps_of
from datatools.reading.scores import piece_from_score
from hparams.tokenizers.grid import GridHParams
from plugins.checks import tokenizer_laws
from plugins.laws.law import Law, parameters
from plugins.tokenizers import grid
from tests import abc_texts

DATA = Path(os.environ.get("SWAPTUNES_DATA", "/nonexistent")) / "jsb-chorales" / "jsb-chorales.tar.gz"


@pytest.mark.parametrize(*parameters(tokenizer_laws(grid.build, GridHParams()), {}))
def test_laws(law: Law) -> None:
    law()


def random_steps(seed: int, steps: int = 40) -> NDArray[np.int64]:
    """Pitches (s 4) with rests and long notes; something sounds in the last step."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(grid.LOWEST, grid.HIGHEST + 1, (steps, 4))
    drawn[rng.random((steps, 4)) < 0.2] = SILENCE
    for step in range(1, steps):
        held = rng.random(4) < 0.6
        drawn[step, held] = drawn[step - 1, held]
    drawn[-1, seed % 4] = 60
    return drawn


@pytest.mark.parametrize("seed", range(8))
def test_arrays_scores_and_ids_are_the_same_music(seed: int, tmp_path: Path) -> None:
    steps = random_steps(seed)
    score_of(steps).dump_midi(tmp_path / "steps.mid")
    piece = piece_from_score(symusic.Score(tmp_path / "steps.mid"), source="steps.mid")
    assert np.array_equal(steps_of(piece.score), steps)
    tokenizer = grid.build(GridHParams())
    ids = tokenizer.encode(piece)
    assert ids == [0 if pitch == SILENCE else int(pitch) - 35 for pitch in steps.ravel()]
    assert tokenizer.encode(tokenizer.decode(ids)) == ids
    heard = abc_texts.score(tokenizer.decode(ids).abc)  # notes that meet at one pitch stay apart
    assert sorted((n.time, n.pitch, n.duration) for track in heard.tracks for n in track.notes) == sorted(
        (n.time * 480 // piece.score.ticks_per_quarter, n.pitch, n.duration * 480 // piece.score.ticks_per_quarter)
        for track in piece.score.tracks
        for n in track.notes
    )


def test_a_chord_is_read_from_the_soprano_down() -> None:
    score = symusic.Score(480)
    for name, pitch in (("Bass", 48), ("Soprano", 72), ("Tenor", 55), ("Alto", 64)):
        track = symusic.Track(name=name, program=0, is_drum=False)
        track.notes.append(symusic.Note(0, 120, pitch, 80))
        score.tracks.append(track)
    tokenizer = grid.build(GridHParams())
    names = [tokenizer.token(id) for id in tokenizer.encode(piece_from_score(score))]
    assert names == ["pitch_72", "pitch_64", "pitch_55", "pitch_48"]
    for track in score.tracks:
        track.name = ""
    assert [tokenizer.token(id) for id in tokenizer.encode(piece_from_score(score))] == names  # then by mean pitch


@pytest.mark.parametrize(
    ("notes", "reason"),
    [
        ([[(0, 160, 60)]], "off the grid"),
        ([[(0, 240, 60), (120, 240, 62)]], "two notes at once at quarter 0.25"),
        ([[(0, 480, 35)]], "pitch 35; expected 36 to 81"),
        ([[(0, 480, 60 + part)] for part in range(5)], "5 parts"),
    ],
)
def test_other_music_is_refused_by_name(notes: list[list[tuple[int, int, int]]], reason: str) -> None:
    score = symusic.Score(480)
    for rows in notes:
        track = symusic.Track(name="", program=0, is_drum=False)
        for row in rows:
            track.notes.append(symusic.Note(*row, 80))
        score.tracks.append(track)
    with pytest.raises(ValueError, match=f"odd.mid: .*{reason}"):
        grid.build(GridHParams()).encode(piece_from_score(score, source="odd.mid"))
    score.tracks[0].is_drum = True
    with pytest.raises(ValueError, match=r"odd\.mid: it has drums"):
        grid.build(GridHParams()).encode(piece_from_score(score, source="odd.mid"))


@pytest.mark.parametrize(("bars", "length"), [(0, 0), (2, 0), (0, 4), (0, 30), (1, 100), (3, 100)])
def test_grammar_keeps_to_steps_bars_and_lengths(bars: int, length: int) -> None:
    tokenizer = grid.build(GridHParams())
    grammar = tokenizer.grammar(bars=bars, length=length)
    assert isinstance(tokenizer, Tokenizer) and isinstance(grammar, Grammar)
    state, tokens, sounds = grammar.begin(1), 0, False
    allowed = grammar.allowed(state)[0]
    while allowed[: grid.SYMBOLS].any() and tokens < 400:
        assert not allowed[[tokenizer.pad_id, tokenizer.bos_id]].any()
        assert bool(allowed[tokenizer.eos_id]) == (sounds and tokens % 4 == 0 and not bars)
        id = 0 if allowed[0] and tokens < 80 else 20  # silence as long as it is allowed
        state, tokens, sounds = grammar.advance(state, torch.tensor([id])), tokens + 1, sounds or id > 0
        allowed = grammar.allowed(state)[0]
    assert tokens == min(limit for limit in (64 * bars, length - length % 4, 400) if limit)
    assert sounds and allowed[tokenizer.eos_id]
    with pytest.raises(ValueError, match="one step alone takes 4"):
        tokenizer.grammar(length=3)


def test_a_saved_grid_is_recognized(tmp_path: Path) -> None:
    tokenizer = grid.build(GridHParams())
    tokenizer.save(tmp_path)
    (tmp_path / grid.FILE).write_text((tmp_path / grid.FILE).read_text().replace("81", "84"))
    with pytest.raises(HubError, match="another grid"):
        grid.build(GridHParams(), tmp_path)
    with pytest.raises(HubError, match="cannot be read"):
        grid.build(GridHParams(), tmp_path / "nothing")


def test_ids_by_hand() -> None:
    tokenizer = grid.build(GridHParams())
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id) == (50, 47, 48, 49)
    assert [tokenizer.token(id) for id in (0, 1, 46, 47, 49)] == ["silence", "pitch_36", "pitch_81", "pad", "eos"]
    up, down = tokenizer.transpose_table(5), tokenizer.transpose_table(-5)
    assert [up[id] for id in (0, 1, 41, 42, 46, 47)] == [0, 6, 46, -1, -1, 47]
    assert [down[id] for id in (0, 6, 5, 1, 46, 49)] == [0, 1, -1, -1, 41, 49]
    assert tokenizer.bar_starts([0] * 129) == [0, 64, 128] and tokenizer.bar_starts([0] * 128) == [0, 64]
    # what is no symbol is left out; a step cut short is filled with silence
    steps = steps_of(tokenizer.decode([-1, 25, 47, 20, 13, 999, 8, 25]).score)
    assert steps.tolist() == [[60, 55, 48, 43], [60, SILENCE, SILENCE, SILENCE]]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[NDArray[np.int64]]]:
    """The ids (s 4) of each chorale of each split."""
    if not DATA.is_file():
        pytest.skip("the published chorales are not here: set SWAPTUNES_DATA to the folder of jsb-chorales/")
    with tarfile.open(DATA) as archive:
        member: Any = archive.extractfile("jsb-chorales/Jsb16thSeparated.json")
        splits = json.load(member)
    tokenizer = grid.build(GridHParams())
    return {
        split: [
            np.array(tokenizer.encode(piece_from_score(score_of(np.array(steps))))).reshape(-1, 4) for steps in pieces
        ]
        for split, pieces in splits.items()
    }


def test_known_answers_of_the_published_chorales(published: dict[str, list[NDArray[np.int64]]]) -> None:
    """Counts, and an add-0.1 bigram of each voice: 0.934 and 0.983 nats per token, every token charged."""
    counts = {split: (len(pieces), sum(map(np.size, pieces))) for split, pieces in published.items()}
    assert counts == {"train": (229, 220_912), "valid": (76, 73_632), "test": (77, 75_600)}
    begin = grid.SYMBOLS
    seen = np.full((4, grid.SYMBOLS + 1, grid.SYMBOLS), 0.1)
    for steps in published["train"]:
        for voice in range(4):
            np.add.at(seen[voice], (np.r_[begin, steps[:-1, voice]], steps[:, voice]), 1)
    nats = -np.log(seen / seen.sum(2, keepdims=True))
    for split, expected, kept in (("valid", 0.934, 0.786), ("test", 0.983, 0.770)):
        total = sum(
            nats[voice, np.r_[begin, steps[:-1, voice]], steps[:, voice]].sum()
            for steps in published[split]
            for voice in range(len(VOICES))
        )
        assert total / counts[split][1] == pytest.approx(expected, abs=5e-4)
        same = [(steps[1:] == steps[:-1]).ravel() for steps in published[split]]
        assert np.concatenate(same).mean() == pytest.approx(kept, abs=5e-4)
