"""Mamba in plain PyTorch: parity with transformers' slow path and with the formula, packing without a trace, counts."""

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.nn import functional as F

from hparams.backbones.mamba import MambaHParams
from plugins.backbones.mamba import Mamba, build
from plugins.backbones.parts import channel_threads, mamba_kernels, selective_scan
from plugins.backbones.parts.causal_conv import causal_conv, causal_conv_step
from plugins.backbones.parts.mamba_kernels import Kernels
from tests import packing

DTYPES = [torch.float64, torch.float32]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Arrays this small only lose by being shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path that runs everywhere."""
    monkeypatch.setenv("SWAPTUNES_NATIVE", "0")


def mamba(dim: int = 16, layers: int = 2, state: int = 4, **settings: float) -> Mamba:
    torch.manual_seed(0)
    return build(MambaHParams(dim=dim, layers=layers, state=state, **({"dropout": 0.0} | settings)))  # type: ignore[arg-type]


def scan_inputs(length: int, batch: int, channels: int, states: int, seed: int = 0) -> list[Tensor]:
    """u, delta, A, B, C, D, z, delta_bias, before in float64, each a leaf."""
    wide, narrow = (length, batch, channels), (length, batch, states)
    shapes = [wide, wide, (channels, states), narrow, narrow, (channels,), wide, (channels,), (batch, channels, states)]
    values = [packing.noise(*shape, dtype=torch.float64, seed=100 * seed + i) for i, shape in enumerate(shapes)]
    values[2] = -values[2].abs() - 0.1
    return [value.requires_grad_() for value in values]


def literal_scan(u, delta, A, B, C, D, z, delta_bias, before, starts=None):  # type: ignore[no-untyped-def]
    """The recurrence as written down, step by step, row by row."""
    length, batch, _ = u.shape
    dt = F.softplus(delta + delta_bias)
    rows, last = [], []
    for b in range(batch):
        h, outputs = before[b], []
        for t in range(length):
            if starts is not None and starts[t, b]:
                h = torch.zeros_like(h)
            h = torch.exp(dt[t, b][:, None] * A) * h + dt[t, b][:, None] * B[t, b] * u[t, b][:, None]
            outputs.append((h @ C[t, b] + D * u[t, b]) * F.silu(z[t, b]))
        rows.append(torch.stack(outputs))
        last.append(h)
    return torch.stack(rows, 1), torch.stack(last)


@pytest.mark.parametrize("chunk", [1, 40, 1 << 18])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("packed", [False, True])
def test_scan_equals_the_literal_recurrence(
    chunk: int, threads: int, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However time is cut into chunks and channels into threads; with and without starts; from a state, to a state."""
    monkeypatch.setitem(selective_scan._CHUNK_NUMBERS, "cpu", chunk * threads)
    monkeypatch.setattr(selective_scan, "channel_threads", lambda *_: threads)
    inputs = scan_inputs(13, 2, 5, 3)
    starts = torch.rand(13, 2, generator=torch.Generator().manual_seed(1)) < 0.3 if packed else None
    found = selective_scan.selective_scan(*inputs, starts)
    expected = literal_scan(*inputs, starts)
    weights = [packing.noise(*y.shape, dtype=torch.float64, seed=50 + i) for i, y in enumerate(expected)]
    for a, b in zip(found, expected, strict=True):
        packing.assert_near(a, b, 1e-12)
    for parts in ([0], [1], [0, 1]):  # a gradient may come from the outputs, the last state or both
        gradients, reference = (
            torch.autograd.grad(sum((ys[i] * weights[i]).sum() for i in parts), inputs, materialize_grads=True)
            for ys in (found, expected)
        )
        found, expected = selective_scan.selective_scan(*inputs, starts), literal_scan(*inputs, starts)
        for a, b in zip(gradients, reference, strict=True):
            packing.assert_near(a, b, 1e-12)


def test_scan_gradient_is_true() -> None:
    starts = torch.tensor([[False, True], [False, False], [True, False], [True, False]])
    assert torch.autograd.gradcheck(selective_scan.selective_scan, (*scan_inputs(4, 2, 2, 2), starts), fast_mode=False)


def test_threads_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    inputs = [value.detach().float().requires_grad_() for value in scan_inputs(20, 2, 12, 4)]
    results = []
    for least in (1 << 30, 0):
        monkeypatch.setattr(channel_threads, "_WORTH_IT", least)
        y, last = selective_scan.selective_scan(*inputs)
        results.append([y, last, *torch.autograd.grad(y.sum() + last.sum(), inputs)])
    for one, many in zip(*results, strict=True):
        packing.assert_near(many, one, 1e-6)


