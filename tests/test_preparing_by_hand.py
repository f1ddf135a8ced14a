"""What a data set is said to hold: the survey's figures, keys, sides and a store's manifest, worked out by hand."""

import errno
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import symusic

from core.contracts.dataset import Item
from core.contracts.piece import Piece
from core.errors import HubError
from core.files import StorageError
from core.log import logger
from datatools.preparing import cache, controls, encoding, intact, ledger, losses, manifest, store, survey
from datatools.preparing.duplicates import HASHES, NearIndex, exact_key, sketch
from datatools.preparing.ledger import Entry, Ledger
from datatools.preparing.splits import Candidate, Elder, Verdict, assign, by_hash, position
from datatools.reading.scores import piece_from_score
from datatools.storage import cache_folder, storage
from datatools.workers.pool import Failure
from hparams.base import DataHParams
from hparams.tokenizers.note_tokens import RemiHParams
from tests.toy_tokenizer import PITCH, ToyTokenizer

DATA = DataHParams(workers=1)


def made(*tracks: list[tuple[int, int, int, int]], programs: tuple[int, ...] = (), drums: tuple[int, ...] = ()) -> Any:
    """Tracks of (start, duration, pitch, velocity), 480 ticks a quarter."""
    score = symusic.Score(480)
    for number, rows in enumerate(tracks):
        program = programs[number] if number < len(programs) else 0
        track = symusic.Track("", program, number in drums)
        for row in rows:
            track.notes.append(symusic.Note(*row))
        score.tracks.append(track)
    return score


LINE = [(480 * n, 480, pitch, 80) for n, pitch in enumerate((60, 64, 62, 67, 65, 71, 69, 72))]


def test_the_survey_measures_notes_seconds_and_what_there_is_to_tell() -> None:
    """Eight quarters, four of them at 120 and four at 60 a minute, and a bass note held for one more: 6 + 1 seconds."""
    score = made(LINE, [(480 * 8, 480, 40, 80)], programs=(0, 32))
    score.tempos.append(symusic.Tempo(480 * 4, 60))
    piece = piece_from_score(score, source="s", title="A title", sha256="f" * 64)
    found = survey.measure(lambda item: piece, Item("s"))
    assert (found.title, found.sha256, found.notes, found.seconds) == ("A title", "f" * 64, 9, pytest.approx(7))
    assert (found.programs, found.velocities, found.tempos) == (True, False, True)
    assert found.key == exact_key(score) and len(found.key) == 64
    row = survey._row(Item("s"), "s", found)
    assert np.array_equal(row.minhash, sketch(score)) and row.notes == 9 and row.tempos and not row.velocities
    with pytest.raises(ValueError, match="it has no notes"):
        survey.measure(lambda item: Piece("s", "", "", lambda: made([]), str), Item("s"))
    failed = survey._row(Item("s"), "s", Failure("takes longer than 3 s", limited=True))
    assert (failed.failure, failed.limited, failed.notes) == ("takes longer than 3 s", True, 0)


class Several:
    """Pieces by number; the second fails for want of time, as long as it should."""

    license, url, root, slow = "", "", Path("/music"), True

    def __init__(self) -> None:
        self.read_again: list[str] = []

    def items(self) -> Iterator[Item]:
        yield from (
            Item("/music/b.mid"),
            Item("/music/a/slow.mid"),
            Item("/music/book.abc"),
            Item("/music/book.abc", 1),
        )
        yield Item("/elsewhere/x.mid")


