"""Which pieces an evaluation measures, and who made them: sets, prompts, makers and figures at the top, by hand."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import symusic

from core.contracts.piece import Piece
from core.log import logger
from core.model.generation import Generated
from hparams.base import EvaluateHParams, GenerateHParams
from supervisors.evaluation import copies as copying
from supervisors.evaluation import makers, melodies, report, results
from supervisors.evaluation.leaks import leaks
from supervisors.evaluation.makers import Maker
from supervisors.evaluation.sets import LARGEST, Real, Setting, prompted, training_of, unprompted
from tests.made_scores import line, score
from tests.test_evaluation_parts import Splits
from tests.toy_tokenizer import PITCH, STEP, ToyTokenizer

BASES = {"train": 40, "valid": 60, "test": 80}


class Held:
    """A store of pieces of one pitch each, a quarter a note, `lengths` notes long, told by the toy tokenizer."""

    def __init__(self, **lengths: list[int]) -> None:
        self.lengths = {"train": [], "valid": [], "test": [], **lengths}

    def count(self, split: str) -> int:
        return len(self.lengths[split])

    def score(self, split: str, number: int) -> symusic.Score:
        return score(line([min(BASES[split] + number, 127)] * self.lengths[split][number]))

    def ids(self, split: str, number: int) -> Any:
        return np.array(ToyTokenizer().encode(Piece("", "", "", lambda: self.score(split, number), lambda: "")))


class Made:
    """A maker that plays the prompt and then so many notes, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def by_model(self, prompts: Sequence[list[int]], length: int, what: str) -> tuple[list[list[int]], int]:
        self.asked.append((what, prompts, length))
        return [[*prompt, *[STEP, PITCH + row] * 30] for row, prompt in enumerate(prompts)], 1

    def by_ngram(self, prompts: Sequence[list[int]], length: int) -> list[list[int]]:
        self.asked.append(("ngram", prompts, length))
        return [[*prompt, *[STEP, PITCH + 100 + row] * 30] for row, prompt in enumerate(prompts)]


def heard(pieces: Sequence[Any]) -> list[Any]:
    """(pitches, first onset and last end in quarters) of each piece."""
    found = []
    for piece in pieces:
        notes = [note for track in piece.tracks for note in track.notes] if piece is not None else []
        times = [(n.time / piece.tpq, (n.time + n.duration) / piece.tpq) for n in notes]
        found.append((sorted({n.pitch for n in notes}), times[0][0], times[-1][1]) if notes else None)
    return found


def real(store: Held, tested: Any, lost: Sequence[tuple[str, int]] = (), tokenizer: Any = None) -> Real:
    def source(split: Any, number: int) -> Any:
        return None if (split, number) in lost else store.score(split, number)

    return Real(store, tested, tokenizer or ToyTokenizer(), source)  # type: ignore[arg-type]


def test_pieces_from_nothing_stand_beside_tested_ones_and_people_s() -> None:
    store, maker = Held(train=[20] * 5, valid=[20, 3], test=[20, 20, 5]), Made()
    asked = EvaluateHParams(count=4, beats=8, prompt_beats=4)
    found = unprompted(real(store, "test", lost=[("test", 1)]), maker, asked, 50)  # type: ignore[arg-type]
    assert heard(found.reference) == [([80], 0, 8), ([82], 0, 5)]  # their first eight beats; one is lost
    assert heard(found.rows["tokenizer"]) == heard(found.reference), "the same pieces, one by one"
    people = heard(found.rows["real"])
    assert people[:2] == [([60], 0, 8), ([61], 0, 3)] and len(people) == 4
    assert all(pitches[0] in range(40, 45) for pitches, _, _ in people[2:])
    assert heard(found.rows["generated"]) == [([row], 1, 8) for row in range(4)]
    assert heard(found.rows["ngram"]) == [([100 + row], 1, 8) for row in range(4)]
    assert maker.asked == [("generate", [[]] * 4, 50), ("ngram", [[]] * 4, 50)]
    assert found.facts == {"ended": 1, "tokens": 50, "real": "2 validation pieces and 2 training pieces"}
    assert [len(ids) for ids in found.ids] == [60] * 4 and found.prompts == []
    # Without test pieces validation is tested, and so is no music of people to be measured against it.
    alone = unprompted(real(Held(train=[20] * 9, valid=[20, 3]), "valid"), Made(), asked, 50)  # type: ignore[arg-type]
    assert heard(alone.reference) == [([60], 0, 8), ([61], 0, 3)] and alone.facts["real"] == "4 training pieces"
    many = training_of(real(Held(train=[9] * (LARGEST + 3)), "test"), 4)
    assert len(many) == LARGEST and heard(many[:1])[0][2] == 4


