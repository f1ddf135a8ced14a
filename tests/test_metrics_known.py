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

from datatools.canonical import canonical
from datatools.duplicates import exact_key, sketch
from datatools.ledger import Ledger
from datatools.splits import Candidate, assign
from plugins.metrics.notes import Notes, notes_of
from plugins.metrics.originality import originality
from plugins.metrics.overlap_area import FEATURES, agreement, distances, features, overlap_area, within
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
def chorales() -> dict[str, list[symusic.Score]]:
    """The published split; runs of equal pitch in a voice are one note, a sixteenth is one tick."""
    _, content = next(iter(files("jsb-chorales", "Jsb16thSeparated.json")))
    return {split: [chorale(np.array(rows, dtype=int)) for rows in held] for split, held in json.loads(content).items()}


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
    training, test = ([np.asarray(r, dtype=bool) for r in held[key][0]] for key in ("traindata", "testdata"))
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


def test_a_chorale_is_as_surprising_as_its_roll() -> None:
    splits = chorales()
    found = roll_surprise(splits["test"], splits["valid"], training=splits["train"])
    assert 10 < found["value"] < 12 and found["n"] == 77
    assert abs(found["value"] - found["reference"]["value"]) < 0.5


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
