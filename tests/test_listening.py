"""Listening tests: blind, balanced, equally loud, nothing lost on the way to their results."""

import json
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
import wave
from collections import Counter
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest
import symusic

from core.errors import HubError
from hparams.listen import ListenHParams
from supervisors.listening import design, ratings, server, site

SYSTEMS = ("model_a", "model_b", "real")


def tune(pitch, velocity):
    score = symusic.Score(24)
    track = symusic.Track()
    for i in range(4):
        track.notes.append(symusic.Note(24 * i, 24, pitch + i, velocity))
    score.tracks.append(track)
    return score


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("listen")
    systems = {name: [tune(60 + i, 30 + 40 * k) for i in range(2)] for k, name in enumerate(SYSTEMS)}
    site.write(systems, ListenHParams(pieces=2, seconds=1.5), folder)
    return folder


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_williams_squares_are_balanced_in_place_and_in_what_follows_what(count):
    rows = design.williams(count)
    assert all(sorted(row) == list(range(count)) for row in rows)
    places = Counter((place, item) for row in rows for place, item in enumerate(row))
    assert len(set(places.values())) == 1 and len(places) == count**2
    follows = Counter(pair for row in rows for pair in pairwise(row))
    assert set(follows) == set(permutations(range(count), 2)) and len(set(follows.values())) == 1


