"""Small inputs of kinds that readers get wrong, against sounding notes worked out by hand from the formats' standards.

`small_music/expected.json` gives (onset, MIDI pitch, duration) in quarters, repeats written out, onset 0 at the first
bar's beginning. The MusicXML has no `<type>`: `<duration>` is what counts.
"""

import json
from pathlib import Path

import pytest

from datatools.abc import writer
from datatools.reading import scores

SMALL = Path(__file__).parent / "small_music"
EXPECTED = json.loads((SMALL / "expected.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
def test_it_is_read_as_it_is_written(name: str) -> None:
    score = scores.read(SMALL / name).score
    quarter = score.ticks_per_quarter
    notes = [[n.time / quarter, n.pitch, n.duration / quarter] for track in score.tracks for n in track.notes]
    assert sorted(notes) == EXPECTED[name]


def test_a_reason_names_the_line_of_the_file_and_of_the_tune() -> None:
    with pytest.raises(ValueError, match=r"line 14 \(line 5 of the tune\): '@4\|' is not ABC music"):
        scores.read(SMALL / "abc6_line_number_book.abc", 1)


@pytest.mark.parametrize("name", ["mido", "verovio", "abc2midi"])
def test_other_peoples_readers_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short form of `python -m tests.readers`, on files that every reader should read alike."""
    from tests import readers

    if name not in readers.installed():
        pytest.skip(f"{name}, which this compares with, is not installed")
    one = {name: readers.installed()[name]}
    monkeypatch.setattr(readers, "installed", lambda: one)
    music = Path(__file__).parent / "music"
    paths = [music / "band.mid", music / "two_spines.krn", music / "small.abc", SMALL / "kern4_nested_split.krn"]
    report = {pair: one["files"] for pair, one in readers.compare(paths).items() if pair.endswith(name)}
    assert report and all(list(files) == ["the same"] for files in report.values()), report


def test_a_triplet_in_ticks_that_cannot_tell_it_is_a_triplet() -> None:
    """1024 ticks a quarter: 341, 342 and 341 of them; a tick further off is no triplet."""
    assert "(3CDE" in scores.read(SMALL / "tok1_triplet_1024.mid").abc
    assert [writer._step(tick, 1024) for tick in (0, 340, 341, 342, 343, 683)] == [0, None, 8, 8, None, 16]
    assert [writer._step(tick, 480) for tick in (0, 1, 160, 161)] == [0, None, 8, None]