def test_what_cannot_be_decoded_is_none_in_its_place() -> None:
    class Deaf(ToyTokenizer):
        def decode(self, ids: Sequence[int]) -> Piece:
            if PITCH + 1 in ids:
                raise KeyError("no such token")
            return super().decode(ids)

    found = unprompted(
        real(Held(train=[9], test=[9]), "test", tokenizer=Deaf()),
        Made(),  # type: ignore[arg-type]
        EvaluateHParams(count=3, beats=8, prompt_beats=4),
        9,
    )
    assert [piece is None for piece in found.rows["generated"]] == [False, True, False]
    told = report.made(found, Setting([], {"generated": []}), 8.0)
    assert told["generated"] == {"n": 3, "undecodable": 1, "empty": 0, "median_beats": 8.0, "ended": 1}
    assert told["continued"] == {"n": 0, "undecodable": 0, "empty": 0, "median_beats": 0.0, "ended": 0}
    assert (told["tokens"], told["real"], told["beats"]) == (9, "1 training piece", 8.0)
    found.rows["generated"] = [None, score(), score(line([60, 62])), score(line([60] * 6))]
    assert report.made(found, Setting([], {"generated": []}), 8.0)["generated"] == {
        "n": 4, "undecodable": 1, "empty": 1, "median_beats": 2.0, "ended": 1
    }  # fmt: skip


def test_what_was_made_can_be_heard_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(ToyTokenizer):
        def decode(self, ids: Sequence[int]) -> Piece:
            if PITCH + 1 in ids:
                raise KeyError("no such token")
            return super().decode(ids)

    one, silent = score(line([60])), score()
    free = Setting([], {"generated": [None, silent, *[one] * 5]}, ids=[[PITCH + 1], [PITCH + 61], [PITCH + 62]])
    prompt = [PITCH + 70, STEP, PITCH + 71]
    bound = Setting([], {"generated": [one, silent, None]}, ids=[prompt, prompt, [PITCH + 1]])
    run: Any = SimpleNamespace(tokenizer=Deaf(), folder=SimpleNamespace(report=tmp_path))
    report._write_music(run, free, bound)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.mid"))
    assert names == ["continued/0.mid", "continued/1.mid", "generated/1.mid", "generated/2.mid"]
    assert symusic.Score(tmp_path / "continued" / "0.mid").note_num() == 2, "with its prompt"
    whole = list(report._with_prompts(Deaf(), bound, 1.0))
    assert heard(whole) == [([70], 0, 1), None, None] and whole[1] is None, "nothing was added to the second"
    sections: list[Any] = []
    monkeypatch.setattr(report.roll, "section", lambda *given, **more: sections.append((*given[1:], more)) or "")
    monkeypatch.setattr(report.html, "from_markdown", lambda title, text, folder, more: (title, text, folder))
    assert report.browsed("x", "words", tmp_path, free, bound) == ("x: evaluation", "words", tmp_path)
    shown = [("generated", k) for k in range(2, 6)] + [("continued", 0)]  # of the first six those that sound
    assert sections == [(f"{kind}{k}", f"{kind} {k}", {"engraved": False}) for kind, k in shown]


