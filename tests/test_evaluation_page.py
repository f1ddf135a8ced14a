"""The page of an evaluation and its pictures, from results that were made up by hand."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import symusic

from plugins.metrics.parts.intervals import share
from supervisors.evaluation.page import page as pages
from supervisors.evaluation.page import plots
from supervisors.evaluation.page.copies import leakage, originality
from supervisors.evaluation.page.loss import loss, tokenizer
from supervisors.evaluation.round_trip import round_trip
from tests.made_scores import line, score

PRICE = math.log(128 * 129 * 48 * 48)  # of a note that is not told


def figure(value: float, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": value - 0.125, "high": value + 0.125, "n": 9, "failures": 0, **more}


def split(nats: float, pieces: int = 9, told: int = 1000) -> dict[str, Any]:
    floor = {"nats_per_note": 4.0, "order": 5, "kinds": {"pitch": 2.5, "onset": 1.5}}
    return {
        "nats_per_note": nats, "nats_per_note_interval": [nats - 0.25, nats + 0.25], "nats_per_token": 0.98765,
        "bits_per_second": 12.345, "pieces": pieces, "notes": 1000, "notes_told": told, "tokens": 3456,
        "kinds": {"pitch": 2.0, "other": 1.0}, "baselines": {"ngram": floor, "unigram": {"nats_per_note": 3.5}},
        "depths": [[0, 4.0, 20], [1, 3.0, 40], [3, 2.0, 19]],
    }  # fmt: skip


def result(**more: Any) -> dict[str, Any]:
    rows = {"generated": figure(0.5), "real": figure(0.75), "ngram": figure(0.25)}
    metric = {"headline": True, "higher_is_better": True, "unit": "share", "meaning": "M.", "rows": rows}
    flagged = {"copies": False, "flagged": {"count": 1, "n": 9}}
    return {
        "valid": split(3.0), "test": split(2.8), "metrics": {"over_lap": metric}, "copying": {"generated": flagged},
        "leakage": {"test": {"with_twin": 1, "pieces": 9}, "valid": {"with_twin": 2, "pieces": 9}}, **more,
    }  # fmt: skip


def test_what_a_person_in_a_hurry_should_know() -> None:
    lines = pages._in_short(result()).splitlines()
    assert lines == [  # 2.8 is a fifth below the unigram's 3.5, the better of the two
        "- **2.800 nats per note**, 20% below the better of unigram and n-gram, on 9 test pieces.",
        "- Over lap 0.500 [0.375, 0.625]; the n-gram's is 0.250 [0.125, 0.375], real music's 0.750 [0.625, 0.875].",
        "- Originality: no sign of copying (1 of 9 pieces flagged).",
        "- 1 of 9 test pieces has a near twin in training.",
    ]
    charged = pages._in_short(result(test=split(3.8, told=900))).splitlines()
    better = 100 * ((3.8 + PRICE / 10) / (3.5 + PRICE / 10) - 1)
    assert charged[0] == (
        f"- **{3.8 + PRICE / 10:.3f} nats per note**, {better:.0f}% above the better of unigram and n-gram, on 9 test "
        "pieces."
    )
    assert charged[1].startswith("- 90.0% of the notes are told; each of the others costs 17.45 nats")
    assert charged[1].endswith("Below they go free: 3.800.")
    few = pages._in_short(result(test=split(2.8, pieces=7)))
    assert "Fewer than 8 tested pieces: no measure" in few and "Over lap" not in few
    flagged = {"generated": {"copies": True, "flagged": {"count": 5, "n": 9}}}
    assert "- **Originality: the model copies (5 of 9 pieces flagged).**" in pages._in_short(result(copying=flagged))


@pytest.mark.parametrize(
    ("mine", "real", "tested", "apart"),
    [
        (0.5, 1.0, 0.9, True),
        (1.5, 1.0, 0.9, True),
        (0.5, 1.0, 0.6, False),  # it meets one of the two
        (0.95, 1.25, 0.5, False),  # between them
        (0.5, 0.75, None, False),  # at a bound
        (0.5, 0.76, None, True),
    ],
)
def test_unlike_real_music_is_what_meets_neither_interval(
    mine: float, real: float, tested: float | None, apart: bool
) -> None:
    own = figure(mine, **({"reference": figure(tested)} if tested is not None else {}))
    rows = {"generated": own, "real": figure(real)}
    assert pages._apart({"rows": rows}) is apart
    assert not pages._apart({"rows": {**rows, "real": figure(real, n=7)}})
    assert not pages._apart({"rows": {**rows, "generated": own | {"low": None, "high": None}}})
    said = pages._in_short(result(metrics={"a_b": {"headline": False, "rows": rows}}))
    assert ("neither its own nor the test pieces', in: a b." in said) is apart


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in text.splitlines() if row.startswith("|")]


def test_losses_stand_under_their_heads() -> None:
    head, _, valid, test = cells(loss(result())[1])
    assert dict(zip(head, test, strict=True)) == {
        "split": "test", "nats per note": "**2.800** [2.550, 3.050]", "nats per token": "0.9877",
        "bits per second": "12.35", "n-gram, per note": "4.000 (order 5)", "unigram, per note": "3.500", "pieces": "9",
        "notes": "1,000", "tokens": "3,456",
    }  # fmt: skip
    assert valid[:2] == ["valid", "**3.000** [2.750, 3.250]"]
    kinds = cells(loss(result())[3])
    assert [kinds[0], *kinds[2:]] == [
        ["test, nats per note", "pitch", "onset", "other"], ["model", "2.000", "0.000", "1.000"],
        ["n-gram", "2.500", "1.500", "0.000"],
    ]  # fmt: skip
    alone = result(valid=split(3.0, pieces=7))
    del alone["test"]
    parts = loss(alone)
    assert cells(parts[1])[2][1] == "**3.000**" and parts[3].startswith("There is no test split.")
    assert cells(parts[4])[0][0] == "validation, nats per note" and "told step by step" not in parts[5]
    told = {"notes": 400, "notes_not_told": 10, "notes_added": 3, "onset_shift_quarters": 0.02, "pieces": 7}
    told |= {"duration_shift_quarters": 0.5, "velocity_shift": 3.25, "failures": 2}
    for velocity, shown in (("kept", "3.2 steps"), ("constant", "-")):
        found = tokenizer({**told, "information": {"velocity": velocity, "tempo": "lost"}}, "validation")
        assert cells(found[1])[2] == ["400", "10 (2.50%)", "3", "0.0200 quarters", "0.5000 quarters", shown, "7", "2"]
        assert found[2].startswith(f"Validation pieces to tokens and back. Also: velocity {velocity}, tempo lost (")


def test_measures_stand_under_their_rows_and_failures_are_named() -> None:
    rows = {"generated": figure(0.5, n=8, failures=1, reference=figure(0.9)), "ngram": {"error": "KeyError: x"}}
    metrics = {
        "over_lap": {"higher_is_better": False, "unit": "bits", "rows": rows},
        "entropy": {"higher_is_better": None, "unit": "bits", "rows": {**rows, "real": figure(0.7)}},
    }
    compared, described, _, failed = pages._measured(metrics, pages.ROWS, "test")
    assert cells(compared)[0] == ["compared with the test pieces", "better", *pages.ROWS.values(), "n"]
    assert cells(compared)[2:] == [
        ["over lap (bits)", "lower", "0.500 [0.375, 0.625]", "-", "-", "failed", "8 (1 failed)"]
    ]
    assert cells(described)[2:] == [
        ["entropy (bits)", "0.900 [0.775, 1.025]", "0.500 [0.375, 0.625]",
         "0.700 [0.575, 0.825] (n = 9)", "-", "failed", "8 (1 failed)"]
    ]  # fmt: skip
    assert failed == "Metrics that failed: `over_lap` (n-gram): KeyError: x; `entropy` (n-gram): KeyError: x."
    asked = {"temperature": 0.9, "top_p": 0.95, "top_k": 5, "min_p": 0.02, "seed": 3}
    assert pages._sampling(asked) == "temperature 0.9, top-p 0.95, top-k 5, min-p 0.02, seed 3"
    assert pages._sampling({**asked, "top_k": 0, "min_p": 0.0}) == "temperature 0.9, top-p 0.95, seed 3"


def test_what_was_made_is_told_with_its_counts_and_how_it_was_drawn() -> None:
    asked = {"temperature": 1.0, "top_p": 0.98, "top_k": 0, "min_p": 0.0, "seed": 4}
    made = {"generated": {"n": 9, "ended": 6, "undecodable": 2, "empty": 1}, "tokens": 1234, "beats": 64.0}
    given = result(made=made | {"real": "2 validation pieces"}, settings={"generate": asked})
    given |= {"steps": 1200, "tokens_seen": 98765, "prompted": {"n": 1, "beats": 16.0}}
    words = pages._music(given, ["generated_0.png", "distances.png"])
    assert words[1].startswith(
        "9 pieces of at most 1,234 tokens, drawn as `generate` draws (temperature 1, top-p 0.98, seed 4); 6 came to an "
        "end by themselves, 2 could not be decoded, 1 had no note. They lie in `generated/`. All pieces, real ones "
        "too, are measured in their first 64 beats."
    )
    assert "(2 validation pieces measured against the test pieces)" in words[2]
    assert words[-2:] == ["![generated_0.png](generated_0.png)", "![Measures that compare sets](distances.png)"]
    assert pages._trained(given) == "1,200 steps, 98,765 tokens seen; " and pages._trained(result()) == ""
    few = "Fewer than two test pieces are long enough to be continued after 16 beats."
    assert pages._continuations(given) == ["## Continuations", few]
    given["prompted"] = {"n": 5, "beats": 16.0, "metrics": given["metrics"]}
    told = pages._continuations(given)
    assert told[1].startswith("5 test pieces, continued from their first 16 beats up to beat 64, against how they do")
    assert cells(told[2])[0] == ["compared with the test pieces", "better", "model", "another piece's", "n-gram", "n"]
    assert pages._meanings(given)[1] == "- **over lap** (share): M."


def test_twins_and_copies_are_told_with_their_counts() -> None:
    def twins(count: int) -> list[dict[str, Any]]:
        return [{"source": f"s{k}", "training": f"t{k}", "similarity": 0.5} for k in range(count)]

    def side(pieces: int, count: int, clean: float | None) -> dict[str, Any]:
        return {"pieces": pieces, "with_twin": count, "nats_per_note_without": clean, "twins": twins(count)}

    found = {"near_duplicates": 1, "left_out": 2, "valid": side(1200, 0, None), "test": side(9, 1, 2.5)}
    _, words, rows, named = leakage(found)
    assert "1 piece joined an elder, 2 that are near to pieces on two sides were left out" in words
    assert cells(rows)[2:] == [["valid", "1,200", "0", "-"], ["test", "9", "1", "2.500"]]
    assert named == "Twins: s0 is near t0 (0.50)."
    one = {"flagged": share(20, 40), "copies": True, "expected_flagged": 0.4, "p_value": 0.00123}
    one |= figure(0.9, longest_run=figure(12.0))
    near = {"run": 6, "steps": 8, "training": "t.mid", "from": 1.0, "to": 2.5, "training_from": 30, "training_to": 31.5}
    one["nearest"] = [
        near | {"piece": 3, "title": "Tune", "percentile": 0.999, "flagged": True},
        near | {"piece": 4, "title": "", "percentile": None, "flagged": False},
        near | {"piece": 5, "title": "", "training": None, "percentile": 0.1, "flagged": False},
    ]
    parts = originality({"humans": 7, "rule": "R", "generated": one, "ngram": {"n": 0}})
    assert (
        "tried on nobody, as there are no test pieces" in parts[1]
        and "R; the rule is set by 7 human pieces" in parts[1]
    )
    assert cells(parts[2])[2:] == [
        ["model", "20 of 40 [0.352, 0.648]", "0.4", "0.00123", "**copies**", "0.900 [0.775, 1.025]",
         "12.00 [11.88, 12.12]"]
    ]  # fmt: skip
    assert cells(parts[5])[2:] == [
        ["3", "6", "75%", "Tune (t.mid)", "1 to 2.5", "30 to 31.5", "99.9%", "flagged"],
        ["4", "6", "75%", "t.mid", "1 to 2.5", "30 to 31.5", "-"],
    ]


def test_pictures_show_the_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure))
    plots.loss(tmp_path / "a.png", result())
    left, right = drawn[0].axes
    assert [round(bar.get_height(), 3) for bar in left.patches] == [2.0, 0.0, 1.0, 2.5, 1.5, 0.0]
    assert [label.get_text() for label in left.get_xticklabels()] == ["pitch", "onset", "other"]
    assert left.get_title(loc="left").endswith("(n = 9 test pieces)")
    # from the second token of a doubling on where at least 20 tokens are
    assert [(line.get_label(), line.get_xydata().tolist()) for line in right.lines] == [
        (name, [[1, 4.0], [2, 3.0]]) for name in ("valid", "test")
    ]
    assert [line.get_color() for line in right.lines] == [plots.GRAY, plots.BLUE]
    metric = {"higher_is_better": False, "unit": "bits", "rows": {"generated": figure(0.5), "real": figure(0.75)}}
    plots.distances(tmp_path / "b.png", {"over_lap": metric})
    [panel, *_] = drawn[1].axes
    assert [np.asarray(line.get_xdata()).tolist() for line in panel.lines] == [
        [0.375, 0.625], [0.5], [0.625, 0.875], [0.75]
    ]  # fmt: skip
    assert [label.get_text() for label in panel.get_yticklabels()] == ["model", "real music"]
    assert "left is better" in panel.get_title(loc="left")
    assert not plots._comparable({**metric, "higher_is_better": None})
    assert not plots._comparable({**metric, "rows": {"generated": figure(0.5), "real": figure(0.5)}})
    records = [{"row": "generated", "run": 3, "steps": 12, "flagged": True}, {"row": "human", "run": 6, "steps": 12}]
    records = [{"flagged": False, **record} for record in records] + [{"row": "generated"}]
    plots.originality(tmp_path / "c.png", {"human": {"n": 1}, "generated": {"n": 1}, "ngram": {"n": 0}}, records)
    human, model = drawn[2].axes
    assert human.get_title(loc="left").startswith("held-out human pieces: 0 of 1 copied")
    assert model.get_title(loc="left").startswith("model: 1 of 1 copied")
    assert model.lines[0].get_xdata().tolist() == [0.25]
    for axis, value in ((human, 0.5), (model, 0.25)):
        [bar] = [bar for bar in axis.patches if bar.get_height()]
        assert bar.get_x() - 1e-9 <= value <= bar.get_x() + bar.get_width()


def changed(of: symusic.Score, **marks: Any) -> symusic.Score:
    """A score with a tempo, a meter, or another program of its track."""
    made = of.copy()
    for time, pace in marks.get("tempos", ()):
        made.tempos.append(symusic.Tempo(time, pace))
    for time, numerator in marks.get("meters", ()):
        made.time_signatures.append(symusic.TimeSignature(time, numerator, 4))
    made.tracks[-1].program = marks.get("program", 0)
    made.tracks[-1].is_drum = marks.get("drums", False)
    return made


def test_a_round_trip_sees_tempo_meter_and_instruments_as_they_are_written() -> None:
    plain = score(line([60, 62]), line([40, 41]))

    def kept(source: symusic.Score, back: symusic.Score, kind: str) -> str:
        return str(round_trip([source], [back])["information"][kind])

    # A tempo is kept within a tenth, the first one counts, and 120 where none is written says nothing.
    slow = changed(plain, tempos=[(480, 60.0), (0, 100.0)])
    for pace, found in ((109.0, "kept"), (111.0, "lost"), (91.0, "kept"), (89.0, "lost")):
        assert kept(slow, changed(plain, tempos=[(0, pace)]), "tempo") == found
    assert kept(changed(plain, tempos=[(0, 120.0)]), slow, "tempo") == "constant"
    # Meters that repeat the one before say nothing new; 4/4 is what stands where none does.
    waltz = changed(plain, meters=[(0, 3), (1440, 3), (2880, 2)])
    assert kept(waltz, changed(plain, meters=[(0, 3), (2880, 2)]), "meter") == "kept"
    assert kept(waltz, changed(plain, meters=[(0, 3)]), "meter") == "lost"
    assert kept(changed(plain, meters=[(0, 4)]), waltz, "meter") == "constant"
    assert kept(changed(plain, program=9), plain, "instrument") == "lost"
    drums = changed(plain, drums=True)
    assert kept(drums, drums, "instrument") == "kept" and kept(plain, plain, "instrument") == "constant"
    # Half of the pieces are not most of them.
    half = round_trip([slow, slow], [slow, plain])["information"]
    assert half["tempo"] == "lost" and half["instrument"] == "constant"
    assert round_trip([slow] * 3, [slow, plain, slow])["information"]["tempo"] == "kept"
    # A note half a quarter away is the same one, beyond that another.
    moved = [round_trip([score([(1.0, 1, 60)])], [score([(1.0 + gap, 1.5, 60)])]) for gap in (0.5, 0.55)]
    assert [(one["notes_not_told"], one["notes_added"]) for one in moved] == [(0, 0), (1, 1)]
    assert (moved[0]["onset_shift_quarters"], moved[0]["duration_shift_quarters"]) == (0.5, 0.5)
    loud = score([(0, 1, 60)])
    loud.tracks[0].notes[0].velocity = 100
    assert round_trip([loud], [score([(0, 1, 60)])])["velocity_shift"] == 20
    assert round_trip([loud], [None])["pieces"] == 1 and np.isclose(PRICE, 17.4535, atol=1e-3)
