"""How backbones begin, and where they drop: spreads of fresh weights by their papers, and what is left of a stream."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plugins.manager import load_manager
from tests import packing

DIM = 64


def made(name: str, **settings: Any) -> Any:
    torch.manual_seed(0)
    entry = load_manager().backbones[name]
    assert entry.build is not None and entry.hparams is not None
    return entry.build(entry.hparams(**({"dim": DIM} | settings)))


def weights(model: nn.Module, ending: str) -> list[Tensor]:
    found = [value.detach() for name, value in model.named_parameters() if name.endswith(ending)]
    assert found, ending
    return found


def spread(model: nn.Module, ending: str, std: float) -> None:
    """All weights of a name together have a deviation, and no mean to speak of."""
    found = torch.cat([each.flatten() for each in weights(model, ending)])
    assert found.std().item() == pytest.approx(std, rel=0.05), ending
    assert found.mean().abs() < 0.05 * std, ending


def bounded(model: nn.Module, ending: str, bound: float) -> None:
    """All weights of a name are spread evenly up to a bound."""
    for each in weights(model, ending):
        assert 0.95 * bound < each.abs().max() <= bound * 1.0001, ending
        assert each.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1), ending


def all_are(model: nn.Module, ending: str, value: float) -> None:
    assert all((each == value).all() for each in weights(model, ending)), ending


def step_sizes(model: nn.Module) -> None:
    """Log-uniform from a thousandth to a tenth behind the softplus: half of them below a hundredth."""
    steps = F.softplus(torch.cat(weights(model, "dt_bias")))
    assert steps.min() > 0.99e-3 and steps.max() < 0.101 and 0.2 < (steps < 1e-2).float().mean() < 0.8


def free_of_decay(model: nn.Module) -> set[str]:
    return {
        name.rpartition(".")[2] for name, value in model.named_parameters() if getattr(value, "_no_weight_decay", False)
    }


def test_branches_end_small_by_the_depth() -> None:
    """GPT-2: 0.02, and over the root of the number of branches where one ends: 8 blocks of two."""
    for name, ends, others in (
        ("gpt2", ("attn.c_proj.weight", "mlp.c_proj.weight"), ("c_attn.weight", "c_fc.weight")),
        ("transformer", ("o_proj.weight", "down_proj.weight"), ("q_proj.weight", "v_proj.weight", "gate_proj.weight")),
        ("gated_deltanet", ("o_proj.weight", "down_proj.weight"), ("attn.k_proj.weight", "up_proj.weight")),
    ):
        model = made(name, layers=8, hidden=0)
        for ending in ends:
            spread(model, ending, 0.005)
        for ending in others:
            spread(model, ending, 0.02)
    model = made("gpt2", layers=8)
    spread(model, "wpe.weight", 0.01)
    all_are(model, ".c_attn.bias", 0)
    all_are(model, "ln_1.weight", 1)
    spread(made("hybrid", pattern="ma", layers=4), "o_proj.weight", 0.005)  # the depth is that of all blocks
    assert made("hybrid", pattern="rr").layers[1].att.first is False


def test_the_mlstm_begins_by_remembering() -> None:
    model = made("mlstm", layers=8, hidden=128)
    for bias in weights(model, "fgate_preact.bias"):
        assert bias.tolist() == pytest.approx([3, 4, 5, 6])
    all_are(model, "igate_preact.bias", -10)
    all_are(model, "igate_preact.weight", 0)
    all_are(model, "fgate_preact.weight", 0)
    for ending in ("_layer.q.weight", "_layer.v.weight", "ogate_preact.weight", "proj_up.weight"):
        spread(model, ending, math.sqrt(2 / (5 * DIM)))
    spread(model, "out_proj.weight", 2 / 8 / math.sqrt(DIM))
    spread(model, "proj_down.weight", 2 / 8 / math.sqrt(128))


def test_state_space_models_begin_with_short_steps_and_keep_their_rates() -> None:
    for name, free in (
        ("mamba2", {"dt_bias", "A_log", "D"}),
        ("mamba3", {"dt_bias", "B_bias", "C_bias", "D", "mimo_x", "mimo_o", "mimo_z"}),
        ("gated_deltanet", {"dt_bias", "A_log"}),
    ):
        model = made(name, layers=4, **({"rank": 2} if name == "mamba3" else {}))
        step_sizes(model)
        assert free_of_decay(model) == free, name
        if name == "mamba3":
            for ending, value in (("B_bias", 1), ("C_bias", 1), (".D", 1), ("mimo_x", 0.5), ("mimo_o", 0.5)):
                all_are(model, ending, value)
            all_are(model, "mimo_z", 1)
        if name != "gated_deltanet":
            bounded(model, "out_proj.weight", (2 * DIM) ** -0.5 / 2)  # over the root of four blocks
    rates = torch.cat(weights(made("gated_deltanet", layers=8), "A_log")).exp()
    assert 0.01 <= rates.min() < 4 and 10 < rates.max() <= 16


@pytest.mark.parametrize(("name", "gates"), [("lstm", 4), ("gru", 3), ("attentive_gru", 3)])
def test_recurrent_matrices_begin_orthogonal_gate_by_gate(name: str, gates: int) -> None:
    model = made(name, layers=2)
    for each in weights(model, "weight_hh_l0"):
        for gate in each.chunk(gates):
            packing.assert_near(gate @ gate.t(), torch.eye(DIM), 1e-5)
    for each in weights(model, "weight_ih_l0"):
        for gate in each.chunk(gates):
            assert 0.95 < gate.abs().max() / math.sqrt(6 / (2 * DIM)) <= 1.0001
    all_are(model, "bias_hh_l0", 0)
    for bias in weights(model, "bias_ih_l0"):
        parts = [part.unique().tolist() for part in bias.chunk(gates)]
        assert parts == ([[0], [1], [0], [0]] if name == "lstm" else [[0]] * 3)  # input, forget, cell, output
    assert model.embedding_std == 0.2
    if name == "attentive_gru":
        bounded(model, "in_proj.weight", math.sqrt(6 / (4 * DIM)))
        bounded(model, "out_proj.weight", math.sqrt(6 / (2 * DIM)))
        all_are(model, "_proj.bias", 0)


def test_the_music_transformer_begins_as_xavier_has_it() -> None:
    model = made("music_transformer", layers=2, hidden=128, distances=256)
    for each in weights(model, "qkv_proj.weight"):
        for part in each.chunk(3):
            assert 0.95 < part.abs().max() / math.sqrt(6 / (2 * DIM)) <= 1.0001
    bounded(model, "linear1.weight", math.sqrt(6 / (DIM + 128)))
    spread(model, ".Er", 0.02)
    all_are(model, "_proj.bias", 0)
    all_are(model, "linear2.bias", 0)
    assert model.embedding_std == DIM**-0.5  # times the root of the width: entries of 1 beside sines


# What is left of x where all that is dropped is dropped whole, but for what the embeddings would lose.
LEFT: dict[str, Any] = {
    "gpt2": lambda m, x: m.ln_f(x + m.wpe.weight[: x.shape[1]]),
    "transformer": lambda m, x: m.norm(x),
    "mamba": lambda m, x: m.norm_f(x),
    "mamba2": lambda m, x: m.norm_f(x),
    "mamba3": lambda m, x: m.norm_f(x),
    "gated_deltanet": lambda m, x: m.norm(x),
    "mlstm": lambda m, x: m.out_norm(x),
    "rwkv7": lambda m, x: m.ln_out(m.blocks[0].ln0(x)),
    "hybrid": lambda m, x: m.norm(x),
    "lstm": lambda m, x: torch.zeros_like(x),
    "gru": lambda m, x: torch.zeros_like(x),
    "attentive_gru": lambda m, x: torch.zeros_like(x),
}


@pytest.mark.parametrize("name", LEFT)
def test_each_branch_is_dropped_and_the_stream_is_not(name: str) -> None:
    settings = {"pattern": "a3xgw2m"} if name == "hybrid" else {"layers": 2}
    model = made(name, dropout=0.3, **settings).train()
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.3}
    x = packing.noise(2, 7, DIM, dtype=torch.float32, seed=0)
    starts = torch.zeros(2, 7, dtype=torch.bool)
    starts[0, 3] = True
    outer = getattr(model, "dropout", None) if name == "gpt2" else None
    calls = []

    def dropped(module: nn.Module, given: tuple[Tensor], _: Tensor) -> Tensor:
        calls.append(module)
        return given[0] if module is outer else torch.zeros_like(given[0])

    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(dropped)
    packing.assert_near(model(x)[0], LEFT[name](model, x), 1e-6)
    assert calls
    if name not in ("gpt2", "hybrid"):
        packing.assert_near(model(x, None, starts)[0], LEFT[name](model, x), 1e-6)


@pytest.mark.parametrize("name", ["gpt2", "music_transformer"])
def test_embeddings_are_dropped_with_their_positions(name: str) -> None:
    model = made(name, dropout=0.3, layers=1).train()
    seen = []

    def dropped(module: nn.Module, given: tuple[Tensor], _: Tensor) -> Tensor:
        seen.append(given[0])
        return torch.zeros_like(given[0])

    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(dropped)
    assert (model(torch.ones(1, 3, DIM))[0] == 0).all()  # norms of nothing, and their biases are 0
    assert len(seen) == 3 and not torch.equal(seen[0], torch.ones(1, 3, DIM))


def test_what_attention_gathers_is_dropped_before_it_is_added() -> None:
    model = made("attentive_gru", dropout=0.3, layers=1).train()
    x = packing.noise(2, 7, DIM, dtype=torch.float32, seed=0)
    calls: list[Tensor] = []

    def first_dropped(_: nn.Module, given: tuple[Tensor], __: Tensor) -> Tensor:
        calls.append(given[0])
        return torch.zeros_like(given[0]) if len(calls) == 1 else given[0]

    model.dropout.register_forward_hook(first_dropped)
    expected, _ = model.layers[0](F.layer_norm(x, (DIM,)))
    packing.assert_near(model(x)[0], expected, 1e-6)
    assert len(calls) == 2
