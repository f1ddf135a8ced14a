"""Known answers on real music, which is not part of this repository.

`SWAPTUNES_DATA` names a folder with jsb-chorales, pop909 and polyphonic-quartet, unpacked or as archives; without it
these tests are skipped.
"""

import json
import os
import tarfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import symusic

from datatools.preparing.duplicates import exact_key, sketch
from datatools.preparing.ledger import Ledger
from datatools.preparing.splits import Candidate, assign
from datatools.reading.canonical import canonical
from plugins.metrics.originality import originality
from plugins.metrics.overlap_area import FEATURES, agreement, distances, features, overlap_area, within
from plugins.metrics.parts.notes import Notes, notes_of
from plugins.metrics.pitch import pitch_class_entropy, pitch_classes_used, pitch_range, pitches_used, scale_consistency
from plugins.metrics.polyphony import polyphony, polyphony_rate
from plugins.metrics.rhythm import empty_beat_rate, groove_consistency
from plugins.metrics.roll_surprise import (
    Roll,
    key_shares,
    key_transitions,
    per_step,
    roll_surprise,
    surprise,
    surprise_of_changes,
)

MEASURES: tuple[Callable[[Notes], Any], ...] = (
    pitch_class_entropy,
    scale_consistency,
    groove_consistency,
    empty_beat_rate,
    polyphony,
    polyphony_rate,
    pitches_used,
    pitch_classes_used,
    pitch_range,
)
# Means over pieces; of the first three also the population deviation. (The mean of 77 counts of pitch
# classes, 812 / 77, is 10.545; it has been printed as 10.546, rounded twice.)
CHORALES = {
    "train": (229, "3.0291 .9250 .8020 .0002 3.9195 .9979 26.856 10.502 34.777", ".1053 .0380 .0509"),
    "valid": (76, "3.0256 .9270 .8033 .0008 3.9134 .9929 26.329 10.342 34.211", ".1137 .0398 .0598"),
    "test": (77, "3.0259 .9297 .8023 .0000 3.9231 .9965 26.818 10.545 34.351", ".1019 .0347 .0483"),
}
SONGS = (909, "2.8172 .9650 .9253 .0086 3.7712 .7495 36.746 9.385 53.347", ".2049 .0553 .0407")
# Overlap area and the divergence as the toolbox samples it and on one grid.
OVERLAPS = {
    "used_pitches": (".9160", ".04990", ".00933"),
    "pitch_range": (".8814", ".01056", ".01056"),
    "pitch_class_histogram": (".9707", ".00556", ".00242"),
    "note_count": (".9171", ".08368", ".01469"),
    "inter_onset_interval": (".8176", ".01772", ".01706"),
}
# Nats a step: all steps, without the first ones, mean of pieces' means, first-order Markov.
ROLLS = {
    "JSB_Chorales": ("11.0614", "11.0925", "11.005", "10.4907"),
    "Nottingham": ("10.2519", "10.2608", "10.116", "5.1531"),
    "MuseData": ("11.5097", "11.5142", "10.554", "8.5594"),
    "Piano_midi": ("11.0455", "11.0517", "11.385", "8.2648"),
}

# Pieces and steps of training, validation and test.
COUNTS = {
    "JSB_Chorales": ((229, 76, 77), (13_807, 4_602, 4_725)),
    "Nottingham": ((694, 173, 170), (176_561, 45_513, 44_463)),
    "MuseData": ((524, 135, 124), (245_202, 82_755, 64_339)),
    "Piano_midi": ((87, 12, 25), (75_911, 8_540, 19_036)),
}
LOWEST = 35  # one below the lowest pitch of the chorales: the symbol of silence
SYMBOLS = 47