def test_a_report_asks_each_part_for_what_it_is_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, list[Any]] = {}

    def plays(name: str, result: Any, of: Any = report) -> None:
        monkeypatch.setattr(of, name, lambda *given: told.setdefault(name, []).append(given) or result)

    music = score(line([60] * 4))
    free: Any = Setting(["tested"], {"generated": ["g"], "tokenizer": ["t"], "real": ["r"], "ngram": ["n"]})  # type: ignore[dict-item, list-item]
    bound: Any = Setting(["goes on"], {"generated": ["c"], "others": ["o"], "ngram": ["m"]}, ids=[[1], [2]])  # type: ignore[dict-item, list-item]
    for name, found in {
        "reader": "source", "_all_of": [music, None], "tokens_for": 99, "Maker": "maker", "Real": "real",
        "unprompted": free, "prompted": bound, "training_of": "training", "copies": ({"c": 1}, [{"row": "r"}]),
        "round_trip": "back", "leaks": "leaks", "made": "made", "write_json": None, "write_text": None,
        "_write_music": None, "_with_prompts": "whole", "browsed": "html", "_shared_out": {"kinds": "shared"},
        "_top": {"top": 1}, "obedience": {"density": 3},
    }.items():  # fmt: skip
        plays(name, found)
    monkeypatch.setattr(report, "measure", lambda *given: told.setdefault("measure", []).append(given) or given[-1])
    plays("fit", "floor", report.ngram)
    plays("lines", "lines", report.evaluation)
    plays("page", "text", report.evaluation_page)
    plays("write", ["a.png"], report.evaluation_plots)

    def rolls(*given: Any) -> list[str]:
        told.setdefault("rolls", []).append(given)
        return [f"{given[2]}.png"]

    monkeypatch.setattr(report.evaluation_plots, "rolls", rolls)
    losses = {split: {"baselines": {"ngram": {"order": order}}} for split, order in (("valid", 3), ("test", 5))}
    store = SimpleNamespace(count=lambda split: 2, pieces=lambda split: [SimpleNamespace(tokens=n) for n in (30, 40)])
    hparams = SimpleNamespace(name="x", generate=GenerateHParams(seed=4), evaluate=EvaluateHParams(beats=32, count=9))
    run: Any = SimpleNamespace(
        evaluate=lambda: {"steps": 7, **losses}, ranks=SimpleNamespace(first=True), hparams=hparams, store=store,
        tokenizer="tokenizer", manager="manager", load_best=lambda: "model",
        folder=SimpleNamespace(evaluation="file", report=tmp_path),
    )  # fmt: skip
    result = report.report(run)
    assert told["fit"] == [(store, "tokenizer")]
    assert told["_shared_out"] == [("floor", 5, run, "valid"), ("floor", 5, run, "test")], "by one order, on both"
    assert result["test"]["baselines"]["ngram"] == {"order": 5, "kinds": "shared"}
    assert told["_all_of"] == [(store, "source", "test")] and told["tokens_for"] == [([30, 40], [4.0, 0.0], 32)]
    assert told["Maker"] == [("model", "floor", 5, "tokenizer", hparams.generate)]
    assert told["Real"] == [(store, "test", "tokenizer", "source")]
    assert told["unprompted"] == told["prompted"] == [("real", "maker", hparams.evaluate, 99)]
    assert told["obedience"] == [("manager", hparams, "tokenizer", "maker", 99)]
    assert result["controls"] == {"density": 3}
    assert told["training_of"] == [("real", 32)] and told["round_trip"] == [(["tested"], ["t"])]
    assert told["measure"] == [
        ("manager", free, "training", "measures"), ("manager", bound, "training", "measures of continuations")
    ]  # fmt: skip
    rows = {"generated": ["g"], "continued": ["c"], "ngram": ["n"]}
    assert told["copies"] == [(store, "tokenizer", rows, 32)] and told["leaks"] == [(store, "lines")]
    assert told["made"] == [(free, bound, 32)] and told["_write_music"] == [(run, free, bound)]
    assert result["prompted"] == {"n": 2, "beats": 16.0, "metrics": "measures of continuations"}
    assert (result["metrics"], result["copying"], result["top"], result["steps"]) == ("measures", {"c": 1}, 1, 7)
    assert result["settings"]["evaluate"]["count"] == 9 and result["settings"]["generate"]["seed"] == 4
    assert told["write_json"] == [("file", result)]
    assert told["rolls"] == [(tmp_path, ["g"], "generated"), (tmp_path, "whole", "continued", 16.0)]
    assert told["page"] == [("x", result, ["a.png", "generated.png", "continued.png"])]
    assert told["write_text"] == [
        (tmp_path / "originality.jsonl", '{"row": "r"}\n'), (tmp_path / "README.md", "text"),
        (tmp_path / "index.html", "html"),
    ]  # fmt: skip
    run.ranks.first = False
    assert report.report(run) == {"steps": 7, **losses} and len(told["fit"]) == 1


