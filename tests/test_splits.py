"""Every piece keeps its side for ever, and no music lies on two sides."""

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from core.contracts.dataset import SPLITS
from core.errors import HubError
from core.seeds import generator
from datatools.preparing import ledger
from datatools.preparing.duplicates import exact_key, sketch
from datatools.preparing.ledger import Ledger
from datatools.preparing.splits import FEW, NAMED, Candidate, assign, by_hash
from tests.tunes import tune

NONE = Ledger()


@cache
def piece(seed: int, changed: int = 0) -> Candidate:
    score = tune(seed, changed=changed)
    return Candidate(f"{seed}-{changed}", exact_key(score), sketch(score))


MANY = [piece(seed) for seed in range(120)]


def test_the_hash_alone_gives_the_shares() -> None:
    sides = Counter(by_hash(str(number)) for number in range(20_000))
    assert [sides[split] / 20_000 for split in SPLITS] == pytest.approx([0.8, 0.1, 0.1], abs=0.01)


def test_different_pieces_take_the_side_of_their_hash() -> None:
    verdicts, grown = assign(MANY, NONE)
    assert [verdict.side for verdict in verdicts] == [by_hash(candidate.key) for candidate in MANY]
    assert not any(verdict.elders for verdict in verdicts)
    assert len(grown.entries) == len(MANY)


def test_versions_stay_together_where_a_split_does_not_bind() -> None:
    """The version whose key comes first decides for its family, by its published side."""
    family = [
        replace(piece(seed, changed), split=SPLITS[(seed + changed) % 3]) for seed in range(9) for changed in (0, 2)
    ]
    loose = [replace(one, bound=False) for one in family]
    assert [verdict.side for verdict in assign(family, NONE)[0]] == [one.split for one in family]
    verdicts, grown = assign(loose, NONE)
    for at in range(0, len(loose), 2):
        pair = sorted(range(at, at + 2), key=lambda i: loose[i].key)
        assert [verdicts[i].side for i in pair] == [loose[pair[0]].split] * 2
    assert [verdict.side for verdict in assign(loose, grown)[0]] == [verdict.side for verdict in verdicts]
    alike = [replace(one, split="train") for one in loose]
    assert {verdict.side for verdict in assign(alike, NONE)[0]} == set(SPLITS), "a side that lacks is dealt out"
    with pytest.raises(HubError, match="none of 18 pieces is for validation"):
        assign([replace(one, bound=True) for one in alike], NONE)


@pytest.mark.parametrize("count", [7, 120])
def test_neither_order_nor_names_matter(count: int) -> None:
    family = [piece(seed, changed) for seed in range(count) for changed in (0, 2)]
    sides = dict(zip((one.key for one in family), (v.side for v in assign(family, NONE)[0]), strict=True))
    for trial in range(3):
        order = generator("order", trial).permutation(len(family)).tolist()
        shuffled = [replace(family[i], name=f"file {place}") for place, i in enumerate(order)]
        assert [verdict.side for verdict in assign(shuffled, NONE)[0]] == [sides[one.key] for one in shuffled]


def test_adding_files_moves_none() -> None:
    """From five files to all, in steps, with variants arriving before and after their originals."""
    everything = [piece(seed, changed) for seed in range(60) for changed in (0, 2)]
    everything = [everything[i] for i in generator("arrival").permutation(len(everything))]
    known = NONE
    sides: dict[str, str] = {}
    for count in (5, 9, 30, 80, 120):
        verdicts, known = assign(everything[:count], known)
        for one, verdict in zip(everything[:count], verdicts, strict=True):
            assert sides.setdefault(one.key, verdict.side) == verdict.side
    assert set(sides.values()) >= set(SPLITS)


def test_removed_files_come_back_to_their_side_and_still_bind() -> None:
    verdicts, known = assign(MANY, NONE)
    _, known = assign(MANY[60:], known)
    again, _ = assign(MANY[:60] + [piece(seed, 2) for seed in range(60)], known)
    assert [verdict.side for verdict in again] == [verdict.side for verdict in verdicts[:60]] * 2


def test_a_near_duplicate_joins_its_elder_and_names_it() -> None:
    _, known = assign(MANY, NONE)
    late = [piece(seed, 3) for seed in range(30)]
    verdicts, _ = assign(MANY + late, known)
    for seed, (old, new) in enumerate(zip(verdicts, verdicts[len(MANY) :], strict=False)):
        assert new.side == old.side
        assert [elder.name for elder in new.elders] == [f"{seed}-0"]
        assert 0.25 <= new.elders[0].similarity < 1


def test_the_same_music_under_another_name_joins_it() -> None:
    copy = replace(MANY[3], name="retitled")
    verdicts, grown = assign([*MANY, copy], NONE)
    assert verdicts[-1].side == verdicts[3].side
    assert {elder.name for v in (verdicts[-1], verdicts[3]) for elder in v.elders} <= {"retitled", MANY[3].name}
    assert len(grown.entries) == len(MANY)


def test_a_moved_file_is_no_duplicate_of_itself() -> None:
    _, known = assign(MANY, NONE)
    verdicts, grown = assign([replace(one, name=f"moved/{one.name}") for one in MANY], known)
    assert not any(verdict.elders for verdict in verdicts)
    assert grown.entries == known.entries