def test_everybody_hears_every_clip_and_systems_take_turns():
    found = design.clips(SYSTEMS, 4, seed=1)
    system_of = {clip.name: clip.system for clip in found}
    orders = design.ratings_orders(found, seed=1)
    first = Counter()
    for order in orders:
        assert sorted(order) == sorted(system_of)
        rounds = [order[i : i + 3] for i in range(0, 12, 3)]
        assert all({system_of[name] for name in one} == set(SYSTEMS) for one in rounds)
        assert len({tuple(system_of[name] for name in one) for one in rounds}) > 1, "another row in each round"
        first[system_of[order[0]]] += 1
    assert set(first.values()) == {len(orders) // 3}
    piece_of = {clip.name: clip.piece for clip in found}
    assert len({tuple(piece_of[name] for name in order) for order in orders}) > len(orders) // 2
    assert not {clip.name for clip in found} & {clip.name for clip in design.clips(SYSTEMS, 4, seed=2)}
    assert design.ratings_orders(found, seed=2) != orders == design.ratings_orders(found, seed=1)


def test_pairs_are_of_two_systems_and_change_sides():
    found = design.clips(SYSTEMS, 4, seed=1)
    system_of = {clip.name: clip.system for clip in found}
    orders = design.pairs_orders(found, seed=1)
    sides = Counter(tuple(system_of[name] for name in pair) for order in orders for pair in order)
    assert all(a != b for a, b in sides) and len(set(sides.values())) == 1
    for order in orders:
        assert len(order) == 3 * 4 and set(Counter(name for pair in order for name in pair).values()) == {2}
        assert set(Counter(tuple(system_of[name] for name in pair) for pair in order).values()) == {2}
    assert design.pairs_orders(found, seed=2) != orders == design.pairs_orders(found, seed=1)


def test_the_page_is_blind_and_its_clips_are_equally_loud(made):
    text = (made / "site" / "index.html").read_text()
    names = [path.name for path in (made / "site").rglob("*")]
    assert not [name for name in SYSTEMS if name in text or any(name in one for one in names)]
    levels = []
    for path in sorted((made / "site" / "audio").iterdir()):
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
            assert file.getnframes() == pytest.approx(1.5 * file.getframerate(), abs=2)
        levels.append(np.sqrt(np.mean(samples[np.abs(samples) > 1e-3] ** 2)))
    assert len(levels) == 6 and max(levels) / min(levels) < 1.1  # within a decibel, from velocities 30 to 110
    with pytest.raises(HubError, match="holds a listening test already"):
        site.write({"a": [tune(60, 60)] * 2}, ListenHParams(pieces=2), made)


def test_a_clip_is_the_piece_that_the_key_says(tmp_path, monkeypatch):
    """Pieces that are rendered as 110, 220, 330, 440 Hz: the tones of the files are counted."""
    tones = {}

    def render(score):
        seconds = np.arange(3 * 8000) / 8000
        return np.sin(2 * np.pi * tones[id(score)] * seconds).astype(np.float32)[:, None].repeat(2, 1) / 3

    monkeypatch.setattr(site.sound, "render", render)
    monkeypatch.setattr(site.sound, "RATE", 8000)
    systems = {name: [tune(60 + i, 80) for i in range(3)] for name in ("a", "b")}  # one piece more than is asked for
    tones |= {
        id(score): 110 * (1 + 2 * k + i) for k, name in enumerate(systems) for i, score in enumerate(systems[name])
    }
    site.write(systems, ListenHParams(pieces=2, seconds=2, kind="pairs"), tmp_path)
    key = json.loads((tmp_path / "key.json").read_text())
    assert key["kind"] == "pairs" and sorted(clip["piece"] for clip in key["clips"].values()) == [0, 0, 1, 1]
    for name, clip in key["clips"].items():
        with wave.open(str(tmp_path / "site" / "audio" / f"{name}.wav")) as file:
            assert (file.getnchannels(), file.getnframes()) == (1, 2 * file.getframerate())
            wave_ = np.frombuffer(file.readframes(file.getframerate()), "<i2")
        crossings = int((np.diff(np.signbit(wave_)) != 0).sum())
        assert round(crossings / 2 / 110) == tones[id(systems[clip["system"]][clip["piece"]])] // 110
    with pytest.raises(HubError, match=r"b has 1 piece with notes; expected listen\.pieces, 2"):
        site.write({"a": systems["a"], "b": systems["b"][:1]}, ListenHParams(pieces=2), tmp_path / "other")


def test_a_clip_fades_where_it_is_cut_and_silence_makes_nothing_louder(monkeypatch):
    rate = 800
    monkeypatch.setattr(site.sound, "RATE", rate)
    whole = np.full((3 * rate, 2), 0.5, dtype=np.float32)
    cut = site.levelled(whole, 2.0)[:, 0]
    assert len(cut) == 2 * rate and cut[-1] == 0 and (whole == 0.5).all()
    assert cut[-rate // 4] == pytest.approx(cut[0] / 2, rel=1e-2)  # half way through half a second
    assert (cut[: -rate // 2 - 1] == cut[0]).all() and cut[0] > 0.08
    assert site.levelled(whole, 3.0) == pytest.approx(0.08)  # to its end, so without a fade
    whole[rate:] = 0
    assert site.levelled(whole, 3.0)[0, 0] == pytest.approx(0.08)
    click = np.full((rate, 1), 0.002, dtype=np.float32)
    click[0] = 1
    assert np.abs(site.levelled(click, 1.0)).max() == 1.0
    assert not site.levelled(np.zeros((rate, 2), dtype=np.float32), 1.0).any()


@pytest.mark.parametrize(("kind", "check"), [("ratings", "2"), ("pairs", "no preference")])
def test_the_page_asks_what_was_asked_for(kind, check):
    found = design.clips(SYSTEMS, 2, seed=0)
    asked = ListenHParams(pieces=2, kind=kind, scales=("mood",), seed=5)
    test = site._test(found, asked)
    orders = (design.pairs_orders if kind == "pairs" else design.ratings_orders)(found, 5)
    assert (test["kind"], test["check"], test["scales"], test["orders"]) == (kind, check, ["mood"], orders)
    assert test["training"] == orders[0][0]
    assert (
        len({site._test(found[:k], ListenHParams(kind=one))["id"] for k in (4, 6) for one in ("pairs", "ratings")}) == 4
    )


def answered(made, participant, value, count=6, check="2"):
    key = json.loads((made / "key.json").read_text())
    scales = key["scales"]
    answers = [
        {"clips": [name], "values": {scale: str(value(clip["system"])) for scale in scales}, "comment": ""}
        for name, clip in list(key["clips"].items())[:count]
    ]
    checks = [{"asked": "2", "values": dict.fromkeys(scales, check)}]
    return json.dumps(
        {"format": 1, "test": key["test"], "participant": participant, "answers": answers, "checks": checks}
    ).encode()


def test_answers_are_kept_never_made_fewer_and_bad_ones_are_named(made, tmp_path, caplog):
    (tmp_path / "key.json").write_bytes((made / "key.json").read_bytes())
    ratings.store(tmp_path, answered(made, "ann", lambda system: 4))
    ratings.store(tmp_path, answered(made, "ann", lambda system: 1, count=2))  # a late request of an earlier moment
    (tmp_path / "ben.json").write_bytes(answered(made, "ben", lambda system: 3))
    (tmp_path / "cat.json").write_bytes(answered(made, "cat", lambda system: 3, check="5"))
    (tmp_path / "torn.json").write_bytes(answered(made, "dan", lambda system: 3)[:-20])
    (tmp_path / "other.json").write_bytes(answered(made, "eve", lambda system: 3).replace(b'"test": "', b'"test": "x'))
    with caplog.at_level("WARNING", "swaptunes"):
        key, found = ratings.collected(tmp_path)
    assert [tree["participant"] for tree in found] == ["ann", "ben"]
    assert {rating.value for rating in ratings.ratings_of(key, found[:1], "overall")} == {4.0}
    said = caplog.text
    assert "attention check failed" in said and "no JSON" in said and "another test" in said


def test_an_answer_that_was_changed_counts(made, tmp_path):
    (tmp_path / "key.json").write_bytes((made / "key.json").read_bytes())
    for value in (4, 2):
        ratings.store(tmp_path, answered(made, "ann", lambda system, value=value: value))
    key, found = ratings.collected(tmp_path)
    assert {rating.value for rating in ratings.ratings_of(key, found, "overall")} == {2.0}


def test_the_longest_of_a_participant_s_answers_counts_wherever_it_lies(made, tmp_path):
    (tmp_path / "key.json").write_bytes((made / "key.json").read_bytes())
    ratings.store(tmp_path, answered(made, "ann", lambda system: 4))
    ratings.store(tmp_path, answered(made, "ben", lambda system: 4, count=2))
    ratings.store(tmp_path, answered(made, "ann", lambda system: 2).replace(b'"test": "', b'"test": "x'))
    (tmp_path / "ann.json").write_bytes(answered(made, "ann", lambda system: 1, count=2))
    (tmp_path / "ben.json").write_bytes(answered(made, "ben", lambda system: 1, count=5))
    key, found = ratings.collected(tmp_path)
    assert [(tree["participant"], len(tree["answers"])) for tree in found] == [("ann", 6), ("ben", 5)]
    assert [rating.value for rating in ratings.ratings_of(key, found, "overall")] == [4.0] * 6 + [1.0] * 5
    found[0]["answers"][0]["values"]["overall"] = None  # nothing was said
    told = ratings.ratings_of(key, found[:1], "overall")
    assert [(one.rater, one.clip, one.system) for one in told] == [
        ("ann", name, clip["system"]) for name, clip in list(key["clips"].items())[1:]
    ]


def paired(key, participant, preferences):
    """Answers to pairs of the first clip of model_a and the first of model_b, and the other way round in turn."""
    first, second = (next(n for n, clip in key["clips"].items() if clip["system"] == name) for name in SYSTEMS[:2])
    answers = [
        {"clips": [second, first] if turn % 2 else [first, second], "values": {"preference": said}}
        for turn, said in enumerate(preferences)
    ]
    return {"format": 1, "test": key["test"], "participant": participant, "answers": answers, "checks": []}


def test_preferences_are_those_of_the_clips_in_their_order_and_one_without_is_left_out(made, tmp_path, caplog):
    key = json.loads((made / "key.json").read_text()) | {"kind": "pairs"}
    (tmp_path / "key.json").write_text(json.dumps(key))
    trees = {"ann": paired(key, "ann", ["A", "A", "no preference", "B"]), "ben": paired(key, "ben", ["A", "A"])}
    trees["ben"]["answers"][1]["values"] = {"overall": "3"}
    trees["cat"] = paired(key, "cat", ["A"])
    trees["cat"]["answers"][0]["clips"].pop()
    trees["dan"] = paired(key, "dan", [["A"]])
    for name, tree in trees.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(tree))
    with caplog.at_level("WARNING", "swaptunes"):
        _, found = ratings.collected(tmp_path)
    told = [(one.rater, one.first, one.second, one.won) for one in ratings.preferences_of(key, found)]
    a, b = SYSTEMS[:2]
    assert told == [("ann", a, b, 1.0), ("ann", b, a, 1.0), ("ann", a, b, 0.5), ("ann", b, a, 0.0)]
    assert "ben.json is left out: answer 2 has no preference" in caplog.text
    assert "cat.json is left out: answer 1 names 1 clip" in caplog.text
    assert 'dan.json is left out: answer 1 says ["A"] for preference' in caplog.text


@pytest.mark.parametrize("text", [b"", b"[]", b'{"format": 1}', b"{" * 5000, b"x" * (ratings.MOST_BYTES + 1)])
def test_what_is_no_answer_is_refused(text, tmp_path):
    with pytest.raises(ValueError):
        ratings.store(tmp_path, text)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda answer: answer.pop("values"), "number 1 of the answers has no clips or no values"),
        (lambda answer: answer.update(clips="x"), "number 1 of the answers has no clips or no values"),
        (lambda answer: answer.update(clips=["unheard"]), "names 1 clip, 1 of them not of this test"),
        (lambda answer: answer.update(clips=[[]]), "names 1 clip, 1 of them not of this test"),
        (lambda answer: answer.update(clips=[]), "names 0 clips"),
        (lambda answer: answer["values"].update(overall="6"), 'says "6" for overall'),
        (lambda answer: answer["values"].update(overall=[1]), "says [1] for overall"),
        (lambda answer: answer.update(clips=answer["clips"] * 2), "names 2 clips, 0 of them not of this test"),
    ],
)
def test_what_no_page_can_have_sent_is_named_and_spoils_nobody_s_results(made, tmp_path, caplog, spoil, says):
    (tmp_path / "key.json").write_bytes((made / "key.json").read_bytes())
    (tmp_path / "ann.json").write_bytes(answered(made, "ann", lambda system: 4))
    tree = json.loads(answered(made, "ben", lambda system: 3))
    spoil(tree["answers"][0])
    (tmp_path / "ben.json").write_text(json.dumps(tree))
    with caplog.at_level("WARNING", "swaptunes"):
        _, found = ratings.collected(tmp_path)
    assert [tree["participant"] for tree in found] == ["ann"]
    assert "ben.json is left out" in caplog.text and says in caplog.text


