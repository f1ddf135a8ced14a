"""Listening tests: blind, balanced, equally loud, nothing lost on the way to their results."""

import json
import threading
import urllib.error
import urllib.request
import wave
from collections import Counter
from itertools import pairwise, permutations

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
        first[system_of[order[0]]] += 1
    assert set(first.values()) == {len(orders) // 3}


def test_pairs_are_of_two_systems_and_change_sides():
    found = design.clips(SYSTEMS, 4, seed=1)
    system_of = {clip.name: clip.system for clip in found}
    orders = design.pairs_orders(found, seed=1)
    sides = Counter(tuple(system_of[name] for name in pair) for order in orders for pair in order)
    assert all(a != b for a, b in sides) and len(set(sides.values())) == 1


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


@pytest.mark.parametrize("text", [b"", b"[]", b'{"format": 1}', b"{" * 5000, b"x" * (ratings.MOST_BYTES + 1)])
def test_what_is_no_answer_is_refused(text, tmp_path):
    with pytest.raises(ValueError):
        ratings.store(tmp_path, text)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda answer: answer.pop("values"), "number 1 of the answers has no clips or no values"),
        (lambda answer: answer.update(clips="x"), "number 1 of the answers has no clips or no values"),
        (lambda answer: answer.update(clips=["unheard"]), "names 1 clips, 1 of them not of this test"),
        (lambda answer: answer.update(clips=[[]]), "names 1 clips, 1 of them not of this test"),
        (lambda answer: answer.update(clips=[]), "names 0 clips"),
        (lambda answer: answer["values"].update(overall="6"), 'says "6" for overall'),
        (lambda answer: answer["values"].update(overall=[1]), "says [1] for overall"),
        (lambda answer: answer.update(clips=answer["clips"] * 2, values={"preference": ["A"]}), "for preference"),
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