def test_step_equals_scan() -> None:
    inputs = [value.detach() for value in scan_inputs(1, 3, 5, 4)]
    y, last = selective_scan.selective_scan(*inputs)
    u, delta, A, B, C, D, z, bias, before = inputs
    step, state = selective_scan.selective_step(u[0], delta[0], A, B[0], C[0], D, z[0], bias, before)
    packing.assert_near(step, y[0], 1e-12)
    packing.assert_near(state, last, 1e-12)


@given(starts=packing.packings())
@settings(max_examples=20, deadline=None)
def test_convolution_equals_pieces_convolved_by_torch(starts: Tensor) -> None:
    x = packing.noise(*starts.shape, 3, dtype=torch.float64, seed=0)
    weight, bias = packing.noise(3, 4, dtype=torch.float64, seed=1), packing.noise(3, dtype=torch.float64, seed=2)
    starts[:, 0] = True
    found, after = causal_conv(x.transpose(0, 1), weight, bias, None, starts.t())
    for row, spans in enumerate(packing.pieces(starts)):
        for begin, end in spans:
            piece = F.pad(x[row, begin:end].t(), (3, 0))
            expected = F.silu(F.conv1d(piece[None], weight[:, None], bias, groups=3))[0].t()
            packing.assert_near(found[begin:end, row], expected, 1e-12)
        packing.assert_near(after[row], piece[:, -3:], 1e-12)
    u = packing.noise(len(x), 3, dtype=torch.float64, seed=3)
    step, kept = causal_conv_step(u, weight, bias, after)
    chunk, same = causal_conv(u[None], weight, bias, after)
    packing.assert_near(step, chunk[0], 1e-12)
    assert torch.equal(kept, same)


def test_equals_transformers_slow_path() -> None:
    """Outputs, gradients and the names of all weights."""
    transformers = pytest.importorskip("transformers")
    ours = mamba(layers=2)
    config = transformers.MambaConfig(
        hidden_size=16, num_hidden_layers=2, state_size=4, vocab_size=11, time_step_rank=1, use_mambapy=False
    )
    theirs = transformers.MambaForCausalLM(config).eval()
    for parameter in theirs.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    weights = theirs.backbone.state_dict()
    embedding = weights.pop("embeddings.weight")
    ours.load_state_dict(weights)  # strict: mamba_ssm's and transformers' names, and no other
    ids = torch.randint(11, (2, 21))
    found = ours(embedding[ids])[0] @ theirs.lm_head.weight.t()
    expected = theirs(ids).logits
    packing.assert_near(found, expected, 1e-5)
    mine, other = dict(ours.named_parameters()), dict(theirs.backbone.named_parameters())
    gradients = torch.autograd.grad(found.square().sum(), list(mine.values()))
    reference = torch.autograd.grad(expected.square().sum(), [other[name] for name in mine])
    for a, b in zip(gradients, reference, strict=True):
        packing.assert_near(a, b, 1e-5)


@pytest.mark.parametrize("conv", [1, 2, 6])
def test_any_number_of_taps(conv: int) -> None:
    starts = torch.tensor([[False, False, True, False, True, True, False]])
    packing.packed_equals_separate(mamba(conv=conv), starts, torch.float64)
    packing.chunks_equal_whole(mamba(conv=conv), starts, [1] * 7, torch.float64, 1)


@pytest.mark.parametrize(
    ("dim", "mixer"), [(64, 32_640), (128, 116_480), (256, 437_760), (512, 1_694_720), (768, 3_770_880)]
)
def test_parameters_of_a_mixer(dim: int, mixer: int) -> None:
    model = build(MambaHParams(dim=dim, layers=1))
    assert sum(parameter.numel() for parameter in model.layers[0].mixer.parameters()) == mixer


@pytest.mark.parametrize(
    ("dim", "layers", "vocabulary", "total"), [(256, 6, 512, 2_759_424), (768, 24, 50_280, 129_135_360)]
)
def test_parameters_of_a_language_model(dim: int, layers: int, vocabulary: int, total: int) -> None:
    with torch.device("meta"):
        model = build(MambaHParams(dim=dim, layers=layers))
    assert sum(parameter.numel() for parameter in model.parameters()) + vocabulary * dim == total