def test_the_server_gives_the_page_takes_answers_and_nothing_else(made):
    with server.server(made, 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{running.server_address[1]}"

        def status(path, data=None):
            try:
                with urllib.request.urlopen(urllib.request.Request(base + path, data=data), timeout=10) as answer:
                    return answer.status
            except urllib.error.HTTPError as error:
                return error.code

        assert status("/") == 200
        assert [status(path) for path in ("/../key.json", "/%2e%2e/key.json", "/audio/", "/ratings.db")] == [404] * 4
        assert status("/ratings", answered(made, "zoe", lambda system: 5)) == 200
        assert status("/ratings", b"{}") == 400 and status("/elsewhere", b"{}") == 404
        assert status("/ratings", b"x" * (ratings.MOST_BYTES + 1)) == 413
        (made / "ratings.db").rename(made / "kept")
        (made / "ratings.db").write_text("no database, though it bears the name of one " * 50)
        assert status("/ratings", answered(made, "yan", lambda system: 5)) == 507
        (made / "kept").rename(made / "ratings.db")
        with pytest.raises(HubError, match="cannot be had"):
            server.server(made, running.server_address[1])
        running.shutdown()
    (made / "ratings.db").unlink()


def test_results_tell_what_the_raters_said(made, tmp_path):
    pytest.importorskip("statsmodels", reason="the extra listen is not installed")
    from supervisors.listening.results import report

    (tmp_path / "key.json").write_bytes((made / "key.json").read_bytes())
    for number in range(6):
        opinion = {"model_a": 1 + number % 2, "model_b": 3, "real": 4 + number % 2}
        (tmp_path / f"{number}.json").write_bytes(answered(made, f"p{number}", opinion.get))
    text = report(tmp_path)
    assert "6 participants" in text and "| real | 4.50 |" in text and "| model_a | 1.50 |" in text
    assert (tmp_path / "index.html").read_text().count("<table>") == 4
    told = json.loads((tmp_path / "results.json").read_text())
    assert (told["participants"], told["kind"]) == (6, "ratings") and set(told["overall"]["spread"]) == {
        "rater", "taste", "clip", "rest"
    }  # fmt: skip
    means = {mean["name"]: mean["value"] for mean in told["overall"]["means"]}
    assert means == pytest.approx({"model_a": 1.5, "model_b": 3.0, "real": 4.5}), "all that is drawn from them"
    differences = {(one, other): mean["value"] for one, other, mean in told["structure"]["differences"]}
    assert differences[("model_a", "real")] == pytest.approx(-3.0) and len(differences) == 3


def test_pairs_have_results_too(made, tmp_path):
    pytest.importorskip("choix", reason="the extra listen is not installed")
    from supervisors.listening.results import report

    key = json.loads((made / "key.json").read_text()) | {"kind": "pairs"}
    (tmp_path / "key.json").write_text(json.dumps(key))
    for name in ("ann", "ben"):  # three of four for model_a
        (tmp_path / f"{name}.json").write_text(json.dumps(paired(key, name, ["A", "B", "A", "A"])))
    text = report(tmp_path)
    rows = [line for line in text.splitlines() if line.startswith("| model")]
    half = np.log(6.5 / 2.5) / 2  # six of eight, and half a win both ways
    assert rows == [f"| model_{name} | {v:.2f} | {v:.2f} to {v:.2f} |" for name, v in (("a", half), ("b", -half))]
    assert json.loads((tmp_path / "results.json").read_text())["kind"] == "pairs"


def test_the_page_of_a_scale_ranks_no_further_than_the_intervals():
    pytest.importorskip("scipy", reason="the extra listen is not installed")
    from supervisors.listening.results import _scale
    from supervisors.listening.statistics import Mean, Opinion, Spread

    means = [Mean("a", 3.0, 2.5, 3.5), Mean("b", 4.25, 4.0, 4.5), Mean("c", 1.0, 0.5, 1.5)]
    differences = [
        ("a", "b", Mean("", -1.25, -2.0, -0.5)),
        ("a", "c", Mean("", 2.0, -0.25, 4.0)),
        ("b", "c", Mean("", 3.25, 0.25, 6.0)),
    ]
    opinion = Opinion(means, differences, 0.0123, {("a", "b"): 0.04}, 0.5, Spread(1, 0, 0.0, 0.36), raters=3, clips=8)
    lines = _scale(opinion)
    assert lines[2:5] == ["| b | 4.25 | 4.00 to 4.50 |", "| a | 3.00 | 2.50 to 3.50 |", "| c | 1.00 | 0.50 to 1.50 |"]
    assert lines[6:12] == [
        "- b is better than a.",
        "- b is better than c.",
        "- Not told apart: a and c.",
        "- Friedman: p = 0.0123 that all systems are alike.",
        "- Wilcoxon, a and b: p = 0.04 (Holm).",
        "- Agreement of raters (Krippendorff's alpha): 0.50.",
    ]
    assert len(lines) == 14 and lines[12].startswith("- To tell 0.3 apart with a power of 80 %: ")


PAGE = Path(__file__).parent / "listening_page.js"
SCRIPT = Path(site.__file__).parent / "test.js"


def taken(test, participant, kept=()):
    """What a participant who answers all on the page is asked, and what becomes of the answers."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    command = [node, PAGE, SCRIPT, json.dumps(test), participant, json.dumps(list(kept))]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_the_page_goes_through_a_participant_s_order_with_practice_first_and_a_check_in_the_middle():
    test = {"id": "t1", "kind": "ratings", "scales": ["overall", "melody"], "training": "p", "check": "2"}
    test["orders"] = [["a", "b", "c"], ["c", "a", "b"], ["b", "c", "a"]]
    found = taken(test, " 5 ")  # a number is a place among the orders, the third
    assert [sources for _, sources, *_ in found["asked"]] == [
        ["audio/p.wav"], ["audio/b.wav"], [], ["audio/c.wav"], ["audio/a.wav"]
    ]  # fmt: skip
    heads = [head for head, *_ in found["asked"]]
    assert heads == ["For practice (this one does not count)", *(f"Trial {k} of 4" for k in range(1, 5))]
    # Who has not heard a clip to its end cannot go on, but in practice; a check has nothing to be heard.
    assert [(before, after) for _, _, before, after, _ in found["asked"]] == [
        (False, False), (True, False), (False, False), (True, False), (True, False)
    ]  # fmt: skip
    assert "please choose 2 on every scale" in found["asked"][2][4] and found["hidden"]
    last = found["sent"][-1]
    assert (last["participant"], last["test"], last["order"], last["format"]) == ("5", "t1", 2, 1)
    assert [answer["clips"] for answer in last["answers"]] == [["b"], ["c"], ["a"]]
    assert [answer["values"] for answer in last["answers"]] == [
        {"overall": value, "melody": value} for value in ("3", "5", "1")
    ]
    assert last["checks"] == [{"asked": "2", "values": {"overall": "2", "melody": "2"}}]
    assert [len(one["answers"]) for one in found["sent"]] == [0, 1, 1, 2, 3], "every answer is sent at once"
    assert found["store"] == [["listening-t1-5", json.dumps(last, separators=(",", ":"))]]
    assert found["file"] == "ratings-5.json" and ratings.checked(json.dumps(last).encode())
    assert ratings._fits(last, {"test": "t1", "kind": "ratings", "clips": {"a": {}, "b": {}, "c": {}}}) == ""
    half = found["sent"][1]
    again = taken(test, "5", [("listening-t1-5", json.dumps(half))])
    assert [head for head, *_ in again["asked"]] == heads[2:], "who comes back goes on where they stopped"
    assert again["sent"][-1]["answers"][0] == half["answers"][0]


def test_the_page_of_pairs_keeps_their_sides_and_a_name_has_always_one_order():
    test = {"id": "t2", "kind": "pairs", "scales": ["overall"], "training": ["p", "q"], "check": "no preference"}
    test["orders"] = [[[f"a{k}", f"b{k}"]] for k in range(48)]
    found = taken(test, "Zo\u00eb")
    number = 2166136261  # FNV-1a over the letters
    for letter in "Zo\u00eb":
        number = (number ^ ord(letter)) * 16777619 % 2**32
    order = number % 48
    answer = found["sent"][-1]["answers"][0]
    assert answer["clips"] == [f"a{order}", f"b{order}"] and answer["values"] == {"preference": "B"}
    assert found["sent"][-1]["checks"] == [{"asked": "no preference", "values": {"preference": "no preference"}}]
    clips = {name: {} for pair in test["orders"] for name in pair[0]}
    assert ratings._fits(found["sent"][-1], {"test": "t2", "kind": "pairs", "clips": clips}) == ""
    assert found["asked"][0][1] == ["audio/p.wav", "audio/q.wav"] and found["file"] == "ratings-Zo_.json"
