"""How notes come to lie on the grid of REMI, TSD and their kin, on a few notes by hand."""

import logging

import numpy as np
import pytest

from core.log import logger
from plugins.tokenizers.note_tokens.quantise import Sections, _stepped, quantise
from tests.made_scores import score
from tests.odd_pieces import built


@pytest.mark.parametrize(
    ("times", "moved", "late"),
    [
        ([0, 4, 8], [0, 4, 8], False),
        ([0, 0, 1, 4], [0, 0, 1, 3], False),  # a gap of 3 lies between 2 and 4: the first is taken, as in MidiTok
        ([2, 3], [2, 3], False),
        ([9, 0, 5, 30], [8, 0, 4, 12], True),  # 5 is told as 4, and so what follows is due one earlier
    ],
)
def test_each_onset_is_a_shift_of_1_2_or_4_behind_the_last(
    times: list[int], moved: list[int], late: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level(logging.INFO):
        found = _stepped(np.array(times), np.array([1, 2, 4]), "odd.mid")
    assert found.tolist() == moved
    assert caplog.messages == ["odd.mid: silence longer than any shift of the vocabulary is shortened"] * late


def test_programs_without_durations_have_the_default() -> None:
    """Half a beat, as MidiTok's default_note_duration has it."""
    made = score([(0.0, 2.0, 60)], [(0.0, 2.0, 64)], [(1.0, 1.0, 38)], drums=(2,))
    made.tracks[1].program = 5
    for timed, durations in (([0], [2.0, 0.5, 0.5]), ([0, 5, -1], [2.0, 2.0, 1.0])):
        grid = built("tsd", use_programs=True, options={"use_note_duration_programs": timed}).grid
        found = quantise(made, grid)
        assert [track.notes[0].duration / found.ticks_per_quarter for track in found.tracks] == durations


@pytest.mark.parametrize(("source", "name"), [("odd.mid", "odd.mid"), ("", "a score")])
def test_a_meter_that_the_vocabulary_has_not_is_said(
    source: str, name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    grid = built("remi", time_signature_range={"4": [3, 4]}).grid
    with caplog.at_level(logging.INFO):
        found = Sections(grid, [(0, (3, 4)), (3 * 480, (11, 16)), (6 * 480, (4, 4)), (10 * 480, (6, 8))], 480, source)
    assert caplog.messages == [f"{name}: the vocabulary has no meter 11/16; the bars before go on"]
    assert found.meters == [(3, 4), (4, 4), (3, 4)]  # six eighths are three quarters
    assert [start / grid.ticks for start in found.starts] == [0, 6, 10]