def files(name: str, ending: str) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of all files of a set whose path ends so; skips the test where the set is not there."""
    if not os.environ.get("SWAPTUNES_DATA"):
        pytest.skip("SWAPTUNES_DATA names no folder of real music")
    folder = Path(os.environ["SWAPTUNES_DATA"]) / name
    archive = folder / f"{name}.tar.gz"
    found = 0
    if archive.is_file():
        with tarfile.open(archive) as members:
            for member in members:
                if member.isfile() and member.name.endswith(ending):
                    content = members.extractfile(member)
                    assert content is not None
                    found += 1
                    yield member.name, content.read()
    else:
        for path in sorted(folder.rglob(f"*{ending}")):
            found += 1
            yield str(path), path.read_bytes()
    if not found:
        pytest.skip(f"SWAPTUNES_DATA has no {name}/**/*{ending}")


@lru_cache(maxsize=1)
def steps() -> dict[str, list[np.ndarray]]:
    """The published sixteenths (t 4) of the chorales, -1 for silence."""
    _, content = next(iter(files("jsb-chorales", "Jsb16thSeparated.json")))
    return {split: [np.array(rows, dtype=int) for rows in held] for split, held in json.loads(content).items()}


@lru_cache(maxsize=1)
def chorales() -> dict[str, list[symusic.Score]]:
    """The published split; runs of equal pitch in a voice are one note, a sixteenth is one tick."""
    return {split: [chorale(rows) for rows in held] for split, held in steps().items()}


def chorale(steps: np.ndarray) -> symusic.Score:
    made = symusic.Score(4)
    for voice in steps.T:
        bounds = np.concatenate([[0], np.flatnonzero(np.diff(voice)) + 1, [len(voice)]])
        track = symusic.Track(name="", program=0, is_drum=False)
        for begin, end in pairwise(bounds):
            if voice[begin] >= 0:
                track.notes.append(symusic.Note(int(begin), int(end - begin), int(voice[begin]), 80))
        made.tracks.append(track)
    return made


def to_digits(found: float, told: str) -> bool:
    """Whether a figure is, to the digits that were told, what was told."""
    return round(found, len(told.partition(".")[2])) == float(told)


def check(pieces: list[Notes], expected: tuple[int, str, str]) -> None:
    count, means, deviations = expected
    assert len(pieces) == count
    values = np.array([[measure(notes) for notes in pieces] for measure in MEASURES], dtype=float)
    for measure, row, told in zip(MEASURES, values, means.split(), strict=True):
        assert to_digits(row.mean(), told), (measure.__name__, row.mean(), told)
    for measure, row, told in zip(MEASURES, values, deviations.split(), strict=False):
        assert to_digits(row.std(), told), (measure.__name__, row.std(), told)


@pytest.mark.parametrize("split", CHORALES)
def test_measures_of_the_chorales(split: str) -> None:
    check([notes_of(score, 4) for score in chorales()[split]], CHORALES[split])


def test_measures_of_the_songs() -> None:
    read = dict(files("pop909", ".mid"))
    main = [name for name in read if "versions" not in name]
    check([notes_of(symusic.Score.from_midi(read[name])) for name in main], SONGS)


def test_overlap_of_the_chorales() -> None:
    valid, test = ([notes_of(score, 4) for score in chorales()[split]] for split in ("valid", "test"))
    for name, told in OVERLAPS.items():
        a, b = features(valid, name), features(test[:76], name)
        found = agreement(within(distances(a, a)), distances(a, b).ravel())
        assert set(OVERLAPS) == set(FEATURES)
        assert all(map(to_digits, found.values(), told)), (name, found)
    # The ceiling: real music against real music.
    assert 0.85 < overlap_area(chorales()["test"], chorales()["valid"])["value"] < 0.95


@pytest.mark.parametrize("name", ROLLS)
def test_surprise_of_piano_rolls(name: str) -> None:
    scipy = pytest.importorskip("scipy.io")
    from io import BytesIO

    _, content = next(iter(files("polyphonic-quartet", f"{name}.mat")))
    held = scipy.loadmat(BytesIO(content))
    splits = [[np.asarray(r, dtype=bool) for r in held[f"{key}data"][0]] for key in ("train", "valid", "test")]
    assert tuple(tuple(map(f, splits)) for f in (len, lambda rolls: sum(map(len, rolls)))) == COUNTS[name]
    training, _, test = splits
    rolls: list[Roll] = test
    each = [surprise(roll, key_shares(training)) for roll in rolls]
    changes = [surprise_of_changes(roll, key_transitions(training)) for roll in rolls]
    found = (
        per_step(each),
        per_step([nats[1:] for nats in each]),
        float(np.mean([nats.mean() for nats in each])),
        per_step(changes),
    )
    assert all(map(to_digits, found, ROLLS[name])), found


@pytest.mark.parametrize(("split", "told"), [("valid", ".710"), ("test", ".743")])
def test_whether_a_voice_stays_depends_on_the_place_in_the_bar(split: str, told: str) -> None:
    """Nats a token: the chance to stay by voice and sixteenth of the bar, else a bigram; 0.1 added to all counts."""
    symbols = {name: [np.maximum(piece - LOWEST, 0) for piece in pieces] for name, pieces in steps().items()}
    stays = np.full((4, 16, 2), 0.1)
    moves, first = np.full((4, SYMBOLS, SYMBOLS), 0.1), np.full((4, SYMBOLS), 0.1)
    moves[:, range(SYMBOLS), range(SYMBOLS)] = 0.0

    def parts(piece: np.ndarray, voice: int) -> tuple[np.ndarray, ...]:
        before, after = piece[:-1, voice], piece[1:, voice]
        return before, after, np.arange(1, len(piece)) % 16, (before == after).astype(int)

    for piece in symbols["train"]:
        for voice in range(4):
            before, after, place, same = parts(piece, voice)
            first[voice, piece[0, voice]] += 1
            np.add.at(stays[voice], (place, same), 1)
            np.add.at(moves[voice], (before[same == 0], after[same == 0]), 1)
    stays, moves, first = (table / table.sum(-1, keepdims=True) for table in (stays, moves, first))
    nats, tokens = 0.0, 0
    for piece in symbols[split]:
        tokens += piece.size
        for voice in range(4):
            before, after, place, same = parts(piece, voice)
            chances = stays[voice, place, same] * np.where(same == 1, 1.0, moves[voice, before, after])
            nats -= np.log(chances).sum() + np.log(first[voice, piece[0, voice]])
    assert to_digits(nats / tokens, told), nats / tokens


def test_transpositions_within_the_ranges_of_the_voices() -> None:
    """Of twelve keys each, down to six semitones below and up to five above."""
    pieces = steps()["train"]
    low = np.array([np.where(piece < 0, 127, piece).min(0) for piece in pieces])
    high = np.array([piece.max(0) for piece in pieces])
    down, up = (low - low.min(0)).min(1).clip(max=6), (high.max(0) - high).min(1).clip(max=5)
    assert int((down + up + 1).sum()) == 1633


def test_a_chorale_is_as_surprising_as_its_roll() -> None:
    splits = chorales()
    found = roll_surprise(splits["test"], splits["valid"], training=splits["train"])
    assert 10 < found["value"] < 12 and found["n"] == 77
    assert abs(found["value"] - found["reference"]["value"]) < 0.5


def test_minor_scales_are_major_scales() -> None:
    """The largest share of notes in one of 24 scales is that in one of 12."""
    minor = np.array([1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0])
    draws = np.random.default_rng(0)
    for _ in range(20):
        pitch = draws.integers(30, 90, 40)
        onset = np.arange(40) * 12
        shares = [np.roll(minor, root)[pitch % 12].mean() for root in range(12)]
        assert scale_consistency(Notes(onset, onset + 12, pitch)) == pytest.approx(max(shares))


def test_parameters_of_folk_rnn() -> None:
    """One-hot words into three layers of 512, as published with one bias vector and as torch has two."""
    from torch import nn

    layers, softmax = nn.LSTM(137, 512, 3), nn.Linear(512, 137)
    counts = [sum(weight.numel() for weight in part.parameters()) for part in (layers, softmax)]
    second_biases = sum(weight.numel() for name, weight in layers.named_parameters() if name.startswith("bias_hh"))
    assert (counts[1], sum(counts), sum(counts) - second_biases) == (70_281, 5_606_025, 5_599_881)


def test_takes_of_a_song_land_with_it() -> None:
    """Without being told which belong together, as in a folder of somebody's own."""
    read = {**dict(files("pop909", ".mid")), **dict(files("pop909-versions", ".mid"))}
    candidates, song = [], {}
    for path, content in read.items():
        try:
            score = canonical(symusic.Score.from_midi(content), path)
        except ValueError:
            continue  # one of the takes has no note
        name = path.partition("POP909/")[2]
        song[name] = name[:3]
        candidates.append(Candidate(name, exact_key(score), sketch(score)))
    verdicts, _ = assign(candidates, Ledger())
    sides = {candidate.name: verdict.side for candidate, verdict in zip(candidates, verdicts, strict=True)}
    takes = [name for name in sides if "versions" in name]
    main = {name[:3]: sides[name] for name in sides if "versions" not in name}
    assert len(takes) == 1988 and len(main) == 909
    together = sum(sides[name] == main[song[name]] for name in takes) / len(takes)
    # Two thirds would be together by luck: it must be likeness that did it.
    known = {c.name: {song[elder.name] for elder in v.elders} for c, v in zip(candidates, verdicts, strict=True)}
    followed = {
        e.name for c, v in zip(candidates, verdicts, strict=True) for e in v.elders if song[e.name] == c.name[:3]
    }
    recognized = sum(song[name] in known[name] or name in followed for name in takes) / len(takes)
    strangers = {frozenset((song[name], other)) for name, others in known.items() for other in others - {song[name]}}
    print(f"{together:.4f} of {len(takes)} takes on their song's side, {recognized:.4f} known by likeness; "
          f"{len(strangers)} pairs of songs taken for one another")  # fmt: skip
    assert together >= 0.95 and recognized >= 0.95 and len(strangers) <= 9


def test_held_out_chorales_are_not_taken_for_copies() -> None:
    splits = chorales()
    held_out = originality(splits["test"], splits["valid"], training=splits["train"])
    assert held_out["flagged"]["value"] <= 0.05 and held_out["n"] == 77
    copies = originality(splits["train"][:10], splits["valid"], training=splits["train"])
    assert copies["flagged"]["value"] == 1.0 and copies["value"] == 0.0
