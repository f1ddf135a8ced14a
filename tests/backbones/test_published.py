"""Presets in published shapes: parameter counts, and Folk-RNN as its authors drew it, with one-hot input."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from core.model.language_model import LanguageModel
from hparams.presets.published import folk_rnn
from plugins.manager import load_manager

TOKENS = 137


class OneHot(nn.Module):
    """Three LSTM layers of 512 over one-hot tokens, dropout left out, and a linear map (arXiv 1604.08723)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(TOKENS, 512, num_layers=3, batch_first=True)
        self.out = nn.Linear(512, TOKENS)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """ids (b l) -> logits (b l v)."""
        y: torch.Tensor = self.out(self.lstm(F.one_hot(ids, TOKENS).to(self.out.weight.dtype))[0])
        return y


def test_folk_rnn_is_the_one_hot_model_with_its_embedding_folded() -> None:
    torch.manual_seed(0)
    hparams = folk_rnn()
    build = load_manager().backbones["lstm"].build
    assert build is not None
    ours = LanguageModel(build(hparams.backbone), TOKENS, tie=hparams.model.tie).double().eval()
    theirs = OneHot().double()
    assert sum(parameter.numel() for parameter in theirs.parameters()) == 5_606_025
    weights = {
        name.replace("_l0", f"_l{i}"): weight
        for i, layer in enumerate(ours.backbone.layers)
        for name, weight in layer.state_dict().items()
    }
    weights["weight_ih_l0"] = weights["weight_ih_l0"] @ ours.embedding.weight[:TOKENS].detach().t()
    theirs.lstm.load_state_dict(weights)
    with torch.no_grad():
        theirs.out.weight.copy_(ours.head.weight[:TOKENS])
        theirs.out.bias.zero_()
        ids = torch.randint(0, TOKENS, (2, 40))
        torch.testing.assert_close(ours(ids)[0], theirs(ids), rtol=1e-9, atol=1e-12)


def test_forget_gates_begin_as_open_as_the_authors_have_them() -> None:
    hparams = folk_rnn().backbone
    build = load_manager().backbones["lstm"].build
    assert build is not None
    for layer in build(hparams).layers:
        assert (layer.bias_ih_l0[512:1024] + layer.bias_hh_l0[512:1024] == 5).all()


@pytest.mark.parametrize(
    ("name", "vocabulary", "count"),
    [
        ("llama_remi", 512, 202_400_768),
        ("gpt2_remi", 512, 57_905_664),
        ("music_transformer_remi", 512, 58_299_392 - 512),  # our head has no bias
        ("gpt2_abc", 136, 4 * (12 * 256**2 + 13 * 256) + 1955 * 256 + 2 * 256 + 2 * 136 * 256),
    ],
)
def test_parameter_counts(name: str, vocabulary: int, count: int) -> None:
    manager = load_manager()
    hparams = manager.preset(name)
    build = manager.backbones[hparams.backbone.name].build
    assert build is not None
    with torch.device("meta"):
        model = LanguageModel(build(hparams.backbone), vocabulary, tie=hparams.model.tie)
    assert model.parameter_count() == count