class Opening(ToyTokenizer):
    """Ends its prompts with a step."""

    def opening(self, ids: list[int]) -> list[int]:
        return [*ids, STEP]


def test_continuations_stand_beside_how_pieces_go_on() -> None:
    # Prompts of 4 beats up to beat 16: pieces shorter than 4 + 8 beats are none, nor those that the tokens cannot tell.
    store, maker = Held(test=[20, 11, 12, 30, 20]), Made()
    held = store.score("test", 3)
    held.tracks[0].notes = held.tracks[0].notes[:3]
    held.tracks[0].notes.append(symusic.Note(29 * 480, 480, 70, 80))  # nothing begins between beats 4 and 16
    asked = EvaluateHParams(count=3, beats=16, prompt_beats=4)
    of = real(store, "test", tokenizer=Opening())

    def source(split: Any, number: int) -> Any:
        if number == 4:
            return score(line([127] * 20))
        return held if number == 3 else store.score(split, number)

    found = prompted(Real(of.store, "test", of.tokenizer, source), maker, asked, 160)  # type: ignore[arg-type]
    numbers = found.facts["pieces"]
    assert sorted(numbers) == [0, 2]
    ends = {0: 12, 2: 8}  # beats that are left of a piece, up to beat 16
    assert heard(found.reference) == [([80 + k], 0, ends[k]) for k in numbers]
    assert heard(found.prompts) == [([80 + k], 0, 4) for k in numbers]
    assert heard(found.rows["others"]) == heard(found.reference)[::-1]
    prompts = [[*[PITCH + 80 + k, STEP] * 4] for k in numbers]
    assert maker.asked == [("continue", prompts, 120), ("ngram", prompts, 120)]  # 160 tokens for 16 beats, 12 are left
    # A step ends the prompt and one begins what follows: the first new note comes at beat 5, and at 1 behind beat 4.
    assert heard(found.rows["generated"]) == [([row], 1, 12) for row in range(2)]
    assert heard(found.rows["ngram"]) == [([100 + row], 1, 12) for row in range(2)]
    assert (found.facts["ended"], found.facts["tokens"], found.facts["beats"]) == (1, 120, 4)
    few = prompted(real(Held(test=[20, 11]), "test"), maker, asked, 160)  # type: ignore[arg-type]
    assert len(few.reference) == 1 and few.ids == [] and few.rows["generated"] == [] and len(maker.asked) == 2
    one = EvaluateHParams(count=2, beats=16, prompt_beats=4)
    assert len(prompted(real(Held(test=[20] * 9), "test"), Made(), one, 160).reference) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("grammar", ["", "of a tokenizer", "refused"])
