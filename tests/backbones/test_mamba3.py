"""Mamba-3 against the literal recurrence, SISO with both activations and MIMO; counts; planted faults."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hparams.backbones.mamba3 import Mamba3HParams
from plugins.backbones import mamba3
from plugins.backbones.mamba3 import Mixer, build
from plugins.backbones.parts.recurrences import trapezoid
from plugins.backbones.stack import Pieces
from tests import packing
from tests.backbones.judging import broken

KINDS = [
    {"rank": 1, "a_activation": "softplus"},
    {"rank": 1, "a_activation": "heavy_tail", "rope_fraction": "whole", "groups": 2},
    {"rank": 3},
    {"rank": 2, "rope_fraction": "whole", "a_activation": "heavy_tail"},
]


def literal(mixer, hparams, x):
    """One layer, step by step for one row, from the equations and the names of its weights alone."""
    w = mixer.state_dict()
    e, n, p, rank, groups = 2 * hparams.dim, hparams.state, hparams.head, hparams.rank, hparams.groups
    heads, angles = e // p, n // 4 if hparams.rope_fraction == "half" else n // 2
    ways = rank * groups * n
    h = torch.zeros(heads, p, n, dtype=x.dtype)
    theta = torch.zeros(heads, angles, dtype=x.dtype)
    k_last = torch.zeros(rank, heads, n, dtype=x.dtype)
    v_last = torch.zeros(rank, heads, p, dtype=x.dtype)
    one = torch.ones(heads, rank, p, dtype=x.dtype)
    outputs = []
    for t in range(len(x)):
        z, u, B, C, dd_dt, dd_A, trap, angle = (w["in_proj.weight"] @ x[t]).split(
            [e, e, ways, ways, heads, heads, heads, angles]
        )
        dt = F.softplus(dd_dt + w["dt_bias"])
        if hparams.a_activation == "softplus":
            rate = F.softplus(dd_A)
        else:
            rate = torch.stack([1 + a if a >= 0 else 1 / (1 - a) for a in dd_A])
        alpha = torch.exp(-rate.clamp(min=1e-4) * dt)
        lam = torch.sigmoid(trap)
        theta = theta + torch.tanh(angle) * math.pi * dt[:, None]

        def rotated(raw, norm, bias, theta=theta):
            raw = raw.view(rank, groups, n)
            raw = raw / (raw.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w[norm]
            out = torch.zeros(rank, heads, n, dtype=x.dtype)
            for r in range(rank):
                for head in range(heads):
                    vector = raw[r, head * groups // heads] + w[bias][head, r]
                    turned = vector.clone()
                    for i in range(angles):
                        one, two = (2 * i, 2 * i + 1) if rank == 1 else (i, i + n // 2)
                        c, s = torch.cos(theta[head, i]), torch.sin(theta[head, i])
                        turned[one] = vector[one] * c - vector[two] * s
                        turned[two] = vector[one] * s + vector[two] * c
                    out[r, head] = turned
            return out

        k, q = rotated(B, "B_norm.weight", "B_bias"), rotated(C, "C_norm.weight", "C_bias")
        u, z = u.view(heads, p), z.view(heads, p)
        mimo_x, mimo_z, mimo_o = (w.get(f"mimo_{letter}", one) for letter in "xzo")
        v = torch.stack([u * mimo_x[:, r] for r in range(rank)])
        h = alpha[:, None, None] * h
        for r in range(rank):
            h = h + ((1 - lam) * dt * alpha)[:, None, None] * v_last[r, :, :, None] * k_last[r, :, None]
            h = h + (lam * dt)[:, None, None] * v[r, :, :, None] * k[r, :, None]
        out = torch.zeros(heads, p, dtype=x.dtype)
        for r in range(rank):
            y = (h * q[r, :, None]).sum(-1) + w["D"][:, None] * v[r]
            out = out + y * F.silu(z * mimo_z[:, r]) * mimo_o[:, r]
        outputs.append(w["out_proj.weight"] @ out.flatten())
        k_last, v_last = k, v
    return torch.stack(outputs)


def made(kind, dim=8):
    torch.manual_seed(0)
    hparams = Mamba3HParams(dim=dim, state=8, head=4, **kind)
    mixer = Mixer(hparams).double()
    for parameter in mixer.parameters():
        parameter.data.add_(0.3 * torch.randn(parameter.shape))
    return mixer, hparams


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_literal_recurrence(kind):
    mixer, hparams = made(kind)
    x = packing.noise(2, 70, 8, dtype=torch.float64, seed=0)  # more than a chunk
    starts = torch.zeros(2, 70, dtype=torch.bool)
    starts[1, 30] = True
    with torch.no_grad():
        found, _ = mixer(x, None, Pieces(x, None, starts))
        expected = torch.stack(
            [
                literal(mixer, hparams, x[0]),
                torch.cat([literal(mixer, hparams, x[1, :30]), literal(mixer, hparams, x[1, 30:])]),
            ]
        )
    packing.assert_near(found, expected, 1e-10)


@pytest.mark.parametrize(
    ("dim", "state", "rank", "count"),
    [
        (64, 64, 1, 34_564), (128, 64, 1, 118_920), (128, 128, 1, 137_992), (256, 64, 1, 437_392),
        (512, 128, 1, 1_749_280), (768, 128, 1, 3_821_872), (128, 128, 4, 242_440), (256, 128, 4, 684_304),
        (512, 128, 4, 2_167_072),
    ],
)  # fmt: skip
def test_parameter_counts(dim, state, rank, count):
    with torch.device("meta"):
        mixer = Mixer(Mamba3HParams(dim=dim, state=state, rank=rank, head=64))
    assert sum(parameter.numel() for parameter in mixer.parameters()) == count


def test_the_names_and_shapes_are_the_published_ones():
    names = {"dt_bias", "B_bias", "C_bias", "D", "in_proj.weight", "B_norm.weight", "C_norm.weight", "out_proj.weight"}
    weights = Mixer(Mamba3HParams(dim=32, head=8, state=16)).state_dict()
    assert weights.keys() == names
    assert weights["B_bias"].shape == weights["C_bias"].shape == (8, 1, 16)


def test_an_angle_that_does_not_accumulate_is_caught(monkeypatch):
    def forgetful(self, angle, dt, before):
        turn = torch.tanh(angle)[:, :, None] * math.pi * dt[..., None]
        return turn, turn[:, -1]

    monkeypatch.setattr(Mixer, "_turn", forgetful)
    with pytest.raises(AssertionError):
        test_equals_the_literal_recurrence(KINDS[0])


def test_an_angle_that_is_not_carried_into_steps_is_caught(monkeypatch):
    right = Mixer._turn
    monkeypatch.setattr(Mixer, "_turn", lambda self, angle, dt, before: right(self, angle, dt, None))
    assert broken(build, Mamba3HParams(state=8, head=8), "chunks equal whole")


def test_a_last_input_that_outlives_its_piece_is_caught(monkeypatch):
    def scan(q, k, v, logs, now, late, before, starts):
        return trapezoid.scan(q, k, v, logs, now, late + 0.1 * (starts is not None), before, starts)

    class Faulty:
        step = staticmethod(trapezoid.step)

    Faulty.scan = staticmethod(scan)
    monkeypatch.setattr(mamba3, "trapezoid", Faulty)
    assert broken(build, Mamba3HParams(state=8, head=8), "packed equals separate")


def test_the_least_rate_and_the_angle_after_many_steps():
    mixers = [made(kind)[0] for kind in KINDS[:2]]
    for mixer in mixers:
        assert float(mixer._rate(torch.tensor([-1e6]))) == pytest.approx(1e-4)
    heads, angles = mixers[0].heads, mixers[0].angles
    angle = packing.noise(1, 3000, angles, dtype=torch.float32, seed=1) + 1
    dt = 0.4 + 0.1 * packing.noise(1, 3000, heads, dtype=torch.float32, seed=2)
    found, last = mixers[0]._turn(angle, dt, None)
    turned = (np.tanh(angle.double().numpy())[:, :, None] * np.pi * dt.double().numpy()[..., None]).cumsum(1)
    assert found.dtype == torch.float32 and float(found.min()) >= 0 and float(found.max()) <= 2 * math.pi + 1e-6
    off = np.angle(np.exp(1j * (found.double().numpy() - turned)))
    assert turned.max() > 1000 and abs(off).max() < 1e-4
    assert torch.equal(last, found[:, -1])


@torch.no_grad()
def test_weights_set_by_hand_track_parity_over_any_length() -> None:
    """A one comes in as 1 and turns all that came before by pi: 1 - 1 + 1 ... is 1 after an odd number of ones.

    So what a trained model cannot hold over long rows is for training to find, not for the recurrence.
    """
    hparams = Mamba3HParams(dim=8, layers=1, head=16, state=8)
    mixer = Mixer(hparams).double()
    for parameter in mixer.parameters():
        parameter.zero_()
    z, u, _, _, _, rate, trap, angle = mixer.in_proj.weight.split(mixer.widths)  # rows that read the bits' one-hot
    z[:, :2], rate[:, :2], trap[:, :2] = 1.0, -40.0, 40.0  # an open gate, the slowest decay, this step's input alone
    u[0, 1], angle[:, 1] = 1.0, 40.0
    mixer.dt_bias.fill_(math.log(math.e - 1))  # a step of 1
    mixer.B_bias[..., :4], mixer.C_bias[..., :4] = 1.0, 1.0  # what turns, and nothing else
    mixer.out_proj.weight[0, 0] = 1.0
    bits = torch.randint(2, (1, 2000), generator=torch.Generator().manual_seed(0))
    x = F.one_hot(bits, 8).double()

    def right() -> float:
        told = mixer(x, None, Pieces(x, None, None))[0][0, :, 0]
        return float(((told > told.max() / 2) == (bits[0].cumsum(0) % 2 == 1)).double().mean())

    assert right() == 1.0
    angle.zero_()  # no turn, no parity
    assert right() < 0.6
