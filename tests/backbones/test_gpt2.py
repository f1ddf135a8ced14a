"""GPT-2: parity with transformers whole and step by step, counts, the limit of its positions."""

import pytest
import torch

from core.model.language_model import LanguageModel
from hparams.backbones.gpt2 import Gpt2HParams
from plugins.backbones import gpt2
from plugins.backbones.gpt2 import build
from tests import packing
from tests.backbones.judging import KEY, broken


@pytest.mark.parametrize("hidden", [0, 40])
def test_equals_transformers_with_the_same_weights(hidden):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    ours = build(Gpt2HParams(dim=24, layers=2, heads=4, hidden=hidden, positions=32, dropout=0.0))
    for parameter in ours.parameters():
        parameter.data.add_(0.2 * torch.randn(parameter.shape))
    config = transformers.GPT2Config(
        n_embd=24, n_layer=2, n_head=4, n_inner=hidden or None, n_positions=32, vocab_size=3,
        attn_implementation="eager",
    )  # fmt: skip
    theirs = transformers.GPT2Model(config).eval()
    missing = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert missing.missing_keys == ["wte.weight"] and not missing.unexpected_keys
    x = packing.noise(2, 17, 24, dtype=torch.float32, seed=0)
    with torch.no_grad():
        expected = theirs(inputs_embeds=x).last_hidden_state
        packing.assert_near(ours(x)[0], expected, 1e-5)
        state, stepped = ours.init_state(2, 17), []
        for t in range(17):
            y, state = ours(x[:, t : t + 1], state)
            stepped.append(y)
        packing.assert_near(torch.cat(stepped, 1), expected, 1e-5)


@pytest.mark.parametrize(
    ("vocabulary", "settings", "count"),
    [
        (512, {"dim": 768, "layers": 12, "heads": 12, "hidden": 1536, "positions": 1024}, 57_905_664),
        (344, {"dim": 768, "layers": 12, "heads": 12, "hidden": 1536, "positions": 1024}, 57_512_448 + 768 * 344),
    ],
)
def test_parameter_counts(vocabulary, settings, count):
    with torch.device("meta"):
        assert LanguageModel(build(Gpt2HParams(**settings)), vocabulary).parameter_count() == count


def test_the_count_of_a_block_with_the_usual_hidden_width():
    with torch.device("meta"):
        model = build(Gpt2HParams(dim=600, layers=12, heads=12, hidden=0, positions=1955))
    assert sum(parameter.numel() for parameter in model.h.parameters()) == 12 * (12 * 600**2 + 13 * 600)


def test_keeps_the_laws():
    assert not broken(build, Gpt2HParams(), *KEY)


def test_more_tokens_than_positions_are_refused_with_the_key():
    model = build(Gpt2HParams(dim=8, layers=1, heads=2, positions=4))
    assert model.positions == 4
    model(torch.zeros(1, 4, 8))
    model(torch.zeros(1, 4, 8), model.init_state(1, 4))
    for refused in (lambda: model(torch.zeros(1, 5, 8)), lambda: model.init_state(1, 5)):
        with pytest.raises(ValueError, match=r"5 tokens, but backbone.positions is 4"):
            refused()
    starts = torch.tensor([[True, False, False, True, False]])
    assert model(torch.zeros(1, 5, 8), None, starts)[0].shape == (1, 5, 8)


def test_positions_that_run_on_over_a_start_are_caught(monkeypatch):
    class RunOn(gpt2.Gpt2):
        def enter(self, x, pieces):
            return x + self.wpe(torch.arange(x.shape[1]))

    assert broken(RunOn, Gpt2HParams(), "packed equals separate")