def bridge(first: Candidate, second: Candidate) -> Candidate:
    """A piece that begins as one tune and ends as another."""
    one, other = (tune(int(candidate.name.split("-")[0])) for candidate in (first, second))
    for note in other.shift_time(one.end()).tracks[0].notes:
        one.tracks[0].notes.append(note)
    return Candidate(f"{first.name} and {second.name}", exact_key(one), sketch(one))


def test_a_piece_between_two_sides_is_left_out_and_named() -> None:
    verdicts, known = assign(MANY, NONE)
    sides = {verdict.side: one for one, verdict in zip(MANY, verdicts, strict=True)}
    between = bridge(sides["train"], sides["test"])
    verdict = assign([*MANY, between], known)[0][-1]
    assert verdict.side == "out"
    assert {elder.name for elder in verdict.elders} == {sides["train"].name, sides["test"].name}
    _, known = assign([*MANY, between], known)
    assert assign([*MANY, between], known)[0][-1].side == "out"


def test_variants_of_one_work_stay_together() -> None:
    grouped = [replace(one, group=f"work {number // 4}") for number, one in enumerate(MANY)]
    verdicts, known = assign(grouped, NONE)
    for start in range(0, len(verdicts), 4):
        assert len({verdict.side for verdict in verdicts[start : start + 4]}) == 1
    late = replace(piece(500), group="work 7")
    assert assign([*grouped, late], known)[0][-1].side == verdicts[28].side


def test_a_published_split_is_kept_and_what_leaks_in_it_is_told() -> None:
    published = [replace(one, split=SPLITS[number % 3]) for number, one in enumerate(MANY)]
    twin = replace(piece(0, 2), split="test")
    follower = piece(1, 2)
    verdicts, _ = assign([*published, twin, follower], NONE)
    assert [verdict.side for verdict in verdicts[:-1]] == [one.split for one in [*published, twin]]
    sides = {elder.side for verdict in (verdicts[0], verdicts[-2]) for elder in verdict.elders}
    assert sides & {"train", "test"}
    assert verdicts[-1].side == "valid"


@pytest.mark.parametrize(("count", "sizes"), [(3, (1, 1, 1)), (4, (2, 1, 1)), (20, (16, 2, 2)), (FEW - 1, (31, 4, 4))])
def test_few_works_still_give_three_sides(count: int, sizes: tuple[int, int, int]) -> None:
    sides = Counter(verdict.side for verdict in assign(MANY[:count], NONE)[0])
    assert tuple(sides[split] for split in SPLITS) == sizes


def test_few_works_keep_families_together() -> None:
    family = [piece(seed, changed) for seed in range(6) for changed in (0, 2, 3)]
    verdicts, _ = assign(family, NONE)
    for start in range(0, len(family), 3):
        assert len({verdict.side for verdict in verdicts[start : start + 3]}) == 1


@pytest.mark.parametrize("pieces", [MANY[:1], MANY[:2], [piece(0), piece(0, 2), piece(0, 3), piece(1)]])
def test_fewer_than_three_works_are_refused(pieces: list[Candidate]) -> None:
    with pytest.raises(HubError, match=rf"^{len(pieces)} readable pieces? makes? {min(2, len(pieces))} .* at least 3"):
        assign(pieces, NONE)


def test_the_ledger_survives_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.npz"
    assert ledger.load(path).entries == []
    grouped = [replace(one, group="wörk/é" * (number % 2)) for number, one in enumerate(MANY)]
    verdicts, known = assign(grouped, NONE)
    known.save(path)
    loaded = ledger.load(path)
    for old, new in zip(known.entries, loaded.entries, strict=True):
        assert (old.key, old.side, old.name, old.group) == (new.key, new.side, new.name, new.group)
        assert (old.sketch == new.sketch).all()
    assert [verdict.side for verdict in assign(grouped, loaded)[0]] == [verdict.side for verdict in verdicts]


def test_a_damaged_ledger_is_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.npz"
    assign(MANY, NONE)[1].save(path)
    whole = path.read_bytes()
    for damage in (whole[: len(whole) // 2], b"", whole[:2000] + bytes(8) + whole[2008:]):
        path.write_bytes(damage)
        with pytest.raises(HubError, match="cannot be read"):
            ledger.load(path)


def test_a_piece_with_many_elders_names_the_nearest_and_one_of_each_side() -> None:
    """So that thousands of versions of a song take no thousands of thousands of names."""
    versions = [replace(piece(1, changed), split="train" if changed else "test") for changed in range(NAMED + 6)]
    verdicts, _ = assign([*versions, *MANY], NONE)
    counts = [len(verdict.elders) for verdict in verdicts[: len(versions)]]
    assert max(counts) in (NAMED, NAMED + 1)
    sides = [{elder.side for elder in verdict.elders} for verdict in verdicts[: len(versions)]]
    assert sum(len(both) == 2 for both in sides) > 1
    for verdict in verdicts:
        rates = [elder.similarity for elder in verdict.elders]
        assert rates == sorted(rates, reverse=True)