def test_a_survey_keeps_the_order_of_items_and_asks_again_for_what_was_too_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Several()

    def spread(function: Any, tasks: list[Item], **settings: Any) -> Iterator[Any]:
        for item in reversed(tasks):
            dataset.read_again.append(survey.short(item.path, dataset.root))
            slow = "slow" in item.path and dataset.slow
            measured = survey.Measured(item.path, "", item.index + 1, 1.5, False, False, False, "k", bytes(4))
            yield item, Failure("takes longer than 3 s", limited=True) if slow else measured

    monkeypatch.setattr(survey, "spread", spread)
    names = ["b.mid", "a/slow.mid", "book.abc#0", "book.abc#1", "/elsewhere/x.mid"]
    path = tmp_path / "deep" / "s.jsonl"
    first = survey.survey(dataset, path, DATA, "print", False)
    assert [row.source for row in first] == names and [row.item for row in first] == list(dataset.items())
    assert [row.failure for row in first] == ["", "takes longer than 3 s", "", "", ""]
    assert [row.notes for row in first] == [1, 0, 1, 2, 1]
    dataset.slow = False
    dataset.read_again.clear()
    again = survey.survey(dataset, path, DATA, "print", False)
    assert dataset.read_again == ["a/slow.mid"] and [row.failure for row in again] == [""] * 5
    assert [row.notes for row in again] == [1, 1, 1, 2, 1]
    dataset.read_again.clear()
    assert survey.survey(dataset, path, DATA, "print", False) == again and not dataset.read_again
    survey.survey(dataset, path, DATA, "another", False)
    assert len(dataset.read_again) == 5, "rows of other data are none of ours"
    assert survey.skipped(dataset) == []
    told = SimpleNamespace(skipped=lambda: iter([("a", "a link to nothing")]))
    assert survey.skipped(told) == [("a", "a link to nothing")]  # type: ignore[arg-type]
    assert survey.printable("a\nb\x1b[é") == "a\\nb\\x1b[é"


def test_what_a_piece_may_lose_is_told_by_its_contents() -> None:
    quiet, loud = [(0, 480, 60, 50)], [(0, 480, 60, 50), (480, 480, 62, 90)]
    assert losses.contents(made(loud)) == (False, True, False)
    assert losses.contents(made(quiet, [(0, 1, 36, 50)], drums=(1,))) == (True, False, False)
    assert losses.contents(made(quiet, [(0, 1, 36, 99)], drums=(1,))) == (True, True, False)
    slow = made(quiet)
    slow.tempos.append(symusic.Tempo(0, 119.8))  # which is 120 in whole numbers
    assert losses.contents(slow) == (False, False, False)
    slow.tempos.append(symusic.Tempo(480, 90))
    assert losses.contents(slow) == (False, False, True)
    # A note that lasts 1.04 times the longest one told is rounding, one of 1.06 is cut.
    told = made([(0, 480, 60, 80), (480, 480, 62, 80)])
    assert losses.losses(made([(0, 499, 60, 80), (480, 480, 62, 80)]), told) == {}
    assert losses.losses(made([(0, 509, 60, 80), (480, 480, 62, 80)]), told) == {"durations": 1}
    counts = {
        "counts": {"train": {"notes": 100}, "valid": {"notes": 100}},
        "lost": {"tempos": 1500, "drums": 3},
        "remarks": 0,
    }
    assert losses.advice(counts, RemiHParams()) == [
        "lost         1,500 marks: tempos -> tokenizer.use_tempos=true",
        "             1.5 % of notes: drums -> tokenizer.use_programs=true",
    ]


def test_keys_count_in_48ths_and_know_an_octave() -> None:
    """A 48th is ten ticks: 484 is 48.4 of them, 485 is 48.5, which goes up; both for onsets and for lengths."""

    def key(start: int, duration: int = 480, second: int = 64) -> str:
        return exact_key(made([(0, 480, 60, 80), (start, duration, second, 80)]))

    assert key(484) == key(480) == key(476) != key(485) == key(490)
    assert key(480, 484) == key(480) != key(480, 485) == key(480, 490)
    assert key(480, second=64) != key(480, second=76), "an octave apart is another music"
    chord = [(0, 480, 60, 80), (0, 480, 64, 80), (0, 240, 67, 80)]
    assert exact_key(made(chord)) == exact_key(made(chord[::-1])) == exact_key(made(chord[2:], chord[:2]))
    # All silence before the first note goes, before drums too, and what stands between them stays.
    drums = [(960, 10, 36, 80)]
    late = [(t + 480, d, p, v) for t, d, p, v in LINE]
    assert exact_key(made(late, [(1440, 10, 36, 80)], drums=(1,))) == exact_key(made(LINE, drums, drums=(1,)))
    assert exact_key(made(late, drums, drums=(1,))) != exact_key(made(LINE, drums, drums=(1,)))
    pair, struck = (
        made([(0, 480, 60, 80), (480, 480, 96, 80)]),
        made([(0, 480, 60, 80)], [(480, 480, 36, 80)], drums=(1,)),
    )
    assert exact_key(pair) != exact_key(struck), "a drum is no pitch, whatever its number"
    # Drums count in a sketch only where there is nothing else.
    assert np.array_equal(sketch(made(LINE, drums, drums=(1,))), sketch(made(LINE)))
    assert not np.array_equal(
        sketch(made(drums, drums=(0,))), sketch(made([(960, 10, 40, 80), (0, 1, 37, 1)], drums=(0,)))
    )


