"""The sampler against a literal version of its definitions, one row and one token at a time."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model.sampling import Sampling, _mix, _signed, draw, filtered, uniform


def literal(
    logits: list[float], sampling: Sampling, allowed: list[bool] | None = None, seen: list[bool] | None = None
) -> list[float]:
    """The probabilities left over in a row, from the definitions in words."""
    penalty = sampling.repetition_penalty
    scores = {}
    for id, logit in enumerate(logits):
        if seen is not None and seen[id]:
            logit = logit / penalty if logit > 0 else logit * penalty
        if logit > -math.inf and (allowed is None or allowed[id]):
            scores[id] = logit
    ranked = sorted(scores, key=lambda id: (-scores[id], id))
    if sampling.temperature == 0:
        return [float(id == ranked[0]) for id in range(len(logits))]
    best = scores[ranked[0]]
    weight = {id: math.exp((scores[id] - best) / sampling.temperature) for id in ranked}
    if sampling.top_k:
        ranked = ranked[: sampling.top_k]
    if sampling.top_p < 1:
        total = math.fsum(weight[id] for id in ranked)
        nucleus: list[int] = []
        for id in ranked:
            nucleus.append(id)
            if math.fsum(weight[id] for id in nucleus) / total >= sampling.top_p - 1e-12:
                break
        ranked = nucleus
    ranked = [id for id in ranked if weight[id] >= sampling.min_p]
    total = math.fsum(weight[id] for id in ranked)
    return [weight[id] / total if id in ranked else 0.0 for id in range(len(logits))]


coarse = st.integers(-6, 6).map(lambda n: n / 2)  # equal logits are frequent


@st.composite
def rows(draw_: Any) -> tuple[list[float], list[bool], list[bool]]:
    size = draw_(st.integers(1, 12))
    logits = draw_(st.lists(coarse | st.just(-math.inf), min_size=size, max_size=size))
    masks = st.lists(st.booleans(), min_size=size, max_size=size)
    return logits, draw_(masks), draw_(masks)


settings_of_sampling = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 1.7]),
    top_k=st.integers(0, 13),
    top_p=st.sampled_from([1e-9, 0.13, 0.5, 0.9, 0.97, 1.0]),
    min_p=st.sampled_from([0.0, 0.013, 0.21, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.3, 2.0]),
)


@settings(max_examples=250, deadline=None)
@given(rows(), settings_of_sampling)
def test_filtered_equals_the_definitions(row: tuple[list[float], list[bool], list[bool]], sampling: Sampling) -> None:
    logits, allowed, seen = row
    tensors = torch.tensor([logits]), torch.tensor([allowed]), torch.tensor([seen])
    if not any(ok and logit > -math.inf for ok, logit in zip(allowed, logits, strict=True)):
        with pytest.raises(ValueError, match="row 0 has no token"):
            filtered(tensors[0], sampling, *tensors[1:])
        return
    found = filtered(tensors[0], sampling, *tensors[1:]).exp()[0].tolist()
    assert found == pytest.approx(literal(logits, sampling, allowed, seen), abs=1e-9)
    if sampling.top_k:
        assert sum(chance > 0 for chance in found) <= sampling.top_k


def test_top_k_keeps_k_of_equals_and_prefers_low_ids() -> None:
    kept = filtered(torch.zeros(2, 50), Sampling(top_k=7)).exp()
    assert kept.tolist() == [[pytest.approx(1 / 7)] * 7 + [0.0] * 43] * 2


def test_top_p_is_exact_where_sums_are_rounded() -> None:
    for count in range(1, 10):
        kept = filtered(torch.zeros(1, 10), Sampling(top_p=count / 10)) > -math.inf
        assert int(kept.sum()) == count


def test_top_p_counts_what_top_k_left() -> None:
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    assert filtered(logits, Sampling(top_k=2, top_p=0.55)).exp().tolist()[0] == [1, 0, 0, 0]  # 0.4 of 0.7 is enough
    assert (filtered(logits, Sampling(top_p=0.55)) > -math.inf).tolist()[0] == [True, True, False, False]


def test_min_p_is_relative_to_the_likeliest_that_is_allowed() -> None:
    logits = torch.tensor([[0.879, 0.06, 0.03, 0.01, 0.021]]).log()
    allowed = torch.tensor([[False, True, True, True, True]])
    for ranked in (Sampling(min_p=0.4), Sampling(min_p=0.4, top_k=4)):  # both ways of finding them
        kept = filtered(logits, ranked, allowed) > -math.inf
        assert kept.tolist()[0] == [False, True, True, False, False]


def test_defaults_change_nothing() -> None:
    logits = torch.randn(3, 40)
    torch.testing.assert_close(filtered(logits, Sampling()), logits.double().log_softmax(-1))


def test_bad_logits_and_settings_are_errors() -> None:
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="row 1 hold NaN or infinity"):
            filtered(torch.tensor([[0.0, 1.0], [bad, 0.0]]), Sampling())
    with pytest.raises(ValueError, match="row 0 has no token"):
        draw(torch.zeros(1, 3), Sampling(), torch.tensor([0]), 0, torch.zeros(1, 3, dtype=torch.bool))
    wrong: list[dict[str, Any]] = [
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": 2.0},
        {"repetition_penalty": 0.9},
    ]
    for setting in wrong:
        with pytest.raises(ValueError, match=f"{next(iter(setting))} is .*; expected"):
            Sampling(**setting)


def splitmix(seed: int, row: int, step: int) -> float:
    """The hash in Python's whole numbers."""

    def mix(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    return (mix((mix((mix(seed % 2**64) + row) % 2**64) + step) % 2**64) >> 11) / 2**53


@settings(max_examples=60, deadline=None)
@given(st.integers(-(2**63), 2**64), st.integers(0, 2**40), st.integers(0, 2**31))
def test_uniform_equals_python_arithmetic(seed: int, row: int, step: int) -> None:
    assert uniform(seed, torch.tensor([row]), step).item() == splitmix(seed, row, step)
    several = uniform(seed, torch.tensor([row, row + 1]), torch.tensor([[step], [step + 1]]))  # (n b)
    assert several.tolist() == [[splitmix(seed, row + j, step + i) for j in range(2)] for i in range(2)]


def test_the_hash_is_splitmix64() -> None:
    # First output of the published generator from seed 0; a row and a step mix in the same function again.
    assert _mix(torch.tensor([0])).item() == _signed(0xE220A8397B1DCDAF)


def test_uniform_is_uniform_and_independent() -> None:
    points = torch.stack([uniform(1, torch.arange(200), step) for step in range(200)]).numpy()
    other = torch.stack([uniform(2, torch.arange(200), step) for step in range(200)]).numpy()
    counts = np.bincount((points.ravel() * 100).astype(int), minlength=100)
    assert ((counts - 400) ** 2 / 400).sum() < 149  # chi-square, 99 degrees of freedom, p = 0.001
    for a, b in ((points[1:], points[:-1]), (points[:, 1:], points[:, :-1]), (points, other)):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / math.sqrt(a.size)


def test_draws_follow_the_probabilities() -> None:
    logits = torch.tensor([0.5, 0.25, 0.15, 0.07, 0.03, 1e-9]).log().repeat(20000, 1)
    drawn = draw(logits, Sampling(top_k=5, seed=3), torch.arange(20000), 7)
    counts = torch.bincount(drawn, minlength=6).numpy()
    expected = 20000 * np.array([0.5, 0.25, 0.15, 0.07, 0.03])
    assert counts[5] == 0 and ((counts[:5] - expected) ** 2 / expected).sum() < 18.5  # 4 degrees, p = 0.001


def test_a_row_draws_the_same_alone_and_in_any_company() -> None:
    torch.manual_seed(0)
    logits, rows = torch.randn(16, 300), torch.arange(40, 56)
    allowed, seen = torch.rand(16, 300) < 0.5, torch.rand(16, 300) < 0.2
    sampling = Sampling(temperature=1.2, top_k=50, top_p=0.95, min_p=0.01, repetition_penalty=1.2, seed=9)
    for step in range(4):
        together = draw(logits, sampling, rows, step, allowed, seen)
        assert torch.equal(together, draw(logits, sampling, rows, step, allowed, seen))
        order = torch.randperm(16)
        assert torch.equal(
            together[order], draw(logits[order], sampling, rows[order], step, allowed[order], seen[order])
        )
        for i in range(16):
            one = draw(logits[i : i + 1], sampling, rows[i : i + 1], step, allowed[i : i + 1], seen[i : i + 1])
            assert one.item() == together[i].item()


def test_seed_row_and_step_each_matter() -> None:
    def drawn(seed: int, row: int, step: int) -> list[int]:
        return draw(torch.zeros(8, 1000), Sampling(seed=seed), torch.arange(row, row + 8), step).tolist()

    all_ = [drawn(0, 0, 0), drawn(1, 0, 0), drawn(0, 8, 0), drawn(0, 0, 1)]
    assert len({tuple(some) for some in all_}) == 4


def test_only_what_is_left_is_drawn() -> None:
    torch.manual_seed(1)
    logits = torch.randn(500, 30) * 4
    allowed = torch.rand(500, 30) < 0.2
    allowed[:, 3] = True
    sampling = Sampling(top_k=4, top_p=0.9)
    left = filtered(logits, sampling, allowed) > -math.inf
    for step in range(10):
        drawn = draw(logits, sampling, torch.arange(500), step, allowed)
        assert left.gather(1, drawn[:, None]).all() and allowed.gather(1, drawn[:, None]).all()


def test_temperature_zero_takes_the_first_of_the_likeliest() -> None:
    logits = torch.tensor([[1.0, 3.0, 3.0, 2.0]])
    assert draw(logits, Sampling(temperature=0), torch.tensor([5]), 9).item() == 1
    cold = draw(logits.repeat(100, 1), Sampling(temperature=1e-30), torch.arange(100), 0)
    assert set(cold.tolist()) == {1, 2}
