"""How notes come to lie on the grid of REMI, TSD and their kin, on a few notes by hand."""

import logging

import numpy as np
import pytest
import symusic

from core.log import logger
from hparams.tokenizers.note_tokens import RemiHParams
from plugins.tokenizers.note_tokens.grid import Sections
from plugins.tokenizers.note_tokens.quantise import _stepped, quantise
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
    for without in ({"4": [3]}, {"8": [4, 6]}, {}):  # 4/4 holds where none is written
        with pytest.raises(ValueError, match=r"tokenizer\.time_signature_range is .*expected meters that include 4/4"):
            RemiHParams(time_signature_range=without)
    assert RemiHParams(time_signature_range={"4": [3]}, use_time_signatures=False).name == "remi"
    with caplog.at_level(logging.INFO):
        found = Sections(grid, [(0, (3, 4)), (3 * 480, (11, 16)), (6 * 480, (4, 4)), (10 * 480, (6, 8))], 480, source)
    assert caplog.messages == [f"{name}: the vocabulary has no meter 11/16; the bars before go on"]
    assert found.meters == [(3, 4), (4, 4), (3, 4)]  # six eighths are three quarters
    assert [start / grid.ticks for start in found.starts] == [0, 6, 10]


def test_a_score_on_the_grid_number_by_number() -> None:
    """96 ticks a quarter and 12 places: 8 ticks a place, of which 4 are half of one."""
    made = symusic.Score(96)
    made.time_signatures.append(symusic.TimeSignature(0, 4, 4))
    rows = [
        (3, 12, 40, 80),  # begins before half a place: at 0; lasts one place and a half: the shorter one
        (4, 13, 41, 80),  # half a place: at the next; more than one and a half: two
        (8, 48, 50, 90),  # two notes of one pitch and onset: the longer one, as loud as the louder
        (8, 96, 50, 40),
        (0, 384, 60, 70),  # the next note of its pitch begins a quarter later
        (96, 96, 60, 71),
        (192, 96, 20, 80),  # below the lowest pitch
    ]
    track = symusic.Track()
    for row in rows:
        track.notes.append(symusic.Note(*row))
    made.tracks.append(track)
    for tick, tempo in ((48, 100.0), (48, 61.0), (96, 133.0), (192, 134.0), (9999, 60.0)):
        made.tempos.append(symusic.Tempo(tick, tempo))
    for tick, fifths, mode in ((0, -3, 1), (48, 2, 0), (96, 2, 0)):
        made.key_signatures.append(symusic.KeySignature(tick, fifths, mode))
    grid = built("remi", use_velocities=True, num_velocities=127, use_tempos=True, use_key_signatures=True).grid
    found = quantise(made, grid)
    assert found.ticks_per_quarter == 24
    assert [(n.time, n.duration, n.pitch, n.velocity) for n in found.tracks[0].notes] == [
        (0, 2, 40, 80),
        (0, 24, 60, 70),
        (2, 4, 41, 80),
        (2, 24, 50, 90),
        (24, 24, 60, 71),
    ]
    # 120 until the first is told; of two at one tick the later one; steps of 5; 134 is where nothing sounds any more
    assert [(mark.time, round(mark.qpm)) for mark in found.tempos] == [(0, 120), (12, 60), (24, 135)]
    assert [(mark.time, mark.key, mark.tonality) for mark in found.key_signatures] == [(0, -3, 1), (12, 2, 0)]


def test_notes_longer_than_any_duration_are_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    made = score([(0.0, 12.0, 60), (12.0, 12.5, 62), (30.0, 99.0, 64)])
    with caplog.at_level(logging.INFO):
        found = quantise(made, built("tsd").grid, "long.mid")
    assert caplog.messages == ["long.mid: 2 notes are longer than any duration of the vocabulary"]
    assert [note.duration / found.ticks_per_quarter for note in found.tracks[0].notes] == [12, 12, 12]


def test_pedals_and_bends_keep_their_places_and_lengths() -> None:
    """From 480 ticks a quarter to 24, of which 2 are a place: a pedal's two ends each go to the nearest one."""
    made = score([(quarter, 1.0, 60) for quarter in range(16)])
    for time, duration in ((960, 960), (4800, 1920), (5779, 700), (7000, 5)):
        made.tracks[0].pedals.append(symusic.Pedal(time, duration))
    for time, value in ((4825, 100), (5760, -200)):
        made.tracks[0].pitch_bends.append(symusic.PitchBend(time, value))
    grid = built("tsd", options={"use_sustain_pedals": True, "use_pitch_bends": True}).grid
    found = quantise(made, grid)
    assert found.ticks_per_quarter == 24
    track = found.tracks[0]
    # 5779 is 144.475 places, 6479 is 161.975; one of no length lasts a tick
    assert [(pedal.time, pedal.duration) for pedal in track.pedals] == [(48, 48), (240, 96), (288, 36), (350, 1)]
    assert [(bend.time, bend.value) for bend in track.pitch_bends] == [(242, 100), (288, -200)]