def test_near_is_a_quarter_of_the_hashes_and_the_nearest_comes_first() -> None:
    asked = np.arange(HASHES, dtype=np.uint32)
    sketches = [asked + 1000 for _ in range(5)]
    for name, shared in enumerate((31, 32, 64, 40, 64)):
        sketches[name][:shared] = asked[:shared]
        sketches[name][-1] += name  # no two are equal
    index = NearIndex([*sketches, asked])
    for name in range(5):
        index.add(name)
    assert index.near(5) == [(2, 0.5), (4, 0.5), (3, 0.3125), (1, 0.25)]


def candidate(name: str, key: str = "", shares: int = 0, **more: Any) -> Candidate:
    """A piece whose sketch has its first hashes in common with all others that share as many."""
    own = (crc32(name.encode()) + np.arange(HASHES)).astype(np.uint32)
    own[:shares] = np.arange(shares)
    return Candidate(name, key or name, own, **more)


def keys(side: str, count: int) -> list[str]:
    """The first names in a row whose hash is on a side."""
    return [name for name in (f"{n:064x}" for n in range(2000)) if by_hash(name) == side][:count]


def test_sides_by_hand() -> None:
    """Published pieces come first; a group decides like the same music; a key is the same piece however it sounds."""
    train, valid, test = (keys(side, 45) for side in ("train", "valid", "test"))
    filler = [candidate(key) for key in (*train[:40], *valid[:2], *test[:2])]
    published = candidate("published", train[40], 64, split="test")
    near = candidate("a near one", train[41], 64)  # by name and key before it, and decided after it all the same
    again = candidate("again", train[40], 0)
    grouped = [candidate("one", valid[5], group="w"), candidate("two", train[42], group="w")]
    verdicts, known = assign([*filler, near, published, again, *grouped], Ledger())
    found = dict(zip(("near", "published", "again", "one", "two"), verdicts[len(filler) :], strict=True))
    assert found["published"] == Verdict("test", ())
    assert found["near"] == Verdict("test", (Elder("published", "test", 0.5),))
    assert found["again"] == Verdict("test", (Elder("published", "test", 1.0),))
    elder = min(grouped, key=lambda one: one.key)
    follower = "two" if elder.name == "one" else "one"
    assert found[elder.name].elders == () and found[elder.name].side == by_hash(elder.key)
    assert found[follower] == Verdict(by_hash(elder.key), (Elder(elder.name, by_hash(elder.key), 1.0),))
    assert {entry.name: entry.group for entry in known.entries}["one"] == "w"
    # What the ledger knows keeps its side and comes before what is new, whose key would be the first.
    late = candidate("late", "-", 64)
    verdicts, _ = assign([*filler, late, published, near], known)
    assert verdicts[len(filler)].elders == (Elder("published", "test", 0.5), Elder("a near one", "test", 0.5))


def test_a_work_s_first_piece_is_its_elder_and_comes_before_what_is_near() -> None:
    one, two = (candidate(f"{n} w", f"{n}", group="w", split=side) for n, side in (("1", "train"), ("2", "test")))
    near = candidate("near", "3", 64, split="train")
    late = candidate("late", "4", 64, group="w")
    verdict = assign([one, two, near, candidate("v", "5", split="valid"), late], Ledger())[0][-1]
    assert verdict == Verdict("train", (Elder("1 w", "train", 1.0), Elder("near", "train", 0.5)))


