"""Figures that the pages print, against answers from outside: other libraries, tables, examples of standards, hand."""

import contextlib
import json
import math
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.model.language_model import LanguageModel
from datatools.batching.batches import whole
from datatools.ngram import Ngram, baselines
from hparams.backbones.mamba import MambaHParams
from hparams.backbones.transformer import TransformerHParams
from hparams.loading import dump, override
from plugins.manager import load_manager
from plugins.metrics.parts.intervals import ratio, summary
from supervisors.comparison.intervals import Row, interval
from supervisors.comparison.rows import collect
from supervisors.evaluation.scoring import score_pieces, totals
from tests import abc_texts
from tests.test_batches import BOS, EOS, PAD, Memory
from tests.test_foreign import LLAMA, MAMBA, VOCABULARY, started, their_llama, their_mamba
from tests.twin.hub import Info


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Arrays this small only lose by being shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Whole(Memory):
    """A store whose pieces have notes and seconds."""

    def pieces(self, split: str) -> Any:
        return [Info(len(ids), len(ids), len(ids) / 2) for ids in self._pieces]


@pytest.mark.parametrize("kind", ["mamba", "llama"])
def test_nats_are_those_of_transformers(kind: str, tmp_path: Path, figures: list[str]) -> None:
    """Their model, their loss, pieces beyond one chunk; ours with their weights, through our scoring."""
    transformers = pytest.importorskip("transformers", reason="the other library's models are the answer here")
    assert transformers.__version__
    theirs = their_mamba(tmp_path) if kind == "mamba" else their_llama(tmp_path)
    section = MambaHParams(**MAMBA) if kind == "mamba" else TransformerHParams(**LLAMA, norm_eps=1e-3)
    model: LanguageModel = started(tmp_path, section, tie=kind == "mamba")
    rng = np.random.default_rng(4)
    pieces = [rng.integers(3, VOCABULARY, length) for length in (7, 40, 530)]
    store: Any = Whole(*pieces)
    nats, tokens = [], 0
    for piece in pieces:
        text = torch.tensor([[BOS, *piece.tolist(), EOS]])
        with torch.no_grad():
            loss = theirs(text, labels=text).loss  # the mean over all tokens but the first
        nats.append(float(loss) * (text.shape[1] - 1))
        tokens += text.shape[1] - 1
    scores = score_pieces(model, whole(store, "valid", BOS, EOS, PAD), [[0] * VOCABULARY], contextlib.nullcontext())
    found = totals(scores, store.pieces("valid"))
    differ = [abs(score.nats - nats[score.number]) / score.tokens for score in scores]
    figures.append(f"nats per token of {kind} by transformers: differ by at most {max(differ):.0e}")
    assert max(differ) < 1e-4 and abs(found["nats_per_token"] - sum(nats) / tokens) < 1e-4
    assert found["nats_per_note"] == pytest.approx(sum(nats) / sum(map(len, pieces)), abs=1e-4)
    assert found["bits_per_second"] == pytest.approx(2 * sum(nats) / math.log(2) / sum(map(len, pieces)), abs=1e-3)


class ThreeSplits:
    """Ten tokens to learn from, one piece to score."""

    def __init__(self) -> None:
        self._pieces = {"train": [[3, 4, 3, 4, 5], [3, 4, 3, 3, 4]], "valid": [[3, 4]], "test": [[3, 4]]}

    def pieces(self, split: str) -> list[Info]:
        return [Info(4, 4, 1.0) for _ in self._pieces[split]]

    def ids(self, split: str, k: int) -> Any:
        return np.array(self._pieces[split][k])


class Six:
    """Ids 3, 4 and 5 are music."""

    streams, vocab_size, bos_id, eos_id, pad_id = 1, 6, BOS, EOS, PAD


