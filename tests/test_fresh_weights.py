"""What a new model is drawn from: the spread of each table and map, and the seed that a run draws with."""

import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from core.model.conditioning import Conditioning
from core.model.language_model import LanguageModel
from hparams.backbones.lstm import LstmHParams
from hparams.base import HParams
from plugins.manager import load_manager
from supervisors.music_vae.model import MusicVae
from supervisors.training import token_supervisor
from tests.test_model import Memory
from tests.twin.hub import Store, Tokenizer


def spread(weight: torch.Tensor) -> float:
    """The root mean square."""
    return float(weight.detach().square().mean().sqrt())


def near(value: float) -> Any:
    return pytest.approx(value, rel=0.06)


def loud() -> Memory:
    """A backbone that wants its tokens louder than is usual."""
    backbone = Memory(64)
    backbone.embedding_std = 0.5  # type: ignore[assignment]
    return backbone


@pytest.mark.parametrize(("backbone", "std"), [(Memory(64), 0.02), (loud(), 0.5)])
def test_tables_are_drawn_as_loud_as_the_backbone_wants_and_heads_are_quiet(backbone: Memory, std: float) -> None:
    torch.manual_seed(1)
    untied = LanguageModel(backbone, (61, 100), tie=False, controls=(40, 40))
    link = untied.chain[0]
    assert spread(untied.embedding.weight[:61]) == near(std) == spread(link.embedding.weight[:100])
    assert spread(untied.head.weight[:61]) == near(0.02) == spread(link.head.weight[:100])
    assert (len(untied.head.weight), len(link.head.weight)) == (64, 104)
    assert not untied.head.weight[61:].any() and not link.embedding.weight[100:].any()
    assert not torch.equal(untied.head.weight, untied.embedding.weight)
    maps: Any = untied.conditioning
    assert [spread(one.weight) for one in maps.maps] == [near(std)] * 2
    assert not any(null.any() for null in maps.nulls)
    tied = LanguageModel(backbone, (61, 100))
    assert tied.head.weight is tied.embedding.weight and tied.chain[0].head.weight is tied.chain[0].embedding.weight
    assert spread(tied.embedding.weight[:61]) == near(0.02 if std == 0.02 else 0.5)
    assert spread(Conditioning(64, (80,), 0.25).maps[0].weight) == near(0.25)  # type: ignore[arg-type]


@pytest.mark.parametrize("hierarchical", [False, True])
def test_a_new_encoder_tells_windows_apart_with_little_noise(hierarchical: bool) -> None:
    torch.manual_seed(1)
    made = MusicVae(
        (loud(), Memory(64)), loud(), Memory(48) if hierarchical else None, vocabulary=60, bos_id=58, bars=16,
        bar_tokens=4, latent=40, tie=False,
    )  # fmt: skip
    bound = 4 * math.sqrt(6 / (128 + 40))  # Glorot and Bengio, of 128 numbers in and 40 out, with a gain of 4
    means = made.encoder.mean.weight.detach()
    assert 0.97 * bound < means.abs().max() <= bound and spread(means) == near(bound / math.sqrt(3))
    assert not made.encoder.mean.bias.any() and (made.encoder.scale.bias == -2).all()
    assert spread(made.encoder.scale.weight) == near(0.02)
    assert spread(made.encoder.embedding.weight) == near(0.5) == spread(made.decoder.embedding.weight[:60])
    ids = torch.randint(0, 58, (8, 64))
    _, scale = made.encoder(ids, torch.full((8,), 64))
    assert float(scale.detach().mean()) == pytest.approx(math.log1p(math.exp(-2)), abs=0.03)
    assert spread(made.encoder.gathered.patterns.weight) == near(1.0)
    dealt = [(made.dealt, 0.5, 48 if hierarchical else 40)]
    if hierarchical:
        conductor: Any = made.conductor
        dealt.append((conductor.dealt, 0.02, 40))
    for part, std, inputs in dealt:
        assert spread(part.patterns.weight) == near(1.0)
        assert spread(part(torch.randn(200, 1, inputs))) == pytest.approx(2.5 * std, rel=0.1)


class Drawn(token_supervisor.TokenSupervisor):
    """A run whose model is one table, drawn from torch's generator."""

    def make_model(self, hparams: HParams) -> nn.Module:
        model = nn.Module()
        model.table = nn.Parameter(torch.rand(5))
        return model

    def objective(self, model: Any) -> nn.Module:
        return nn.ModuleDict({"model": model})


def test_weights_are_drawn_with_the_seed_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed of `blake2b(seed, "weights")`, its first eight bytes without the sign, whatever was drawn before."""
    monkeypatch.setattr(token_supervisor, "build_engine", lambda module, groups, hparams, ranks: module)
    for seed in (0, 7):
        hparams = HParams(name="drawn", backbone=LstmHParams(), seed=seed)
        hparams.train.steps = 1
        run: Any = Drawn(hparams, load_manager(), tmp_path / str(seed))
        run.store, run.tokenizer = Store(), Tokenizer()
        torch.rand(seed + 3)
        run.build_model()
        digest = hashlib.blake2b(f"{seed}\x1fweights".encode(), digest_size=8).digest()
        torch.manual_seed(int.from_bytes(digest, "little") >> 1)
        assert torch.equal(run.model.table, torch.rand(5))


@pytest.mark.parametrize(("name", "gates"), [("lstm", 4), ("gru", 3)])
def test_recurrent_maps_begin_orthogonal_and_tokens_loud(name: str, gates: int) -> None:
    torch.manual_seed(1)
    entry = load_manager().backbones[name]
    assert entry.build is not None and entry.hparams is not None
    model = LanguageModel(entry.build(entry.hparams(dim=64, layers=2)), 61)
    assert spread(model.embedding.weight[:61]) == near(0.2)
    for layer in model.backbone.layers:
        for gate in layer.weight_hh_l0.detach().chunk(gates):
            torch.testing.assert_close(gate @ gate.T, torch.eye(64), rtol=0, atol=1e-5)
        for gate in layer.weight_ih_l0.detach().chunk(gates):
            bound = math.sqrt(6 / (64 + 64))  # Glorot and Bengio 2010
            assert 0.97 * bound < gate.abs().max() <= bound and spread(gate) == near(bound / math.sqrt(3))
        assert not layer.bias_hh_l0.any()


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("gated_deltanet", ("o_proj", "down_proj")),
        ("transformer", ("o_proj", "down_proj")),
        ("gpt2", ("c_proj",)),
    ],
)
def test_what_is_added_to_the_stream_begins_quieter_the_deeper_the_model(name: str, ends: tuple[str, ...]) -> None:
    torch.manual_seed(1)
    entry = load_manager().backbones[name]
    assert entry.build is not None and entry.hparams is not None
    model = entry.build(entry.hparams(dim=128, layers=8))
    found = [
        spread(value) for key, value in model.named_parameters() if key.endswith(tuple(f"{e}.weight" for e in ends))
    ]
    assert len(found) == 16 and found == [near(0.02 / math.sqrt(16))] * 16  # GPT-2: by the root of the residual layers