def test_a_store_says_of_itself_what_it_is(tmp_path: Path) -> None:
    tokenizer = ToyTokenizer()
    (tmp_path / "tokenizer").mkdir()
    tokenizer.save(tmp_path / "tokenizer")
    np.arange(9, dtype="<u2").tofile(tmp_path / "tokens.bin")
    (tmp_path / "progress.jsonl").touch()

    def row(name: str, notes: int, seconds: float) -> survey.Row:
        return survey.Row(Item(f"/music/{name}"), name, "", False, name.upper(), name * 3, notes, seconds)

    rows = [row("a", 10, 1.25), row("b", 20, 2.5), row("c", 40, 61.0), row("d", 1, 1.0)]
    outcomes = [
        manifest.Outcome(rows[0], "train", 3, 8, "", {"drums": 2}),
        manifest.Outcome(rows[1], "train", 2, 20, "odd", {"drums": 1, "tempos": 5}),
        manifest.Outcome(rows[2], "test", 4, 40, "", {}),
    ]
    elder = Elder("a", "train", 0.5)
    verdicts = [
        (rows[0], Verdict("train")),
        (rows[1], Verdict("train", (elder,))),
        (rows[2], Verdict("test", (elder, Elder("x", "test", 0.4)))),
        (rows[3], Verdict("out", (elder, Elder("c", "test", 0.3)))),
    ]
    dataset = SimpleNamespace(root="/music", license="free", url="http://x")
    prepared = manifest.Prepared(dataset, "set", "print", tokenizer, "key", {"symusic": "1"}, {"seconds": 3.0})  # type: ignore[arg-type]
    manifest.write(tmp_path, prepared, outcomes, verdicts, [("e\n", "it is empty")], [("f", "no token")], 7)
    found = json.loads((tmp_path / "manifest.json").read_text())
    nothing = dict.fromkeys(("pieces", "notes", "notes_told", "tokens"), 0) | {"seconds": 0}
    told = {
        "dtype": "uint16", "failures": 2, "unread": 1, "refused": 1, "limited": 7, "limits": {"seconds": 3.0},
        "remarks": 1, "lost": {"drums": 3, "tempos": 5}, "left_out": 1, "near_duplicates": 2, "near_across_splits": 1,
        "versions": {"symusic": "1"},
        "counts": {
            "train": {"pieces": 2, "notes": 30, "notes_told": 28, "seconds": 3.75, "tokens": 5},
            "valid": nothing,
            "test": {"pieces": 1, "notes": 40, "notes_told": 40, "seconds": 61.0, "tokens": 4},
        },
        "dataset": {"name": "set", "fingerprint": "print", "root": "/music", "license": "free", "url": "http://x"},
        "tokenizer": {"key": "key", "fingerprint": "toy 0", "vocab_size": 132, "streams": 1},
    }  # fmt: skip
    assert {key: found[key] for key in told} == told
    assert set(found["files"]) == {"tokens.bin", "offsets.npy", "pieces.jsonl", "tokenizer/toy.json"}
    assert (tmp_path / "failures.txt").read_text() == "e\\n: it is empty\nf: no token\n"
    assert (tmp_path / "remarks.txt").read_text() == "b: odd\n"
    lines = {
        name: [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("left_out", "near")
    }
    assert [(one["source"], one["side"]) for one in lines["left_out"]] == [("d", "out")]
    assert [(one["source"], one["side"]) for one in lines["near"]] == [("b", "train"), ("c", "test")]
    assert lines["near"][0]["elders"] == [{"name": "a", "side": "train", "similarity": 0.5}]
    assert not (tmp_path / "progress.jsonl").exists()
    opened = store.TokenStore(tmp_path)
    assert opened.pieces("test") == [
        store.PieceInfo("c", "C", 40, 40, 61.0, 4, "test", "ccc", "/music/c", 0)
    ] and opened.ids("test", 0).tolist() == [5, 6, 7, 8]
    for wrong in (-1, 1):
        with pytest.raises(IndexError, match=f"test has 1 piece; piece {wrong} was asked for"):
            opened.ids("test", wrong)
    assert opened.pieces("valid") == [] and opened.lengths("train").tolist() == [3, 2]
    assert store.TokenStore(tmp_path, Path("/moved")).pieces("train")[1].path == "/moved/b"
    with pytest.raises(intact.Damaged, match=r"manifest.json is of format 3; expected 2"):
        (tmp_path / "manifest.json").write_text(json.dumps({"format": 3}))
        store.TokenStore(tmp_path)


class Remarking(ToyTokenizer):
    """Says two things of every piece, one of them twice, and one that nobody need know; tells no pitch above 66."""

    def encode(self, piece: Piece) -> list[int]:
        for said in (f"{piece.source}: one", "two", "two"):
            logger.info(said)
        logger.debug("not this")
        return [id for id in super().encode(piece) if id < PITCH + 67]


def test_what_a_worker_tells_of_a_piece(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(encoding._built, tmp_path, Remarking())
    piece = piece_from_score(made(LINE), source="s", remarks=["mended: x"])
    level = logger.level
    told = encoding.encode(lambda folder: Remarking(), tmp_path, lambda item: piece, Item("s"))
    assert told.remarks == "mended: x; one; two" and logger.level == level
    assert told.told == 4 and told.lost == {"pitches": 4} and told.ids.dtype == np.uint32
    long = piece_from_score(made(LINE), source="s", remarks=["x" * 2000])
    told = encoding.encode(lambda folder: Remarking(), tmp_path, lambda item: long, Item("s"))
    assert len(told.remarks) == encoding.MOST_REMARKS == 1000
    assert [str(encoding.token_type(sizes)) for sizes in ([65536], [2, 65537], [65537, 2])] == [
        "uint16",
        "uint32",
        "uint32",
    ]
    one, two = Item("/m/a.abc"), Item("/m/b.mid")
    rows = [survey.Row(one, "a"), survey.Row(two, "b"), survey.Row(Item("/m/c"), "c")]
    answers = [Failure("/m/a.abc: no key"), Failure("/m/b.mid#0: takes long", limited=True)]

    def spread(function: Any, tasks: list[Item], **settings: Any) -> Iterator[Any]:
        yield from zip(tasks, [*answers, encoding.Told(np.array([5, 6]), 2, "r", {"drums": 1})], strict=True)

    monkeypatch.setattr(encoding, "spread", spread)
    done = encoding.encode_all(tmp_path, None, [10], None, rows, DATA, False)  # type: ignore[arg-type]
    assert done == [
        encoding.Encoded("a", 0, failure="no key"),
        encoding.Encoded("b", 0, failure="takes long", limited=True),
        encoding.Encoded("c", 2, 2, "r", lost={"drums": 1}),
    ]
    assert np.fromfile(tmp_path / "tokens.bin", dtype="<u2").tolist() == [5, 6]


class Counted:
    """A data set of five pieces, two on each side but one to test, that counts how often it is read."""

    license, url, identity, root = "", "http://x", "five pieces", None

    def __init__(self) -> None:
        self.print, self.count = "a", 5

    def prepare(self, folder: Path) -> None:
        assert folder.parent.name == "datasets" and folder.name.startswith("five-pieces-")

    def fingerprint(self) -> str:
        return self.print

    def items(self) -> list[Item]:
        sides = ("train", "train", "valid", "valid", "test", "train")
        return [Item(str(n), split=sides[n]) for n in range(self.count)]  # type: ignore[arg-type]

    def skipped(self) -> list[tuple[str, str]]:
        return [("x", "a link to nothing")]

    def read(self, item: Item) -> Piece:
        pitches = np.random.default_rng(int(item.path)).integers(40, 80, 20).tolist()
        rows = [(480 * n, 480, pitch, 80) for n, pitch in enumerate(pitches)]
        return piece_from_score(made(rows), source=item.path, title=item.path)


class Trained(ToyTokenizer):
    """Walks through what it is given more than once, as tokenizers of byte pairs do."""

    def train(self, pieces: Any) -> None:
        titles = [piece.title for piece in pieces]
        assert titles == [piece.title for piece in pieces] and len(pieces) == len(titles)
        self.seen = titles


def build_trained(folder: Path | None = None) -> Trained:
    return Trained(folder)


def test_a_store_belongs_to_its_data_tokenizer_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path))

    def spread(function: Any, tasks: list[Item], **settings: Any) -> Iterator[Any]:
        yield from ((task, function(task)) for task in tasks)

    for module in (survey, encoding):
        monkeypatch.setattr(module, "spread", spread)
    dataset = Counted()

    def folder(key: str = "k") -> Path:
        encoding._built.clear()
        return cache.prepare(dataset, build_trained, key, DATA, progress=False).folder

    first = folder()
    assert folder() == first != folder("other")
    assert json.loads((first / "tokenizer" / "toy.json").read_text()) == ["0", "1"], "training pieces alone"
    opened = store.TokenStore(first)
    sides = [[piece.title for piece in opened.pieces(split)] for split in ("train", "valid", "test")]
    assert sides == [["0", "1"], ["2", "3"], ["4"]]
    decoded = ToyTokenizer(first / "tokenizer").decode(opened.ids("valid", 1).tolist()).score
    pitches = [note.pitch for note in dataset.read(Item("3")).score.tracks[0].notes]
    assert [note.pitch for note in decoded.tracks[0].notes] == pitches, "and its tokens are its own"
    names = {path.name for path in (tmp_path / "surveys").iterdir()}
    monkeypatch.setattr(cache, "versions", lambda: {"symusic": "99"})
    newer = folder()
    assert newer != first and {path.name for path in (tmp_path / "surveys").iterdir()} == names
    monkeypatch.setattr(cache.readings, "version", lambda: "other readers")
    assert folder() not in (first, newer) and len(list((tmp_path / "surveys").iterdir())) == 2
    assert opened.failures_path.read_text() == "x: a link to nothing\n" and opened.manifest["unread"] == 1
    dataset.print, dataset.count = "b", 6
    assert folder() not in (first, newer) and len(list((tmp_path / "surveys").iterdir())) == 3
    (kept,) = (tmp_path / "ledgers").iterdir()
    assert len(ledger.load(kept).entries) == 6
    rows = cache.surveyed(dataset, DATA, progress=False)
    assert [row.title for row in rows] == ["0", "1", "2", "3", "4", "5"]

    def impatient(function: Any, tasks: list[Item], **settings: Any) -> Iterator[Any]:
        for task in tasks:
            yield task, Failure("takes long", limited=True) if task.path == "5" else function(task)

    monkeypatch.setattr(encoding, "spread", impatient)
    told = store.TokenStore(folder("slow")).manifest
    assert (told["limited"], told["unread"], told["refused"], told["counts"]["train"]["pieces"]) == (1, 1, 1, 2)