def test_an_evaluation_draws_as_generate_does(grammar: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}

    def generate(model: Any, prompts: Any, **given: Any) -> list[Generated]:
        told.update(given, model=model, prompts=prompts)
        return [Generated([1, 2], 1, True), Generated([3], 0, False), Generated([4], 0, True)]

    def make(bars: int, length: int) -> str:
        assert (bars, length) == (0, 0), "a piece is not made to end in time"
        if grammar == "refused":
            raise ValueError("not today")
        return grammar

    monkeypatch.setattr(makers, "generate", generate)
    tokenizer: Any = SimpleNamespace(bos_id=7, eos_id=8, pad_id=9, **({"grammar": make} if grammar else {}))
    asked = GenerateHParams(seed=5, temperature=0.7, top_k=3, top_p=0.6, min_p=0.1, repetition_penalty=1.5)
    asked.guidance = 1.75
    floor: Any = SimpleNamespace(sample=lambda *given, **named: told.update(floor=(given, named)) or [[5], [6]])
    model: Any = SimpleNamespace(positions=None)
    maker = Maker(model, floor, 4, tokenizer, asked)
    assert maker.by_model([[1], [], []], 33, "x") == ([[1, 2], [3], [4]], 2)
    assert told["grammar"] == (grammar if grammar == "of a tokenizer" else None)
    assert (told["bos_id"], told["eos_id"], told["pad_id"], told["length"], told["model"]) == (7, 8, 9, 33, model)
    drawn = vars(told["sampling"])
    assert drawn == {
        "temperature": 0.7, "top_k": 3, "top_p": 0.6, "min_p": 0.1, "seed": 5, "repetition_penalty": 1.5
    }  # fmt: skip
    assert told["known"] is None and told["guidance"] == 1.75
    asking: Any = object()
    maker.by_model([[]], 33, "x", asking)
    assert told["known"] is asking
    model.positions = 20  # of which the beginning and the longest prompt take four
    maker.by_model([[1], [1, 2, 3], []], 33, "x")
    assert told["length"] == 16
    assert maker.by_ngram([[1], []], 33) == [[1, 5], [6]]
    assert told["floor"] == (([[1], []], 33, 5), {"order": 4, "top_p": 0.6})


def test_the_ngram_s_loss_is_shared_out_to_kinds_over_the_source_s_notes() -> None:
    kinds = {3: "pitch", 4: "onset", 9: "other"}
    tokenizer = SimpleNamespace(streams=1, vocab_size=10, eos_id=9, kind_of=lambda id: kinds.get(id, "duration"))
    pieces = [[3, 4], [3]]
    store = SimpleNamespace(
        count=lambda split: 2,
        ids=lambda split, k: np.array(pieces[k]),
        pieces=lambda split: [SimpleNamespace(notes=n) for n in (3, 5)],
    )
    floor: Any = SimpleNamespace(
        nats=lambda rows: [list(rows), np.array([1.0, 2.0, 4.0, 8.0, 16.0])], symbols=np.asarray
    )
    run: Any = SimpleNamespace(store=store, tokenizer=tokenizer)
    # pitch 1 + 8, onset 2, ends 4 + 16 nats over 8 notes; a kind that there is not is not told
    assert report._shared_out(floor, 2, run, "test") == {"kinds": {"pitch": 9 / 8, "onset": 2 / 8, "other": 20 / 8}}


def test_a_source_is_read_once_and_one_that_is_lost_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Any] = []

    def read(item: Any) -> Any:
        asked.append((item.path, item.index))
        if item.path == "gone":
            raise OSError("no such file")
        return SimpleNamespace(score=f"score of {item.path} {item.index}")

    infos = [SimpleNamespace(path=path, index=n, source=f"s{n}") for n, path in enumerate(("a", "a", "gone"))]
    monkeypatch.setattr(report.survey, "reader", lambda dataset: read)
    monkeypatch.setattr(logger, "propagate", True)
    manager = SimpleNamespace(make=lambda slot, section: None)
    run: Any = SimpleNamespace(
        manager=manager, hparams=SimpleNamespace(dataset=0), store=SimpleNamespace(pieces=lambda s: infos)
    )
    source = report.reader(run)
    with caplog.at_level(logging.WARNING):
        assert [source("test", k) for k in (0, 1, 0, 2)] == ["score of a 0", "score of a 1", "score of a 0", None]
    assert asked == [("a", 0), ("a", 1), ("gone", 2)] and "s2 cannot be read again and is left out" in caplog.text


def figure(value: float, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 9, **more}


def test_the_figures_at_the_top_name_what_they_are_compared_with() -> None:
    rows = {"generated": figure(1.0), "real": figure(2.0), "ngram": figure(3.0)}
    metrics = {
        "one": {"headline": True, "unit": "bits", "rows": rows},
        "aside": {"headline": False, "unit": "bits", "rows": rows},
        "broken": {"headline": True, "unit": "bits", "rows": {**rows, "generated": {"error": "x"}}},
        "alone": {"headline": True, "unit": "bits", "rows": {**rows, "real": {"error": "x"}}},
    }
    mine = figure(0.5, flagged={"count": 3}, copies=True)
    result = {"metrics": metrics, "copying": {"generated": mine, "human": figure(0.75)}}
    found = report._top(result)
    assert found["one"] == {**figure(1.0), "unit": "bits", "reference": 2.0} and set(found) == {
        "one",
        "alone",
        "originality",
    }
    assert found["alone"]["reference"] is None
    assert found["originality"] == {
        **figure(0.5), "unit": "share of the piece outside its longest copied run", "reference": 0.75, "flagged": 3,
        "copies": True,
    }  # fmt: skip
    del result["copying"]["human"]
    assert report._top(result)["originality"]["reference"] is None