def test_the_ngram_by_hand_on_ten_tokens() -> None:
    """a b a b c. and a b a a b. with discounts 1/2, 1 and 3/2 (no counts of counts fit): worked on paper.

    Unigram: a 5, b 4, c 1, end 2 of 12; taken 3/2 + 3/2 + 1/2 + 1 = 9/2, so that each of 4 symbols has 9/96 from below.
    P(a) = (5 - 3/2)/12 + 9/96 = 37/96, P(b) = (4 - 3/2)/12 + 9/96 = 29/96, P(end) = (2 - 1)/12 + 9/96 = 17/96.
    """
    unigram = -math.log(Fraction(37, 96) * Fraction(29, 96) * Fraction(17, 96))
    options = {"vocab_size": 6, "bos_id": BOS, "eos_id": EOS, "pad_id": PAD}
    one = Ngram(ThreeSplits()._pieces["train"], max_order=1, **options)
    assert one.nats([[3, 4]])[0].sum() == pytest.approx(unigram, rel=1e-12)
    # Order 2. The lower order counts what a token was seen after: a (start, b, a) 3, b (a) 1, c (b) 1,
    # end after (c, b) 2: of 7; taken 3/2 + 1/2 + 1/2 + 1 = 7/2, a half in all, 1/8 to each symbol.
    lower = {"a": Fraction(3, 14) + Fraction(1, 8), "b": Fraction(1, 14) + Fraction(1, 8)}
    lower["end"] = Fraction(1, 7) + Fraction(1, 8)
    # After start: a 2 of 2, 1 taken. After a: b 4, a 1 of 5, 3/2 + 1/2 taken. After b: a 2, c 1, end 1 of 4; 2 taken.
    a = Fraction(1, 2) + Fraction(1, 2) * lower["a"]
    b = Fraction(5, 2) / 5 + Fraction(2, 5) * lower["b"]
    end = Fraction(1, 2) / 4 + Fraction(2, 4) * lower["end"]
    two = Ngram(ThreeSplits()._pieces["train"], max_order=2, **options)
    assert np.exp(-two.nats([[3, 4]])[1]).tolist() == pytest.approx([float(a), float(b), float(end)], rel=1e-12)
    found = baselines(ThreeSplits(), Six(), max_order=2)["test"]  # type: ignore[arg-type]
    bigram = -math.log(a * b * end)
    assert found["unigram"]["nats_per_note"] == pytest.approx(unigram / 4)
    best = {1: unigram, 2: bigram}
    assert found["ngram"]["order"] == min(best, key=lambda order: best[order])
    assert found["ngram"]["nats_per_token"] == pytest.approx(min(best.values()) / 3)


