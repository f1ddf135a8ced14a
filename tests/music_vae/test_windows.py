"""Windows: the same whoever asks, whole bars, every token of a split once where nothing is learned."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hparams.base import AugmentHParams
from plugins.manager import load_manager
from supervisors.music_vae.windows import Windows, tiles

LENGTHS = [70, 5, 33, 16]
BAR = 16


class Made:
    """Pieces whose ids count from 0, so that a token tells its place."""

    folder = Path()

    def lengths(self, split: str) -> np.ndarray:
        return np.array(LENGTHS)

    def pieces(self, split: str) -> list[None]:
        return [None] * len(LENGTHS)

    def ids(self, split: str, k: int) -> np.ndarray:
        return np.arange(LENGTHS[k])


def windows(batch_size: int = 4, accumulate: int = 1, transpose: int = 0, seed: int = 1) -> Windows:
    tokenizer = load_manager().make("tokenizer", load_manager().section("tokenizer", "melody"))
    return Windows(
        Made(),
        tokenizer,
        bars=2,
        bar_tokens=BAR,
        latent=3,
        batch_size=batch_size,
        accumulate=accumulate,
        seed=seed,
        augment=AugmentHParams(transpose=transpose),
    )


def test_a_window_is_whole_bars_of_a_piece_and_padding() -> None:
    made = windows()
    assert made.steps_per_epoch == 2, "3 + 1 + 2 + 1 windows"
    begins = set()
    for step in range(30):
        batch = made.batch(step, 0, 0, 1)
        assert batch["ids"].shape == (4, 32) and batch["noise"].shape == (4, 3) and batch["chance"].shape == (2, 4, 32)
        for ids, targets in zip(batch["ids"], batch["targets"], strict=True):
            music = targets[targets >= 0]
            assert len(music) == int((targets >= 0).int().cumprod(0).sum()) and torch.equal(ids[: len(music)], music)
            assert int(music[0]) % BAR == 0 and (music.diff() == 1).all() and (ids[len(music) :] == 130).all()
            begins.add((int(music[0]) // BAR, len(music)))
    # of 70: from bars 0 to 3; of 33: from 0 and 1; the others whole
    assert begins == {(0, 32), (1, 32), (2, 32), (3, 22), (1, 17), (0, 5), (0, 16)}


def test_rows_do_not_depend_on_how_they_are_dealt_out() -> None:
    whole = windows().batch(3, 0, 0, 1)
    for key in ("ids", "targets", "noise"):
        parts = [windows(accumulate=2).batch(3, micro, replica, 2)[key] for micro in (0, 1) for replica in (0, 1)]
        assert torch.equal(torch.cat(parts), whole[key])
    assert int(whole["step"]) == 3
    other = windows(seed=2).batch(3, 0, 0, 1)
    assert not any(torch.equal(other[key], whole[key]) for key in ("ids", "noise", "chance")), "each by its seed"
    later = windows().batch(4, 0, 0, 1)
    assert not any(torch.equal(later[key], whole[key]) for key in ("noise", "chance")), "and by its step"
    assert windows().counted(3) == int((whole["targets"] >= 0).sum())


def test_every_epoch_takes_each_piece_as_often_as_covers_it() -> None:
    made = windows(batch_size=7)
    for epoch in (0, 5):
        lengths = sorted((made.batch(epoch, 0, 0, 1)["targets"] >= 0).sum(1).tolist())
        assert lengths.count(5) == 1 and lengths.count(16) == 1


def test_transposed_windows_are_of_the_transposed_piece() -> None:
    shifts = {int(ids[0]) % BAR for step in range(20) for ids in windows(transpose=3).batch(step, 0, 0, 1)["ids"]}
    assert shifts > {0}


@pytest.mark.parametrize("limit", [None, 1, 60])
def test_tiles_tell_every_token_once(limit: int | None) -> None:
    found: dict[int, list[int]] = {}
    for batch in tiles(Made(), "valid", 32, 130, limit):
        for (piece, begin), targets in zip(batch["places"], batch["targets"], strict=True):
            music = targets[targets >= 0].tolist()
            assert music[0] == begin
            found.setdefault(piece, []).extend(music)
    assert all(ids == list(range(LENGTHS[piece])) for piece, ids in found.items())
    assert len(found) == {None: 4, 1: 1}.get(limit, len(found)) and found
