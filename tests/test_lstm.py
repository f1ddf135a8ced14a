"""The LSTM: parity with torch's, and resets without a trace."""

from collections.abc import Iterator

import pytest
import torch

from hparams.backbones.lstm import LstmHParams
from plugins.backbones.lstm import Lstm, build
from plugins.backbones.parts.piece_layout import buckets
from tests import packing

DTYPES = [torch.float64, torch.float32]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Arrays this small only lose by being shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def lstm(dropout: float = 0.0, layers: int = 2) -> Lstm:
    torch.manual_seed(0)
    return build(LstmHParams(dim=12, layers=layers, dropout=dropout))


@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_torch_with_the_same_weights(dtype: torch.dtype) -> None:
    ours = lstm(layers=3).to(dtype)
    theirs = torch.nn.LSTM(12, 12, num_layers=3, batch_first=True).to(dtype)
    weights = {name.replace("_l0", f"_l{i}"): w for i in range(3) for name, w in ours.layers[i].state_dict().items()}
    theirs.load_state_dict(weights)
    x = packing.noise(2, 9, 12, dtype=dtype, seed=0).requires_grad_()
    found, state = ours(x, ours.init_state(2, 9))
    expected, (h, c) = theirs(x)
    packing.assert_near(found, expected, packing.TOLERANCE[dtype])
    packing.assert_near(torch.stack([state[f"h.{i}"] for i in range(3)]), h, packing.TOLERANCE[dtype])
    packing.assert_near(torch.stack([state[f"c.{i}"] for i in range(3)]), c, packing.TOLERANCE[dtype])
    gradients = torch.autograd.grad(found.square().sum(), [x, *ours.parameters()])
    for a, b in zip(gradients, torch.autograd.grad(expected.square().sum(), [x, *theirs.parameters()]), strict=True):
        packing.assert_near(a, b, packing.TOLERANCE[dtype])


def test_beyond_max_length_is_an_error() -> None:
    model = lstm()
    _, state = model(torch.zeros(1, 4, 12), model.init_state(1, 4))
    with pytest.raises(ValueError, match=r"5 tokens.*max_length 4"):
        model(torch.zeros(1, 1, 12), state)


def test_dropout_follows_every_layer_and_only_in_training() -> None:
    model = lstm(dropout=0.5, layers=1)
    x, starts = torch.randn(2, 50, 12), torch.rand(2, 50) < 0.1
    for marks in (None, starts):
        dropped = (model(x, None, marks)[0] == 0).double().mean()
        assert 0.4 < dropped < 0.6
    model.eval()
    assert (model(x)[0] != 0).all()


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_finite_and_keeps_the_type(autocast: bool) -> None:
    model = lstm() if autocast else lstm().bfloat16()
    x = torch.randn(2, 9, 12).to(next(model.parameters()).dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        for state in (None, model.init_state(2, 9)):
            y, _ = model(x, state, torch.rand(2, 9) < 0.3)
            assert y.dtype == x.dtype and y.isfinite().all()


def test_buckets_cover_all_pieces_once_and_cost_no_more_than_one_or_each_alone() -> None:
    generator = torch.Generator().manual_seed(0)

    def cost(found: list[list[int]], lengths: list[int]) -> int:
        return sum(max(lengths[piece] for piece in bucket) * (len(bucket) + 8) for bucket in found)

    for _ in range(20):
        count = int(torch.randint(1, 60, (), generator=generator))
        lengths = torch.randint(1, 60, (count,), generator=generator).tolist()
        found = buckets(lengths)
        assert sorted(piece for bucket in found for piece in bucket) == list(range(count))
        assert cost(found, lengths) <= cost([list(range(count))], lengths)
        assert cost(found, lengths) <= cost([[piece] for piece in range(count)], lengths)
    assert len(buckets([1] * 500 + list(range(1, 1025)))) < 64