def test_limits_that_could_bring_more_make_a_store_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"limited": 1, "limits": {"seconds": 3.0, "megabytes": 100}}
    monkeypatch.setattr(cache, "TokenStore", lambda folder, root: SimpleNamespace(manifest=kept))

    def stands(seconds: float, megabytes: int) -> bool:
        data = SimpleNamespace(seconds_per_file=seconds, megabytes_per_worker=megabytes)
        return cache._standing(tmp_path, tmp_path, data) is not None  # type: ignore[arg-type]

    asked = [(3.0, 100), (2.0, 90), (4.0, 100), (3.0, 200), (2.0, 200)]
    assert [stands(*one) for one in asked] == [True, True, False, False, False]
    kept["limited"] = 0
    assert stands(9.0, 900)


def test_few_works_and_lonely_sides_are_ranked_and_a_set_without_validation_is_refused() -> None:
    """Works, not pieces, are counted; by rank a tenth validates and a tenth tests, the last ones of the hash."""
    lonely = [candidate(key) for key in keys("train", 45)]
    verdicts, _ = assign(lonely, Ledger())
    order = sorted(range(45), key=lambda n: position(lonely[n].key))
    sides = [verdicts[n].side for n in order]
    assert sides == ["train"] * 37 + ["valid"] * 4 + ["test"] * 4
    names = [f"{n:064x}" for n in range(30)]
    works = [candidate(name, group=name) for name in names]
    works += [candidate(f"{name} again", f"{name[::-1]}", group=name) for name in names[1:20]]
    verdicts, _ = assign(works, Ledger())
    counts = Counter(verdict.side for verdict in verdicts[:30])
    assert (counts["train"], counts["valid"], counts["test"]) == (24, 3, 3)
    published = [candidate(key, split="train") for key in names[:5]] + [candidate(names[6], split="test")]
    with pytest.raises(HubError, match="none of 6 pieces is for validation"):
        assign(published, Ledger())
    kept_back = [*published[:5], candidate(names[6], split="valid")]
    assert [verdict.side for verdict in assign(kept_back, Ledger())[0]] == ["train"] * 5 + ["valid"]