def test_bootstrap_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Gamma-distributed pieces of known mean, 60 in a sample: 95 % cover it, less what skew and size take away."""
    rng = np.random.default_rng(8)
    inside = inside_ratio = 0
    for _ in range(200):
        values = rng.gamma(4.0, 0.5, 60)  # mean 2
        found = summary(values.tolist())
        inside += found["low"] <= 2 <= found["high"]
        sizes = rng.integers(20, 200, 60).astype(float)
        _, low, high = ratio((sizes * values).tolist(), sizes.tolist())
        inside_ratio += low <= 2 <= high
    assert 0.90 <= inside / 200 <= 0.98 and 0.90 <= inside_ratio / 200 <= 0.98


def test_the_interval_over_seeds_is_that_of_the_tables() -> None:
    """Seeds 2.0, 2.2, 2.7 on pieces that all cost the same: mean 2.3, s 0.36056 (n - 1), t(2) 4.302653."""
    notes = np.full(10, 5.0)
    row = Row("x", np.array([[rate * 5.0] * 10 for rate in (2.0, 2.2, 2.7)]), notes)
    found = interval(row)
    half = 4.302653 * 0.3605551 / math.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((2.3, 2.3 - half, 2.3 + half), rel=1e-5)


def test_the_interval_over_pieces_is_that_of_the_tables() -> None:
    """Five pieces of ten notes, one seed: 1, 2, 3, 4, 5 nats per note; mean 3, s 1.5811, t(4) 2.776445."""
    found = interval(Row("x", np.array([[10.0, 20.0, 30.0, 40.0, 50.0]]), np.full(5, 10.0)))
    half = 2.776445 * 1.5811388 / math.sqrt(5)
    assert (found.value, found.low, found.high) == pytest.approx((3.0, 3.0 - half, 3.0 + half), rel=1e-5)


def written(folder: Path, name: str, seed: int, nats: dict[str, float], order: list[str]) -> Path:
    """A finished run as `evaluate` leaves it, its pieces in some order."""
    place = folder / f"{name}-{seed}"
    (place / "evaluation").mkdir(parents=True)
    (place / "model").mkdir()
    test = {"pieces": len(order), "baselines": {"ngram": {"nats_per_note": 9.0, "order": 2}}}
    facts = {"steps": 1, "tokens_seen": 5, "minutes": 1.0, "parameters": 7, "test": test}
    (place / "evaluation.json").write_text(json.dumps(facts))
    lines = [{"split": "test", "source": key, "index": 0, "nats": nats[key], "notes": 10} for key in order]
    (place / "evaluation/pieces.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (place / "model/config.json").write_text('{"data_fingerprint": "d", "tokenizer_fingerprint": "t"}')
    manager = load_manager()
    hparams = override(manager.preset("mamba_remi"), [f"seed={seed}"], section=manager.section)
    (place / "hparams.yaml").write_text(dump(hparams))
    return place


def test_pieces_are_paired_by_name_in_whatever_order_they_lie(tmp_path: Path) -> None:
    """One model is better by 1 nat on every piece, which pieces of very different lengths would hide unpaired."""
    rng = np.random.default_rng(6)
    names = [f"piece {number}.mid" for number in range(12)]
    cost = {name: float(rng.uniform(20, 900)) for name in names}
    worse = {name: value + 1.0 + 0.01 * number for number, (name, value) in enumerate(cost.items())}
    runs: dict[str, list[Path]] = {"good": [], "bad": []}
    for seed in (0, 1):
        runs["good"].append(written(tmp_path, "good", seed, cost, names))
        runs["bad"].append(written(tmp_path, "bad", seed, worse, rng.permutation(names).tolist()))
    [group] = collect(runs)
    assert [entry.row.name for entry in group.entries] == ["good", "bad"]
    [found] = group.differences
    excess = [1.0 + 0.01 * number for number in range(12)]
    half = 2.200985 * np.std(excess, ddof=1) / math.sqrt(12) / 10  # t(11); the seeds do not differ
    mean = -sum(excess) / 120
    assert (found.estimate.value, found.estimate.low, found.estimate.high) == pytest.approx(
        (mean, mean - half, mean + half), rel=1e-4
    )
    assert found.better == "good"


def music(text: str, head: str = "X:1\nM:4/4\nL:1/8\nK:C\n") -> list[tuple[Fraction, int, Fraction]]:
    """(time, pitch, length), in eighths, of the only voice."""
    [track] = abc_texts.score(head + text + "\n").tracks
    return [(Fraction(n.time, 240), int(n.pitch), Fraction(n.duration, 240)) for n in track.notes]


def lengths(text: str, head: str = "X:1\nM:4/4\nL:1/8\nK:C\n") -> list[Fraction]:
    return [length for _, _, length in music(text, head)]


@pytest.mark.parametrize(
    ("written", "eighths"),
    [
        # ABC 2.1, 4.3: "A/2 is half, A/ the same, A// = A/4 a quarter, A3/2 one and a half"; with L:1/16 halved.
        ("A A2 A3 A/2 A/ A// A/4 A3/2 A///", "1 2 3 1/2 1/2 1/4 1/4 3/2 1/8"),
        ("A//2 A//4 A3//2", "1/4 1/8 3/4"),  # beyond the standard: every further slash halves once more
        # 4.4: "a3b is a dotted, b halved ... a3>b"; >> double dotted, >>> triple.
        ("a>b c<d", "3/2 1/2 1/2 3/2"),
        ("a>>b a<<b a>>>b", "7/4 1/4 1/4 7/4 15/8 1/8"),
    ],
)
def test_lengths_of_the_standard(written: str, eighths: str) -> None:
    assert lengths(written) == [Fraction(text) for text in eighths.split()]


@pytest.mark.parametrize(
    ("p", "simple", "compound"),
    [  # 4.13: p notes into the time of q; n is 3 in compound meters (6/8, 9/8, 12/8), else 2
        (2, 3, 3), (3, 2, 2), (4, 3, 3), (5, 2, 3), (6, 2, 2), (7, 2, 3), (8, 3, 3), (9, 2, 3),
    ],
)  # fmt: skip
def test_tuplets_of_the_standard(p: int, simple: int, compound: int) -> None:
    notes = "cdefgabcd"[:p]
    for meter, q in (("4/4", simple), ("3/4", simple), ("2/4", simple), ("6/8", compound), ("9/8", compound)):
        found = lengths(f"({p}{notes} G", f"X:1\nM:{meter}\nL:1/8\nK:C\n")
        assert found == pytest.approx([q / p] * p + [1], abs=1 / 240), meter  # a tick


def test_forms_of_a_tuplet_in_the_standard() -> None:
    """4.13: (3:2:3 is (3; (3:2:2 puts two of them under it; (3::2 the same; (5:4:5 five in the time of four."""
    for text, expected in (
        ("(3:2:3abc", [2 / 3] * 3), ("(3::abc", [2 / 3] * 3), ("(3:2abc", [2 / 3] * 3),
        ("(3::2ab c", [2 / 3, 2 / 3, 1]), ("(3:2:2 G4c2", [8 / 3, 4 / 3]), ("(5:4:5abcde", [4 / 5] * 5),
    ):  # fmt: skip
        assert lengths(text) == pytest.approx(expected, abs=1 / 240)


@pytest.mark.parametrize(
    ("written", "played"),
    [  # 4.8 and 4.9: |: and :| repeat, :: ends one and begins another, || and |] end sections, |1 :|2 are endings
        ("|:A:|B|", "AAB"),
        ("|:A::B:|", "AABB"),
        ("|:A:||:B:|", "AABB"),
        ("|:A:: B || c :|", "AABcBc"),  # a double bar within a repeat that :: has opened ends nothing
        ("|: A || B :|", "ABAB"),
        ("A || B :|", "ABB"),
        ("|:A|1 B:|2 c|]", "ABAc"),
        ("|:A|1,3 B:|2 c:|d", "ABAcABd"),
        ("|:A|1-3 B:|4 c|]", "ABABABAc"),
        ("|:A|[1 B:|[2 c|]", "ABAc"),
        ("|::A::|", "AAA"),
    ],
)
def test_repeats_of_the_standard(written: str, played: str) -> None:
    names = {69: "A", 71: "B", 72: "c", 74: "d"}
    found = "".join(names[pitch] for _, pitch, _ in music(re.sub(r"(?<=[ABcd])(?=[ :|])", "4", written)))
    assert found == played


@pytest.mark.parametrize(
    ("field", "letters"),
    [  # 3.1.14, the table of modes: each line has the same signature
        ("C# A#m G#Mix D#Dor E#Phr F#Lyd B#Loc", "CDEFGAB#"),
        ("D Bm AMix EDor F#Phr GLyd C#Loc", "FC#"),
        ("C Am GMix DDor EPhr FLyd BLoc", ""),
        ("Bb Gm FMix CDor DPhr EbLyd ALoc", "BEb"),
        ("Cb Abm GbMix DbDor EbPhr FbLyd BbLoc", "CDEFGABb"),
    ],
)
def test_modes_of_the_standard(field: str, letters: str) -> None:
    natural = dict(zip("CDEFGAB", (60, 62, 64, 65, 67, 69, 71), strict=True))
    change = {"#": 1, "b": -1, "": 0}[letters[-1:]]
    expected = [natural[letter] + change * (letter in letters[:-1]) for letter in "CDEFGAB"]
    for key in field.split():
        assert [pitch for _, pitch, _ in music("CDEFGAB", f"X:1\nL:1/8\nK:{key}\n")] == expected, key


@pytest.mark.parametrize(
    ("meter", "unit"),
    [("4/4", 1 / 8), ("3/4", 1 / 8), ("2/4", 1 / 16), ("6/8", 1 / 8), ("5/8", 1 / 16), ("C", 1 / 8), ("C|", 1 / 8)],
)
def test_default_unit_lengths_of_the_standard(meter: str, unit: float) -> None:
    """3.1.7: below 0.75 a sixteenth, from 0.75 on an eighth."""
    assert lengths("A", f"X:1\nM:{meter}\nK:C\n") == [Fraction(unit) * 8]