@pytest.mark.parametrize("split", ["test", "valid"])
def test_the_losses_at_the_top_are_those_of_the_tested_split(split: str, tmp_path: Path) -> None:
    def losses(nats: float) -> dict[str, Any]:
        headline = {"value": nats + 9, "low": nats + 8, "high": nats + 10, "share_told": 0.5}
        counts = {"pieces": int(nats), "notes": 10, "notes_told": 5, "nats_per_note_interval": [nats - 1, nats + 1]}
        return {"nats_per_note": nats, "headline": headline, **counts, "baselines": {"ngram": {"nats_per_note": 7.0}}}

    given = {"weights": "w", "valid": losses(3.0), **({"test": losses(4.0)} if split == "test" else {})}
    folder: Any = SimpleNamespace(evaluation=tmp_path / "e.json", report=tmp_path)
    nats = 4.0 if split == "test" else 3.0
    lines = [{"title": "Über"}, {"title": "b"}]
    found = results.write(folder, given, lines)
    price = float(np.log(128.0 * 129 * 48 * 48)) / 2  # half of the notes are not told
    assert found["nats_per_note"] == {
        "value": nats, "low": nats - 1, "high": nats + 1, "n": nats, "unit": "nats per note", "split": split,
        "reference": 7.0,
    }  # fmt: skip
    top = found["headline"]
    assert (top["value"], top["low"], top["high"], top["n"], top["split"]) == (
        nats + 9,
        nats + 8,
        nats + 10,
        nats,
        split,
    )
    assert top["reference"] == pytest.approx(7 + price)
    assert json.loads((tmp_path / "e.json").read_text()) == found and results.lines(folder) == lines
    told = results.measured_on(found)
    assert told == (
        "4 test pieces" if split == "test" else "3 validation pieces, which also chose the weights: no test split"
    )


def test_the_nearest_twin_is_named_the_nearest_pieces_first(tmp_path: Path) -> None:
    def elders(**near: float) -> list[dict[str, Any]]:
        return [{"name": name, "similarity": similarity} for name, similarity in near.items()]

    near = [
        {"source": "d", "elders": elders(a=0.5, b=0.75, c=0.6)},
        {"source": "e", "elders": elders(a=0.875)},
        {"source": "f", "elders": elders(d=0.9)},  # of its own side
    ]
    store: Any = Splits(tmp_path, {"train": ["a", "b", "c"], "valid": [], "test": ["d", "e", "f"]}, near)
    found = leaks(store, [])["test"]
    assert found["twins"] == [
        {"source": "e", "training": "a", "similarity": 0.875}, {"source": "d", "training": "b", "similarity": 0.75}
    ]  # fmt: skip
    assert (found["pieces"], found["with_twin"], found["nats_per_note_without"]) == (3, 2, None)
    assert melodies.works(store, "train").tolist() == [0, 0, 0], "through pieces of another side too"


