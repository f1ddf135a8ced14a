"""The parts of an evaluation: kinds of tokens, intervals, round trips, metrics of others, leaks."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import symusic

from core.registry import Entry
from core.words import agree, counted
from datatools.preparing.store import PieceInfo
from hparams.tokenizers.abc import AbcHParams
from hparams.tokenizers.note_tokens import RemiHParams
from plugins.manager import load_manager
from plugins.metrics.parts.intervals import ratio, share
from plugins.metrics.parts.notes import excerpt, notes_of, split_at
from supervisors.evaluation.copies import chance, in_short, tail
from supervisors.evaluation.kinds import KINDS, by_name, token_kinds
from supervisors.evaluation.leaks import in_short as twins_in_short
from supervisors.evaluation.leaks import leaks
from supervisors.evaluation.melodies import works
from supervisors.evaluation.metrics import measure
from supervisors.evaluation.page.canvas import draw
from supervisors.evaluation.page.copies import originality
from supervisors.evaluation.page.plot_measures import curves
from supervisors.evaluation.report import too_few
from supervisors.evaluation.round_trip import round_trip
from supervisors.evaluation.sets import Setting, tokens_for
from supervisors.evaluation.tables import number, spread, table
from tests.made_scores import line, score, tunes


def test_kinds_of_tokens() -> None:
    assert [by_name(name) for name in ("Pitch_60", "Bar_None", "Duration_1.0.4", "TimeSig_4/4", "TimeShift_2")] == [
        "pitch",
        "onset",
        "duration",
        "other",
        "onset",
    ]
    assert by_name("pitch_60") == by_name("silence") == by_name("Pitch_60 Pitch_62") == "pitch"
    assert by_name("Pitch_60 Duration_1") == "several"
    build: Any = load_manager().tokenizers["abc"].build
    abc = build(AbcHParams())
    told = {abc.token(id): KINDS[kind] for id, kind in enumerate(token_kinds(abc)[0])}
    expected = {"^c'": "pitch", "3/2": "duration", "(3": "duration", "-": "duration", "|": "onset", "z": "onset"}
    expected |= {"K:Dmaj": "other", "<eos>": "other", "M:4/4": "other", "V:2": "other", "B": "pitch", "4": "duration"}
    assert {word: told[word] for word in expected} == expected
    remi: Any = load_manager().tokenizers["remi"].build
    assert {KINDS[kind] for kind in token_kinds(remi(RemiHParams()))[0]} == {"pitch", "onset", "duration", "other"}


def test_densities_are_drawn_where_values_can_be() -> None:
    _, axes = draw(1, 1, 4, 3)
    curves(axes.flat[0], {"real": np.array([0, 0.1, 0.6, 1, 1]), "generated": np.zeros(3)}, 0.0, 1.0)
    lines = [np.asarray(drawn.get_xdata()) for drawn in axes.flat[0].lines]
    assert len(lines) == 3, "a curve and two means: values that are all one have no curve"
    assert min(x.min() for x in lines) == 0.0 and max(x.max() for x in lines) == 1.0


def figure_of_copies(flagged: int, pieces: int, **more: Any) -> dict[str, Any]:
    rests = {"value": 0.9, "low": 0.8, "high": 1.0, "n": pieces}
    told = {"flagged": share(flagged, pieces), "copies": flagged > 2, "expected_flagged": 0.0, "p_value": 1.0}
    return {**rests, **told, "longest_run": rests, "nearest": [], **more}


def test_a_few_pieces_give_no_verdict_on_copying_but_that_there_is_some() -> None:
    said = [in_short({"generated": figure_of_copies(*counts)}) for counts in ((0, 8), (0, 7), (1, 1), (3, 3), (0, 0))]
    assert said == [
        "no sign of copying (0 of 8 pieces flagged)",
        "too few pieces to tell (0 of 7 pieces flagged)",
        "too few pieces to tell (1 of 1 piece flagged)",
        "the model copies (3 of 3 pieces flagged)",
        "no piece holds enough melody to tell (0 of 0 pieces flagged)",
    ]


def test_no_empty_table_where_nothing_is_near() -> None:
    found = {"humans": 1, "rule": "a run of some length", "generated": figure_of_copies(0, 9)}
    text = "\n\n".join(originality(found))
    assert "No piece of the model shares a run with a training piece." in text and "of people below" not in text
    assert "set by 1 human piece," in text
    near = {"piece": 0, "run": 8, "steps": 9, "training": "a", "from": 0, "to": 1, "training_from": 2, "training_to": 3}
    found["generated"]["nearest"] = [near | {"percentile": 0.5, "flagged": False}]
    assert "| 0 | 8 | 89% | a |" in "\n\n".join(originality(found))
    nobody = "\n\n".join(originality({**found, "generated": figure_of_copies(0, 0)}))
    assert "|" not in nobody and "originality.png" not in nobody and "No piece holds enough melody" in nobody


def test_a_ratio_is_that_of_the_sums_and_its_interval_that_of_pieces() -> None:
    draws = np.random.default_rng(0)
    sizes = draws.integers(10, 500, 80).astype(float)
    amounts = sizes * draws.normal(2.0, 0.3, 80)
    value, low, high = ratio(amounts.tolist(), sizes.tolist())
    assert value == pytest.approx(amounts.sum() / sizes.sum()) and low < value < high
    # The linearized standard error of a ratio (Cochran 1977, 2.10) gives nearly the same.
    error = np.sqrt(((amounts - value * sizes) ** 2).sum() / 79 * 80) / sizes.sum()
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert ratio(amounts.tolist(), sizes.tolist()) == (value, low, high)
    assert ratio([2.0] * 9, [4.0] * 9) == (0.5, 0.5, 0.5) and ratio([], []) == (0.0, 0.0, 0.0)


def test_shares_have_intervals_at_the_ends_too() -> None:
    none, half = share(0, 39), share(20, 40)
    assert none["low"] == 0.0 and none["high"] == pytest.approx(0.0897, abs=1e-4)
    assert (half["low"], half["high"]) == (pytest.approx(0.3520, abs=1e-4), pytest.approx(0.6480, abs=1e-4))
    assert share(40, 40)["high"] == 1.0 and share(0, 0)["n"] == 0


def test_chances_of_flagged_pieces() -> None:
    assert tail(1, 10, 0.01) == pytest.approx(1 - 0.99**10) and tail(0, 10, 0.01) == 1.0
    assert tail(10, 10, 0.01) == pytest.approx(1e-20) and tail(3, 40, 0.0) == 0.0
    baseline = np.arange(99.0)
    assert chance(98, baseline) == pytest.approx(0.02) and chance(200, baseline) == pytest.approx(0.01)


def test_excerpts_hold_what_begins_in_them() -> None:
    whole = score([(0, 4, 60), (3, 6, 62), (8, 1, 64), (9.5, 1, 65)], line([40, 41], 8), meter="3/4")
    part = excerpt(whole, 2, 9)
    notes = notes_of(part)
    assert (notes.onset / 12).tolist() == [1, 6, 6] and (notes.end / 12).tolist() == [7, 7, 7]
    assert notes.pitch.tolist() == [62, 41, 64] and part.time_signatures[0].numerator == 3
    assert notes_of(excerpt(whole, 0, 100)).pitch.tolist() == notes_of(whole).pitch.tolist()
    assert notes_of(split_at(whole, 2)[0]).length == 96, "a prompt keeps what sounds across its border"


def test_a_round_trip_counts_notes_and_shifts() -> None:
    source = score(line([60, 62, 64, 65, 67]))
    same = round_trip([source], [source])
    assert (same["notes_not_told"], same["notes_added"], same["onset_shift_quarters"]) == (0, 0, 0.0)
    moved = score([(0.25, 0.5, 60), (1, 1, 62), (2.25, 1, 64), (3, 1, 66), (4, 1, 67)])
    found = round_trip([source, source], [moved, None])
    assert (found["notes"], found["notes_not_told"], found["notes_added"], found["failures"]) == (5, 1, 1, 1)
    assert found["onset_shift_quarters"] == pytest.approx(0.125)
    assert found["duration_shift_quarters"] == pytest.approx(0.125)
    # Of two notes of one pitch that come back as one, the nearer one was told.
    double = score([(0, 1, 60), (0.375, 1, 60), (2, 1, 60)])
    one = round_trip([double], [score([(0.375, 1, 60), (2, 1, 60)])])
    assert (one["notes_not_told"], one["onset_shift_quarters"]) == (1, 0.0)


def test_a_round_trip_tells_what_kinds_of_information_come_back() -> None:
    loud, flat = score(line([60, 62, 64, 65])), score(line([60, 62, 64, 65]))
    for place, note in enumerate(loud.tracks[0].notes):
        note.velocity = 40 + 10 * place
    for made, tempo in ((loud, 90.0), (flat, 120.0)):
        made.tempos.append(symusic.Tempo(0, tempo))
    expected = {"velocity": "lost", "tempo": "lost", "meter": "constant", "instrument": "constant"}
    assert round_trip([loud], [flat])["information"] == expected
    assert round_trip([loud], [loud])["information"] == expected | {"velocity": "kept", "tempo": "kept"}
    assert round_trip([flat], [flat])["information"]["velocity"] == "constant"


def entry(name: str, function: Any) -> Entry:
    extra = {"unit": "things", "higher_is_better": True, "apart": False, "headline": False}
    return Entry(name, "metric", "theirs", "theirs", "1", "theirs.py", 1, function=function, extra=extra)


def test_metrics_of_others_get_what_they_ask_for_and_break_nothing() -> None:
    def notes(generated: Any, reference: Any) -> float:
        """Notes of a piece.

        More about it.
        """
        return float(np.mean([piece.note_num() for piece in generated]))

    def asks(generated: Any, reference: Any, *, training: Any, prompts: Any = None) -> dict[str, Any]:
        held = {"value": float(len(training)), "prompts": 0 if prompts is None else len(prompts), "array": np.zeros(2)}
        return {**held, "low": 0.0, "high": 9.0, "n": 5, "failures": 0}

    def raises(generated: Any, reference: Any) -> float:
        raise KeyError("lost")

    def no_number(generated: Any, reference: Any) -> float:
        return float("nan")

    def leaves(generated: Any, reference: Any) -> float:
        raise SystemExit(0)

    def spoils(generated: Any, reference: Any) -> dict[str, Any]:
        for piece in generated:
            piece.tracks.clear()
        return {"value": np.float32(0.5), "n": np.int64(7)}

    def no_count(generated: Any, reference: Any) -> dict[str, Any]:
        return {"value": 1.0, "n": "many"}

    functions = (spoils, notes, asks, raises, no_number, leaves, no_count)
    manager: Any = SimpleNamespace(metrics={f.__name__: entry(f.__name__, f) for f in functions})
    pieces = tunes(12)
    setting = Setting(list(pieces), {"generated": list(pieces[:8]), "real": list(pieces)})
    found = measure(manager, setting, pieces[:3], "measures")
    figure = found["notes"]["rows"]["generated"]
    assert figure["low"] < figure["value"] < figure["high"] and found["notes"]["meaning"] == "Notes of a piece."
    assert found["asks"]["rows"]["real"] == {
        "value": 3.0, "prompts": 0, "low": 0.0, "high": 9.0, "n": 5, "failures": 0
    }  # fmt: skip
    assert found["raises"]["rows"]["real"] == {"error": "KeyError: 'lost'"}
    assert "expected a finite number" in found["no_number"]["rows"]["generated"]["error"]
    assert found["leaves"]["rows"]["real"] == {"error": "SystemExit: 0"}
    assert found["spoils"]["rows"]["real"] == {"value": 0.5, "low": None, "high": None, "n": 7, "failures": 0}
    assert all(piece.note_num() for piece in pieces)
    assert "'many' for its n" in found["no_count"]["rows"]["real"]["error"]
    aside = entry("aside", notes)
    manager.metrics["aside"] = replace(aside, extra={**aside.extra, "apart": True, "headline": True})
    assert "aside" not in measure(manager, setting, [], "measures"), "what is told elsewhere is not measured here"
    prompted = Setting(list(pieces), {"generated": list(pieces)}, prompts=list(pieces))
    rows = measure(manager, prompted, [], "measures")["asks"]["rows"]
    assert (rows["generated"]["prompts"], rows["generated"]["value"]) == (12, 0.0)


def test_halves_keep_continuations_with_their_prompts_and_sets_apart() -> None:
    """Numbers stand for pieces: i continues prompt 100 + i, and 200 + i is how that goes on."""
    asked: list[Any] = []

    def metric(generated: Any, reference: Any, *, prompts: Any = None) -> float:
        asked.append((generated, reference, prompts))
        return float(np.mean(generated))

    manager: Any = SimpleNamespace(metrics={"m": entry("m", metric)})
    rows: Any = {"generated": list(range(16))}
    pairs: Any = Setting([200 + k for k in range(16)], rows, prompts=[100 + k for k in range(16)])  # type: ignore[arg-type]
    figure = measure(manager, pairs, [], "measures")["m"]["rows"]["generated"]
    assert figure["low"] < figure["value"] == 7.5 < figure["high"] and asked[0] == (
        rows["generated"], pairs.reference, pairs.prompts
    )  # fmt: skip
    assert len(asked) > 20 and all(len(mine) == 8 and sorted(set(mine)) == mine for mine, *_ in asked[1:])
    assert all(theirs == [k + 200 for k in mine] and known == [k + 100 for k in mine] for mine, theirs, known in asked)
    asked.clear()
    apart: Any = Setting([200 + k for k in range(24)], rows)  # type: ignore[arg-type]
    measure(manager, apart, [], "measures")
    assert all((len(mine), len(theirs), known) == (8, 12, None) for mine, theirs, known in asked[1:])
    assert any([k + 200 for k in mine] != theirs[:8] for mine, theirs, _ in asked[1:])


class Splits:
    """A store of which only names and the record of near-duplicates are asked for."""

    def __init__(self, folder: Path, sides: dict[str, list[str]], near: list[dict[str, Any]]) -> None:
        self.folder = folder
        self.manifest = {"near_duplicates": len(near), "left_out": 0, "near_across_splits": 1}
        self._sides = sides
        (folder / "near.jsonl").write_text("".join(json.dumps(row) + "\n" for row in near))

    def pieces(self, split: str) -> list[PieceInfo]:
        return [PieceInfo(name, name, 10, 10, 5.0, 30, split, "", name, 0) for name in self._sides[split]]  # type: ignore[arg-type]

    def count(self, split: str) -> int:
        return len(self._sides[split])


def test_leaks_are_found_from_either_side_and_their_loss_is_taken_out(tmp_path: Path) -> None:
    near = [
        {"source": "d", "side": "test", "elders": [{"name": "a", "side": "train", "similarity": 0.5}]},
        {"source": "b", "side": "train", "elders": [{"name": "a", "side": "train", "similarity": 0.9}]},
        {"source": "c", "side": "train", "elders": [{"name": "e", "side": "test", "similarity": 0.4}]},
    ]
    store: Any = Splits(tmp_path, {"train": ["a", "b", "c"], "valid": ["v"], "test": ["d", "e", "f"]}, near)
    lines = [{"split": "test", "source": name, "nats": cost, "notes": 10} for name, cost in zip("def", (5, 5, 20))]
    found = leaks(store, lines)
    assert (found["test"]["with_twin"], found["test"]["pieces"], found["valid"]["with_twin"]) == (2, 3, 0)
    assert found["test"]["twins"][0] == {"source": "d", "training": "a", "similarity": 0.5}
    assert twins_in_short({"test": {}, "leakage": found}) == "2 of 3 test pieces have a near twin in training"
    one = {"leakage": {"valid": {"with_twin": 1, "pieces": 1}}}
    assert twins_in_short(one) == "1 of 1 validation piece has a near twin in training"
    assert found["test"]["nats_per_note_without"] == 2.0 and found["valid"]["nats_per_note_without"] is None
    numbers = works(store, "train").tolist()
    assert numbers[0] == numbers[1] != numbers[2]


def test_tokens_suffice_for_nine_pieces_in_ten() -> None:
    assert tokens_for([100] * 10, [10.0] * 10, 64) == 640 and tokens_for([5], [0.0], 64) == 1024
    assert tokens_for([100] * 9 + [1000], [10.0] * 10, 64) < 1300


def test_every_type_of_token_has_its_kind() -> None:
    types = {
        "pitch": "Pitch PitchDrum PitchIntervalTime PitchIntervalChord Silence NoteOn DrumOn",
        "onset": "Bar Position TimeShift Rest",
        "duration": "Duration NoteOff DrumOff",
        "other": "Velocity Program Tempo TimeSig KeySig BOS Chord",
    }
    assert {name: by_name(f"{name}_1") for names in types.values() for name in names.split()} == {
        name: kind for kind, names in types.items() for name in names.split()
    }
    assert by_name("") == "other"


def test_a_round_trip_at_its_bounds() -> None:
    source = score([(0, 1, 60), (8, 1, 62)])
    there = round_trip([source], [score([(0.5, 1, 60), (8.51, 1, 62)])])
    assert (there["notes_not_told"], there["notes_added"], there["onset_shift_quarters"]) == (1, 1, 0.5)
    early = round_trip([score([(8, 1, 60)])], [score([(7.5, 1, 60)])])
    assert (early["notes_not_told"], early["onset_shift_quarters"]) == (0, 0.5)

    def at(*tempos: float) -> Any:
        made = score(line([60, 62]))
        made.tempos = [symusic.Tempo(480 * place, tempo) for place, tempo in enumerate(tempos)]
        return made

    def tempo(*pairs: tuple[float, float]) -> str:
        found = round_trip([at(one) for one, _ in pairs], [at(other) for _, other in pairs])
        return str(found["information"]["tempo"])

    assert tempo((100, 109)) == tempo((100, 91)) == "kept" and tempo((100, 111)) == tempo((100, 89)) == "lost"
    assert tempo((120, 60), (120, 60)) == "constant", "who says nothing is played at 120"
    assert tempo((100, 100), (100, 60)) == "lost" and tempo((100, 100), (90, 90), (100, 60)) == "kept"
    assert round_trip([at(100, 150)], [at(100)])["information"]["tempo"] == "kept", "by the first tempo"


def test_figures_are_shown_with_the_digits_that_count() -> None:
    assert [number(v) for v in (0, 12345.6, 12.345, 0.12345, 0.0012345, -3.14159)] == [
        "0", "12,346", "12.35", "0.123", "0.0012", "-3.142",
    ]  # fmt: skip
    assert [counted(count, "piece") for count in (0, 1, 1234)] == ["0 pieces", "1 piece", "1,234 pieces"]
    assert [counted(count, "beat") for count in (1.0, 0.5, 2.25)] == ["1 beat", "0.5 beats", "2.25 beats"]
    assert [agree(count, "is", "are") for count in (0, 1, 1.0, 2)] == ["are", "is", "is", "are"]
    assert spread({"value": 1.0, "low": 0.5, "high": 2.0, "n": 9}, 4) == "1.000 [0.500, 2.000] (n = 9)"
    assert [number(v) for v in (1000, 999.9, 10, 9.99, 0.01, 0.0099, -1e-10)] == [
        "1,000", "999.90", "10.00", "9.990", "0.010", "0.0099", "0",
    ]  # fmt: skip
    told = {"value": 1.0, "low": 0.5, "high": 2.0}
    assert spread(told | {"n": 7}) == spread(told | {"n": 9, "high": None}) == "1.000"
    assert spread({"value": 1.0, "low": 1.0, "high": 1.0, "n": 9}, 9) == "1.000", "no width is no certainty"
    assert spread(told) == spread(told | {"n": 8}) == "1.000 [0.500, 2.000]"
    assert [spread({}), spread(told | {"n": 0}), spread({"error": "x"})] == ["-", "-", "failed"]
    assert table(["a", "b"], [["x|y", "1\n2"]]).splitlines() == ["| a | b |", "| --- | ---: |", "| x\\|y | 1 2 |"]
    assert table(["a", "b"], [], ruler="---").endswith("| --- | --- |")
    assert spread({"value": 1.0, "low": 0.5, "high": 2.0, "n": 3}) == "1.000"  # too few for an interval
    assert spread({"value": 1.0, "low": 1.0, "high": 1.0, "n": 64}) == "1.000"
    assert (spread({"error": "x"}), spread({}), spread({"value": 0.0, "n": 0})) == ("failed", "-", "-")
    assert table(["a", "b"], [["x|y", "1"]]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"


def test_too_few_tested_pieces_are_said_with_how_many_would_do() -> None:
    def store(test: int, rest: int) -> Any:
        return SimpleNamespace(count=lambda split: {"train": rest, "valid": 0, "test": test}[split])

    assert too_few(store(8, 70), "test") == ""
    assert too_few(store(2, 18), "test").startswith("2 test pieces of 20 are too few")
    assert "about 80 pieces in all" in too_few(store(2, 18), "test")  # a tenth is tested, and 8 are needed
    assert too_few(store(1, 9), "test").startswith("1 test piece of 10 is too few")
