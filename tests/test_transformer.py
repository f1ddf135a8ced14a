"""The transformer: parity with transformers' Llama, a cache that holds what it should, packing without a trace."""

import time
from collections.abc import Iterator

import pytest
import torch

from hparams.backbones.transformer import TransformerHParams
from plugins.backbones.transformer import Transformer, build
from tests import packing

DTYPES = [torch.float64, torch.float32]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Arrays this small only lose by being shared out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def transformer(kv_heads: int = 2, **settings: float) -> Transformer:
    torch.manual_seed(0)
    given = {"dim": 24, "layers": 2, "heads": 4, "hidden": 32, "dropout": 0.0} | settings
    model = build(TransformerHParams(kv_heads=kv_heads, **given))  # type: ignore[arg-type]
    for parameter in model.parameters():  # at the start values attention is almost even; make it matter
        if parameter.dim() == 2:
            parameter.data.normal_(std=0.3)
    return model


@pytest.mark.parametrize("kv_heads", [0, 1, 2])
def test_equals_llama_with_the_same_weights(kv_heads: int) -> None:
    transformers = pytest.importorskip("transformers")
    ours = transformer(kv_heads, rope_base=500.0)
    config = transformers.LlamaConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=kv_heads or 4,
        intermediate_size=32,
        vocab_size=3,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        attn_implementation="eager",
    )
    theirs = transformers.LlamaModel(config)
    missing = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert missing.missing_keys == ["embed_tokens.weight"] and not missing.unexpected_keys
    x = packing.noise(2, 17, 24, dtype=torch.float32, seed=0).requires_grad_()
    found, _ = ours(x)
    expected = theirs(inputs_embeds=x).last_hidden_state
    packing.assert_near(found, expected, 1e-5)
    names = list(ours.state_dict())
    mine, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    weight = packing.noise(*found.shape, dtype=torch.float32, seed=1)  # the squares of normed vectors sum to a constant
    gradients = torch.autograd.grad((found * weight).sum(), [x, *(mine[name] for name in names)])
    reference = torch.autograd.grad((expected * weight).sum(), [x, *(other[name] for name in names)])
    for a, b in zip(gradients, reference, strict=True):
        packing.assert_near(a, b, 1e-5)


def test_without_a_state_the_mask_is_causal() -> None:
    model = transformer().double()
    x = packing.noise(1, 9, 24, dtype=torch.float64, seed=0)
    changed = x.clone()
    changed[:, 5:] += 1
    with torch.no_grad():
        assert torch.equal(model(x)[0][:, :5], model(changed)[0][:, :5])
        assert not torch.allclose(model(x)[0][:, 5:], model(changed)[0][:, 5:])


def test_beyond_max_length_is_an_error_and_the_last_slot_is_not() -> None:
    model = transformer()
    _, state = model(torch.zeros(1, 3, 24), model.init_state(1, 4))
    _, state = model(torch.zeros(1, 1, 24), state)
    with pytest.raises(ValueError, match=r"5 tokens.*max_length 4"):
        model(torch.zeros(1, 1, 24), state)


def test_without_gradients_the_cache_is_written_in_place() -> None:
    model = transformer()
    state = model.init_state(2, 6)
    with torch.no_grad():
        _, after = model(torch.randn(2, 3, 24), state)
    assert after["keys.0"].data_ptr() == state["keys.0"].data_ptr()
    assert state["keys.0"][:, :3].abs().sum() > 0 and (state["keys.0"][:, 3:] == 0).all()


def test_a_step_costs_by_what_is_filled_not_by_the_room() -> None:
    model = transformer(dim=64, layers=1).eval()

    def seconds(room: int) -> float:
        best = float("inf")
        with torch.inference_mode():
            state = model.init_state(4, room)
            for _ in range(30):
                begin = time.perf_counter()
                _, state = model(torch.zeros(4, 1, 64), state)
                best = min(best, time.perf_counter() - begin)
        return best

    assert seconds(65536) < 5 * seconds(64) + 1e-3  # reading 65,536 slots takes tens of milliseconds


def test_dropout_only_in_training() -> None:
    model = transformer(dropout=0.5)
    x = torch.randn(1, 6, 24)
    assert not torch.equal(model(x)[0], model(x)[0])
    model.eval()
    assert torch.equal(model(x)[0], model(x)[0])


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_finite_and_keeps_the_type(autocast: bool) -> None:
    model = transformer() if autocast else transformer().bfloat16()
    x = torch.randn(2, 9, 24).to(next(model.parameters()).dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        for state in (None, model.init_state(2, 9)):
            y, _ = model(x, state, torch.rand(2, 9) < 0.3)
            assert y.dtype == x.dtype and y.isfinite().all()


def test_hidden_width_by_default() -> None:
    model = build(TransformerHParams(dim=256, layers=1, hidden=0))
    assert model.layers[0].mlp.gate_proj.out_features == 688  # 8/3 of 256 is 682.67