def test_a_row_is_judged_by_how_often_people_are_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of people's five pieces two are flagged: the model's three of four are no more than chance would have."""

    def found(run: int, steps: int, flagged: bool, source: int | None = 0) -> dict[str, Any]:
        return {"run": run, "steps": steps, "flagged": flagged, "percentile": 0.5, "training": source}

    mine = [found(4, 8, True, 1), found(9, 30, True), None, found(2, 10, False, None), found(3, 4, True)]
    people = [found(5, 10, flagged) for flagged in (True, False, False, True, False)]
    corpora: list[Any] = []

    class Corpus:
        humans = range(7)

        def __init__(self, *given: Any) -> None:
            corpora.append(given)

        def baseline(self, steps: int) -> Any:
            return np.arange(float(steps))

    monkeypatch.setattr(copying, "Corpus", Corpus)
    monkeypatch.setattr(copying, "report", lambda corpus, number: (mine + people)[number])
    monkeypatch.setattr(copying, "melody_of", lambda score: score)
    monkeypatch.setattr(copying, "FEWEST_HUMANS", 7)
    lines = {"train": ["t0", "t1"], "valid": ["v0", "v1"], "test": [f"h{k}" for k in range(5)]}
    monkeypatch.setattr(melodies, "lines", lambda store, tokenizer: lines)
    monkeypatch.setattr(melodies, "whole", lambda line: f"whole {line}")
    monkeypatch.setattr(melodies, "beginning", lambda line, beats: f"{beats} of {line}")
    monkeypatch.setattr(melodies, "works", lambda store, split: f"works of {split}")
    infos = {
        split: [SimpleNamespace(source=f"{split}{k}.mid", title=f"T{k}") for k in range(5)]
        for split in ("train", "test")
    }
    store: Any = SimpleNamespace(pieces=lambda split: infos[split])
    figures, records = copying.copies(store, None, {"generated": list("abcde")}, 16.0)  # type: ignore[arg-type]
    asked = [*"abcde", *(f"16.0 of h{k}" for k in range(5))]
    assert corpora == [(asked, ["whole v0", "whole v1"], ["whole t0", "whole t1"], "works of train")]
    one = figures["generated"]
    assert (one["flagged"]["count"], one["flagged"]["n"], one["expected_flagged"]) == (3, 4, pytest.approx(0.04))
    assert one["p_value"] == pytest.approx(4 * 0.4**3 * 0.6 + 0.4**4) and not one["copies"]
    assert (one["n"], one["failures"]) == (4, 1)
    assert one["value"] == pytest.approx(1 - (4 / 8 + 9 / 30 + 2 / 10 + 3 / 4) / 4)
    assert one["longest_run"]["value"] == pytest.approx(18 / 4)
    assert [near["piece"] for near in one["nearest"]] == [4, 0, 1, 3], "by the share of the piece, not its length"
    assert (records[0]["training"], records[0]["title"]) == ("train1.mid", "T1") and records[3]["training"] is None
    assert records[0]["p"] == pytest.approx((1 + 4) / 9)  # of runs 0 to 7 four are as long
    assert [record["source"] for record in records if record["row"] == "human"] == [f"test{k}.mid" for k in range(5)]
    assert records[2] == {"row": "generated", "piece": 2} and not figures["few_humans"] and figures["humans"] == 7
    assert "99% of human excerpts" in figures["rule"]
    figures["human"]["flagged"] |= {"count": 2, "n": 5}
    assert copying.in_short(figures) == "too few pieces to tell (3 of 4 pieces flagged, of held-out human ones 2 of 5)"


def test_melodies_are_read_again_from_a_file_of_another_form(tmp_path: Path) -> None:
    store: Any = Held(train=[3, 2], valid=[1], test=[2])
    store.folder = tmp_path
    expected = {split: [[BASES[split] + k] * n for k, n in enumerate(store.lengths[split])] for split in BASES}

    def pitches() -> dict[str, list[list[int]]]:
        found = melodies.lines(store, ToyTokenizer())  # type: ignore[arg-type]
        assert all((onsets == 12 * np.arange(len(onsets))).all() for held in found.values() for onsets, _ in held)
        return {split: [told.tolist() for _, told in held] for split, held in found.items()}

    assert pitches() == expected == pitches()
    path = tmp_path / "melodies.npz"
    with np.load(path) as held:
        whole = {**held}
    for changed in ({"format": np.array(melodies.FORMAT + 1)}, {"offsets": whole["offsets"][:-1]}, {}):
        np.savez(path, **{**whole, "table": whole["table"][:, ::-1] if changed else whole["table"], **changed})
        assert pitches() == expected
    begun = melodies.beginning((np.array([0, 12, 24, 47, 48, 60]), np.array([60, 62, 64, 65, 67, 69])), 4.0)
    assert begun.onsets.tolist() == [0, 12, 24, 47], "what begins before the fifth quarter"