def test_start_values() -> None:
    mixer = build(MambaHParams(dim=64, layers=4)).layers[0].mixer
    assert torch.allclose(mixer.A_log.exp(), torch.arange(1.0, 17).expand(128, 16))
    assert (mixer.D == 1).all() and mixer.dt_proj.weight.abs().max() <= 4**-0.5
    dt = F.softplus(mixer.dt_proj.bias)
    assert 1e-3 * 0.999 <= dt.min() < 2e-3 and 0.05 < dt.max() <= 0.1001
    bound = 128**-0.5 / math.sqrt(4)  # Kaiming-uniform with a = sqrt 5, over the root of the depth
    assert 0.9 * bound < mixer.out_proj.weight.abs().max() <= bound
    marked = {name for name, parameter in mixer.named_parameters() if getattr(parameter, "_no_weight_decay", False)}
    assert marked == {"A_log", "D", "dt_proj.bias"}


def test_beyond_max_length_is_an_error() -> None:
    model = mamba()
    _, state = model(torch.zeros(1, 4, 16), model.init_state(1, 4))
    with pytest.raises(ValueError, match=r"5 tokens.*max_length 4"):
        model(torch.zeros(1, 1, 16), state)


def test_dropout_only_in_training() -> None:
    model = mamba(dropout=0.5)
    x = torch.randn(1, 6, 16)
    assert not torch.equal(model(x)[0], model(x)[0])
    model.eval()
    assert torch.equal(model(x)[0], model(x)[0])


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_finite_and_sums_in_float32(autocast: bool) -> None:
    model = mamba() if autocast else mamba().bfloat16()
    x = torch.randn(2, 9, 16).to(next(model.parameters()).dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        for state in (None, model.init_state(2, 9)):
            y, after = model(x, state, torch.rand(2, 9) < 0.3)
            assert y.isfinite().all()
    assert after["ssm.0"].dtype == torch.float32
    y.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def kernel_without_boundaries(u, delta, A, B, C, D, z, delta_bias, softplus, return_last_state):  # type: ignore[no-untyped-def]
    """The signature of mamba_ssm's selective_scan_fn on (b e l) and (b n l), which knows neither starts nor a state."""
    assert return_last_state and all(tensor.is_contiguous() for tensor in (u, delta, B, C))
    u, delta, B, C = (tensor.permute(2, 0, 1) for tensor in (u, delta, B, C))
    dt = F.softplus(delta + delta_bias) if softplus else delta
    h, outputs = u.new_zeros(u.shape[1], *A.shape), []
    for t in range(len(u)):
        h = torch.exp(dt[t][..., None] * A) * h + (dt[t] * u[t])[..., None] * B[t][:, None]
        outputs.append((h * C[t][:, None]).sum(-1))
    y = torch.stack(outputs)
    y = y if D is None else y + D * u
    y = y if z is None else y * F.silu(z.permute(2, 0, 1))
    return y.permute(1, 2, 0), h


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("stateful", [False, True])
def test_kernels_are_given_starts_and_states_by_way_of_their_input(packed: bool, stateful: bool) -> None:
    inputs = [value.detach().float().requires_grad_() for value in scan_inputs(11, 2, 5, 3)]
    inputs[2] = (inputs[2].detach() * torch.tensor([1e-6, 1e-3, 1.0])).requires_grad_()  # slow channels reset as well
    if not stateful:
        inputs = inputs[:-1]
    starts = torch.rand(11, 2, generator=torch.Generator().manual_seed(1)) < 0.3 if packed else None
    before = None if stateful else (None,)
    given_before = () if before is None else before
    kernels = Kernels(kernel_without_boundaries, lambda *_: None)
    results = []
    for function in (kernels.selective_scan, selective_scan.selective_scan):
        y, last = function(*inputs, *given_before, starts)
        results.append([y, last, *torch.autograd.grad(y.square().sum() + last.square().sum(), inputs)])
    for found, expected in zip(*results, strict=True):
        packing.assert_near(found, expected, 1e-5)


def test_kernels_are_not_asked_on_the_cpu_and_their_absence_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert mamba_kernels.usable(torch.zeros(1), 16) is None
    if torch.cuda.is_available():
        pytest.skip("a GPU is at hand: the kernels may work")
    mamba_kernels.load.cache_clear()
    mamba_kernels.warn_once.cache_clear()
    assert mamba_kernels.load() is None and mamba_kernels.load() is None
    assert len([record for record in caplog.records if "do not run" in record.message]) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_kernels_agree_with_the_plain_path_on_a_gpu() -> None:
    if mamba_kernels.load() is None:
        pytest.skip("mamba-ssm and causal-conv1d do not work here")
    model = mamba(dim=64, state=16).cuda()
    x, starts = torch.randn(2, 128, 64).cuda(), torch.rand(2, 128).cuda() < 0.05
    fast = model(x, None, starts)[0]
    plain = model.cpu()(x.cpu(), None, starts.cpu())[0]
    assert torch.allclose(fast.cpu(), plain, rtol=6e-4, atol=2e-3)
