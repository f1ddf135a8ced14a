"""The GRU: parity with torch's, and the laws."""

import torch

from hparams.backbones.gru import GruHParams
from plugins.backbones.gru import build
from tests import packing
from tests.backbones.judging import KEY, broken


def test_equals_torch_with_the_same_weights():
    torch.manual_seed(0)
    ours = build(GruHParams(dim=12, layers=3, dropout=0.0))
    theirs = torch.nn.GRU(12, 12, num_layers=3, batch_first=True)
    theirs.load_state_dict(
        {name.replace("_l0", f"_l{i}"): w for i in range(3) for name, w in ours.layers[i].state_dict().items()}
    )
    x = packing.noise(2, 9, 12, dtype=torch.float32, seed=0)
    found, state = ours(x, ours.init_state(2, 9))
    expected, h = theirs(x)
    packing.assert_near(found, expected, 1e-6)
    packing.assert_near(torch.stack([state[f"h.{i}"] for i in range(3)]), h, 1e-6)


def test_keeps_the_laws():
    assert not broken(build, GruHParams(), *KEY)