def test_what_was_left_out_binds_nobody_and_other_formats_are_no_ledgers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filler = [candidate(key) for side in ("train", "valid", "test") for key in keys(side, 42)]
    left, near = candidate("left", "f" * 63 + "0", 40), candidate("near", "f" * 63 + "1", 40)
    known = Ledger([Entry(left.key, "out", left.sketch, left.name)])
    verdict = assign([*filler, near], known)[0][-1]
    assert verdict == Verdict(by_hash(near.key), ())
    other = assign([*filler, replace(left, key="f" * 63 + "2"), near], Ledger())[0][-2:]
    assert {elder.similarity for verdict in other for elder in verdict.elders} == {0.312}  # 40 of 128
    all_sides = [replace(known.entries[0], side=side) for side in ("train", "valid", "test", "out")]
    Ledger(all_sides).save(tmp_path / "l.npz")
    with np.load(tmp_path / "l.npz") as kept:  # ledgers outlive versions: what the numbers mean may never change
        assert kept["sides"].tolist() == [0, 1, 2, 3] and kept["format"] == 1
    known.save(tmp_path / "l.npz")
    monkeypatch.setattr(ledger, "FORMAT", 2)
    with pytest.raises(HubError, match=r"cannot be read \(format 1\)"):
        ledger.load(tmp_path / "l.npz")


