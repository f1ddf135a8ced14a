"""The fused CPU kernels of a transformer against plain PyTorch, finite differences and themselves."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from core.contracts.backbone import State
from hparams.backbones.transformer import TransformerHParams
from plugins.backbones.native import kernels
from plugins.backbones.native.transformer.blocks import attention, gated
from plugins.backbones.places.positions import positions
from plugins.backbones.places.rotary import angles
from plugins.backbones.transformer import Transformer, build
from tests.threads import same_bits_on_any_number

# A string is evaluated when a test is set up, not when tests are collected: the first may have to compile.
needs_kernels = pytest.mark.skipif(
    "not kernels.available()", reason="the fused kernels cannot be compiled, or are switched off"
)
# Heads that fill vectors and that do not, shared keys and values, a feed-forward part of odd width.
MODELS: list[dict[str, object]] = [
    {"dim": 64},
    {"dim": 40, "heads": 2},
    {"dim": 96, "heads": 6, "kv_heads": 2, "hidden": 50},
]


def deviation(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).detach().abs().max() / wanted.detach().abs().max().clamp_min(1e-30))


def model(**changes: object) -> Transformer:
    torch.manual_seed(0)
    hparams = TransformerHParams(**{"layers": 2, "dropout": 0.0, "hidden": 0, **changes})  # type: ignore[arg-type]
    transformer = build(hparams)
    for weight in transformer.parameters():
        if bool((weight == 1).all()):  # the norms' weights: what is all ones is not seen to be read
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    return transformer


@needs_kernels
@pytest.mark.parametrize("changes", MODELS, ids=str)
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 6, 19])
def test_single_tokens_equal_the_plain_path(
    changes: dict[str, object], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformer = model(**changes).eval()
    x = torch.randn(batch, 24, transformer.dim)
    starts = torch.arange(4) == torch.arange(batch)[:, None] % 4  # rows that have read 1, 2, 3, 4 tokens

    def walk(step: Callable[[Tensor, State], Any]) -> Tensor:
        with torch.inference_mode():
            hidden, state = transformer(x[:, :4], transformer.init_state(batch, 24), starts)
            assert state is not None
            parts = [hidden]
            for t in range(4, 24):
                hidden, state = step(x[:, t : t + 1].contiguous(), state)  # a single call takes no other
                parts.append(hidden)
            return torch.cat([each.reshape(batch, -1) for each in (*parts, *state.values())], 1)

    found = walk(transformer.fast_step)
    monkeypatch.setenv(kernels.SWITCH, "0")
    assert deviation(found, walk(transformer)) < 1e-5


@needs_kernels
def test_a_single_token_leaves_a_state_of_other_rows_alone() -> None:
    transformer = model(dim=64).eval()
    with torch.inference_mode():
        state = transformer.init_state(1, 9)
        assert transformer.fast_step(torch.randn(2, 1, transformer.dim), state) is None
    assert state["length"].tolist() == [0]


@needs_kernels
def test_a_full_cache_is_refused_and_left_alone() -> None:
    transformer = model(dim=64).eval()
    with torch.inference_mode():
        state = transformer.init_state(2, 3)
        for _ in range(3):
            _, state = transformer(torch.randn(2, 1, 64), state)  # type: ignore[assignment]
        with pytest.raises(ValueError, match="max_length"):
            transformer(torch.randn(2, 1, 64), state)
    assert state["length"].tolist() == [3, 3]


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("shape", [(2, 40, 0.0), (1, 150, 0.05), (3, 70, 0.4), (2, 3, 0.0)], ids=str)
@pytest.mark.parametrize("changes", MODELS, ids=str)
def test_training_step_equals_the_plain_path(
    changes: dict[str, object], shape: tuple[int, int, float], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, length, share = shape
    transformer = model(**changes).to(dtype)
    x, weights = torch.randn(2, batch, length, transformer.dim, dtype=dtype).unbind(0)
    starts = torch.rand(batch, length) < share if share else None

    def gradients() -> list[Tensor]:
        given = x.clone().requires_grad_()
        hidden, _ = transformer(given, None, starts)
        return [hidden, *torch.autograd.grad((hidden * weights).sum(), [given, *transformer.parameters()])]

    found = gradients()
    monkeypatch.setenv(kernels.SWITCH, "0")
    for one, two in zip(found, gradients(), strict=True):
        assert one.dtype == dtype and deviation(one, two) < (1e-4 if dtype == torch.float32 else 1e-10)


@needs_kernels
def test_starts_may_have_any_strides() -> None:
    transformer = model(dim=64)
    starts = torch.rand(3, 20, generator=torch.Generator().manual_seed(0)) < 0.3
    x = torch.randn(3, 20, 64)
    assert torch.equal(transformer(x, None, starts.t().contiguous().t())[0], transformer(x, None, starts)[0])


@needs_kernels
def test_gradients_are_true() -> None:
    generator = torch.Generator().manual_seed(0)
    starts = torch.rand(2, 70, generator=generator) < 0.05
    place = positions(2, 70, None, starts, torch.device("cpu"))
    cos, sin = (each.squeeze(2).contiguous() for each in angles(place, 6, 10.0, torch.float64))
    q = torch.randn(2, 70, 4, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    k, v = (torch.randn(2, 70, 2, 6, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    first = torch.arange(70) - place
    assert torch.autograd.gradcheck(lambda q, k, v: attention(q, k, v, cos, sin, first), (q, k, v), fast_mode=True)
    assert torch.autograd.gradcheck(gated, (q, q.detach().flip(0).requires_grad_()), fast_mode=True)


@needs_kernels
@pytest.mark.parametrize(("tables", "distances", "width"), [(1, 1000, 16), (2, 100, 6), (1, 3, 8)])
@pytest.mark.parametrize("packed", [False, True])
def test_embedded_distances_equal_all_logits_at_once(tables: int, distances: int, width: int, packed: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    length, heads = 150, 2
    given = [torch.randn(2, length, heads, width, generator=generator, dtype=torch.float64) for _ in range(3)]
    given.append(torch.randn(tables, distances, width, generator=generator, dtype=torch.float64))
    q, k, v, table = (each.requires_grad_() for each in given)
    starts = torch.rand(2, length, generator=generator) < 0.02 * packed
    place = positions(2, length, None, starts, torch.device("cpu"))
    steps = torch.arange(length)
    first = steps - place
    embedded = table[:, (steps[:, None] - steps).clamp(0, distances - 1)].expand(heads, -1, -1, -1)  # (h i j c)
    logits = torch.einsum("bihc,bjhc->bhij", q, k) + torch.einsum("bihc,hijc->bhij", q, embedded)
    seen = (steps <= steps[:, None]) & (steps >= first[:, :, None])
    weights = (logits * width**-0.5).masked_fill(~seen[:, None], -torch.inf).softmax(-1)
    wanted = torch.einsum("bhij,bjhc->bihc", weights, v)
    cos = torch.ones(1, length, width // 2, dtype=torch.float64)
    found = attention(q, k, v, cos, torch.zeros_like(cos), first if packed else None, table)
    pull = torch.randn(wanted.shape, generator=generator, dtype=torch.float64)
    pairs = zip(*(torch.autograd.grad((y * pull).sum(), given) for y in (found, wanted)), strict=True)
    assert all(deviation(*pair) < 1e-11 for pair in [(found, wanted), *pairs])


@needs_kernels
def test_what_does_not_fit_is_refused_and_not_read() -> None:
    q = torch.zeros(2, 9, 2, 8)
    cos, first, table = torch.ones(1, 9, 4), torch.zeros(2, 9, dtype=torch.int64), torch.zeros(2, 5, 8)
    attention(q, q, q, cos, cos, first, table)
    wrong: list[tuple[Any, ...]] = [
        (q, q[:1], q, cos, cos, first, table),
        (q, q, q[:, :5], cos, cos, first, table),
        (q, q, q, cos[:, :5], cos, first, table),
        (q, q, q, cos, cos, first[:1], table),
        (q, q, q, cos, cos, first, table[:, :, :6].contiguous()),
        (q, q, q, cos, cos, first, table[:, :0]),
    ]
    for given in wrong:
        with pytest.raises(RuntimeError, match="expected"):
            attention(*given)


@needs_kernels
def test_autocast_stays_near_float32() -> None:
    transformer = model(dim=64)
    x, weights = torch.randn(2, 2, 90, 64).unbind(0)

    def gradients(enabled: bool) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            hidden, _ = transformer(x)
        total = (hidden.float() * weights).sum()
        return [hidden.float(), *torch.autograd.grad(total, list(transformer.parameters()))]

    for found, wanted in zip(gradients(True), gradients(False), strict=True):
        assert found.dtype == torch.float32 and deviation(found, wanted) < 0.05


@needs_kernels
def test_same_bits_on_any_number_of_threads() -> None:
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(3, 100, 2, 32, generator=generator, requires_grad=True) for _ in range(3)]
    cos, sin = (each.squeeze(2).contiguous() for each in angles(torch.arange(100)[None], 32, 1e4, torch.float32))

    def results() -> list[Tensor]:
        y = attention(given[0], given[1], given[2], cos, sin, None)
        return [y, *torch.autograd.grad(y.square().sum(), given)]

    assert same_bits_on_any_number(results)


@needs_kernels
@pytest.mark.parametrize("place", range(3))
def test_not_a_number_is_not_hidden(place: int) -> None:
    given = [torch.randn(1, 20, 1, 16) for _ in range(3)]
    given[place][0, 3, 0, 0] = float("nan")
    cos, sin = (each.squeeze(2).contiguous() for each in angles(torch.arange(20)[None], 16, 1e4, torch.float32))
    y = attention(given[0], given[1], given[2], cos, sin, None)
    assert y[:, 3].isnan().any()


@needs_kernels
def test_a_step_has_the_same_bits_on_any_number_of_threads() -> None:
    transformer = model(dim=256).eval()  # wide enough to be shared out
    x = torch.randn(6, 1, 256)

    def results() -> list[Tensor]:
        with torch.inference_mode():
            state = transformer.init_state(6, 3)
            return [transformer(x, state)[0] for _ in range(3)]

    assert same_bits_on_any_number(results)
