"""The GRU behind attention: parity with torch's modules, weights that are not all one, and the laws."""

import torch
from torch import nn

from hparams.backbones.attentive_gru import AttentiveGruHParams
from plugins.backbones.attentive_gru import AttentiveGru, build
from plugins.manager import load_manager
from tests import packing
from tests.backbones.judging import KEY, broken


def twin(ours: AttentiveGru, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What torch's own modules say with the same weights, and the attention's weights (b h l l)."""
    dim, length = x.shape[-1], x.shape[1]
    attention = nn.MultiheadAttention(dim, ours.attention.heads, batch_first=True)
    into, out = ours.attention.in_proj, ours.attention.out_proj
    names = {"in_proj_weight": into.weight, "in_proj_bias": into.bias}
    attention.load_state_dict(names | {"out_proj.weight": out.weight, "out_proj.bias": out.bias})
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    y, weights = attention(x, x, x, attn_mask=later, average_attn_weights=False)
    gru = nn.GRU(dim, dim, num_layers=len(ours.layers), batch_first=True)
    gru.load_state_dict(
        {name.replace("_l0", f"_l{i}"): w for i, one in enumerate(ours.layers) for name, w in one.state_dict().items()}
    )
    return gru(nn.functional.layer_norm(x + y, (dim,)))[0], weights


def test_equals_torch_with_the_same_weights_whole_and_step_by_step():
    torch.manual_seed(0)
    ours = build(AttentiveGruHParams(dim=16, layers=2, dropout=0.0, heads=4))
    x = packing.noise(2, 9, 16, dtype=torch.float32, seed=0)
    expected, weights = twin(ours, x)
    packing.assert_near(ours(x)[0], expected, 1e-5)
    state, parts = ours.init_state(2, 9), []
    for place in range(9):
        y, state = ours(x[:, place : place + 1], state)
        parts.append(y)
    packing.assert_near(torch.cat(parts, 1), expected, 1e-5)
    assert torch.allclose(weights[:, :, 0, 0], torch.ones(2, 4)), "the first token has itself alone"
    assert (weights[:, :, 1:].amax(-1) < 0.99).all(), "all others look back"


def test_the_published_shape_has_as_many_parameters_as_the_earlier_code_meant():
    manager = load_manager()
    hparams, plain = (manager.preset(name) for name in ("performance_rnn_attentive", "performance_rnn"))
    with torch.device("meta"):
        counts = [
            sum(parameter.numel() for parameter in manager.make("backbone", one.backbone).parameters())
            for one in (hparams, plain)
        ]
    assert counts[0] - counts[1] == 1_051_648, "attention and norm of 512, as nn.MultiheadAttention counts them"
    assert hparams.model.controls == ["pitch_histogram", "density_seconds"]


def test_keeps_the_laws():
    assert not broken(build, AttentiveGruHParams(dim=32, heads=4), *KEY)