def between(name: str, key: str, one: Candidate, other: Candidate, count: int = 64, **more: Any) -> Candidate:
    """A piece with so many hashes of one in the first half and of the other in the second, and else its own."""
    mixed = candidate(name).sketch.copy()
    mixed[HASHES // 2 - count : HASHES // 2] = one.sketch[HASHES // 2 - count : HASHES // 2]
    mixed[HASHES // 2 : HASHES // 2 + count] = other.sketch[HASHES // 2 : HASHES // 2 + count]
    return Candidate(name, key, mixed, **more)


def test_what_is_left_out_binds_nobody_and_stays_out() -> None:
    filler = [candidate(key) for side in ("train", "valid", "test") for key in keys(side, 42)]
    train, test = (candidate(name, f"{n}" * 64, split=name) for n, name in ((1, "train"), (2, "test")))
    left = between("left", "d" * 64, train, test)
    near = between("near", "e" * 64, left, left, 16)  # a quarter of it, and an eighth of either of the two
    again = replace(left, name="left again", sketch=candidate("left again").sketch)
    verdicts, known = assign([*filler, train, test, left, near, again], Ledger())
    found = [verdict.side for verdict in verdicts[-3:]]
    assert found == ["out", by_hash(near.key), "out"] and not verdicts[-2].elders
    verdicts, _ = assign([*filler, near, left, again], known)
    assert [verdict.side for verdict in verdicts[-3:]] == ["out" if n else by_hash(near.key) for n in range(3)]


def test_a_far_elder_of_another_side_counts_however_many_are_nearer() -> None:
    """Eight of training are half of it, one of testing three tenths: it is left out, and nine are named."""
    nearer = [candidate(f"v{n}", f"{n}" * 64, 64, split="train") for n in range(8)]
    far = candidate("far", "8" * 64, split="test")
    asked = candidate("asked", "9" * 64, 64)
    asked.sketch[64:104] = far.sketch[64:104]
    verdict = assign([*nearer, far, candidate("v", "a" * 64, split="valid"), asked], Ledger())[0][-1]
    assert verdict.side == "out" and [elder.side for elder in verdict.elders] == ["train"] * 8 + ["test"]
    assert verdict.elders[-1] == Elder("far", "test", 0.312)


def test_a_piece_that_is_known_twice_is_a_duplicate_and_a_split_that_is_published_later_holds() -> None:
    filler = [candidate(key) for side in ("train", "valid", "test") for key in keys(side, 42)]
    first = candidate("first", "f" * 64)
    known = Ledger([Entry(first.key, "train", first.sketch, "old name")])
    verdicts, _ = assign([*filler, first, replace(first, name="second")], known)
    assert verdicts[-2:] == [Verdict("train", ()), Verdict("train", (Elder("old name", "train", 1.0),))]
    verdicts, after = assign([*filler, replace(first, split="test")], known)
    assert verdicts[-1].side == "test" == after.entries[0].side and known.entries[0].side == "train"


def test_of_few_works_two_families_that_a_third_piece_joins_are_one() -> None:
    """The first of the ranking, which trains, and the last, which tests, have a piece between them."""
    names = sorted((f"{n:064x}" for n in range(12)), key=position)
    works = [candidate(name) for name in names]
    link = between("link", "f" * 64, works[0], works[-1])
    alone, sides = ([verdict.side for verdict in assign(some, Ledger())[0]] for some in (works, [*works, link]))
    assert (alone[0], alone[-1]) == ("train", "test") and sides[0] == sides[11] == sides[12]


def test_vectors_of_controls_are_checked_piece_by_piece(tmp_path: Path) -> None:
    control = SimpleNamespace(dim=2, of=None)
    wanted = controls.Wanted("c", lambda: control, "k")  # type: ignore[arg-type, return-value]
    info = SimpleNamespace(source="s", tokens=3)
    part = controls._Part(tmp_path, wanted)
    with pytest.raises(HubError, match="control c has 2 rows for s; expected 1 or 3"):
        part.take(info, np.zeros((2, 2), dtype=np.float32))  # type: ignore[arg-type]
    part.take(info, "no bar")  # type: ignore[arg-type]
    with pytest.raises(HubError, match=r"model.controls: c is known of no piece; s: no bar"):
        part.close()
    for given, said in (
        ([[1.0, np.nan]], "no finite number"),
        ([1.0, 2.0, 3.0], r"shape \(3,\); expected \(2,\) or \(3, 2\)"),
        (np.zeros((2, 2)), r"shape \(2, 2\)"),
    ):
        control.of = lambda piece, ids, tokenizer, given=given: given
        with pytest.raises(ValueError, match=said):
            controls._checked(control, None, [5, 6, 7], None)  # type: ignore[arg-type]


def test_vectors_are_made_of_each_tune_and_belong_to_their_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three tunes of one book each has its own, but one that failed; other settings have a folder of their own."""
    sides = ("train", "valid", "test")
    infos = {
        side: [store.PieceInfo(f"b#{n}", "", 1, 1, 1.0, 2, side, "", "/b.abc", n)]  # type: ignore[arg-type]
        for n, side in enumerate(sides)
    }
    kept: Any = SimpleNamespace(
        folder=tmp_path / "store", pieces=infos.get, count=lambda side: 1, tokenizer_folder=None
    )
    kept.folder.mkdir()
    asked: list[Any] = []

    def spread(function: Any, tasks: list[Item], **settings: Any) -> Iterator[Any]:
        builders = function.args[0]
        asked.append([len(builders), *(settings[key] for key in ("workers", "seconds", "megabytes"))])
        for item in tasks:
            rows = np.full((item.index + 1, 2), item.index, dtype=np.float32)
            yield item, [rows] * len(builders) if item.index < 2 else Failure("takes long", limited=True)

    monkeypatch.setattr(controls, "spread", spread)
    monkeypatch.setenv("SWAPTUNES_CACHE", str(tmp_path / "cache"))
    one, other = (controls.Wanted("c", lambda: SimpleNamespace(dim=2), key) for key in ("a", "b"))  # type: ignore[arg-type, return-value]
    assert one.folder(kept) != other.folder(kept)
    data = DataHParams(workers=1, seconds_per_file=7, megabytes_per_worker=999)
    for wanted in ([one], [one], [one, other]):
        made, *_ = controls.prepare_controls(wanted, kept, SimpleNamespace(), None, data, progress=False)  # type: ignore[arg-type]
    assert asked == [[1, 1, 7, 999]] * 2, "what is there is not made again"
    found = [made.rows(side, 0).tolist() for side in sides]  # type: ignore[arg-type]
    assert found == [[[0, 0]], [[1, 1], [1, 1]], []] and made.unknown == 1


def test_a_refusing_disk_is_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*x: .*, or set SWAPTUNES_CACHE"), storage(tmp_path):
        raise OSError(errno.ENOSPC, "full", "x")
    monkeypatch.delenv("SWAPTUNES_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "swaptunes", "a relative one does not count"
    with pytest.raises(FileNotFoundError), storage(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "none", "x")
