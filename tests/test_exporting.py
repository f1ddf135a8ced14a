"""Folders of transformers: what is read from them and what is written to them computes the same logits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import HubError
from core.model.language_model import LanguageModel
from hparams.backbones.gpt2 import Gpt2HParams
from hparams.backbones.gru import GruHParams
from hparams.backbones.mamba import MambaHParams
from hparams.backbones.mamba2 import Mamba2HParams
from hparams.backbones.transformer import TransformerHParams
from hparams.base import HParams, ModelHParams
from plugins.manager import load_manager
from supervisors.artefacts import exporting, foreign
from supervisors.artefacts.exporting import export
from tests.test_foreign import deviation, edit, saved

SECTIONS = [
    MambaHParams(dim=16, layers=2, state=4),
    Mamba2HParams(dim=16, layers=2, state=8, head=8, groups=2),
    TransformerHParams(dim=24, layers=2, heads=4, kv_heads=2, hidden=0, rope_base=500.0),
    Gpt2HParams(dim=24, layers=2, heads=4, hidden=0, positions=32),
]


@pytest.fixture(autouse=True, scope="module")
def plain_path() -> Iterator[None]:
    """Arrays this small only lose by being shared out, and are not worth compiling for."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWAPTUNES_NATIVE", "0")
        yield
    torch.set_num_threads(threads)


def ours(section: Any, tie: bool = True) -> LanguageModel:
    torch.manual_seed(0)
    build = load_manager().backbones[section.name].build
    assert build is not None
    model = LanguageModel(build(section), 11, tie=tie).eval()
    for parameter in model.backbone.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
@pytest.mark.parametrize("tie", [True, False])
def test_an_exported_folder_is_the_model_and_comes_back(section: Any, tie: bool, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model = ours(section, tie)
    assert export(model, section, tmp_path / "out") < 1e-5
    again = LanguageModel(load_manager().backbones[section.name].build(section), 16, tie=tie).eval()  # type: ignore[misc]
    foreign.load_into(again, tmp_path / "out", HParams(backbone=section, model=ModelHParams(tie=tie)), load_manager())
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name


def test_a_folder_that_computes_something_else_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    right = exporting._CONFIGS["transformer"]
    monkeypatch.setitem(exporting._CONFIGS, "transformer", lambda section: right(section) | {"rms_norm_eps": 0.5})
    with pytest.raises(HubError, match="computes other logits"):
        export(ours(SECTIONS[2]), SECTIONS[2], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_backbone_that_transformers_has_not_is_refused(tmp_path: Path) -> None:
    section = GruHParams(dim=8, layers=1)
    with pytest.raises(HubError, match='no model like backbone "gru"; expected one of mamba, mamba2'):
        export(ours(section), section, tmp_path / "out")


def their_mamba2(folder: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.Mamba2Config(
        hidden_size=16, num_hidden_layers=2, state_size=8, head_dim=8, num_heads=4, n_groups=1, vocab_size=11,
        chunk_size=16, tie_word_embeddings=False,
    )  # fmt: skip
    return saved(transformers.Mamba2ForCausalLM(config), folder)


def their_gpt2(folder: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_embd=24, n_layer=2, n_head=4, n_positions=32, vocab_size=11)
    return saved(transformers.GPT2LMHeadModel(config), folder)


@pytest.mark.parametrize(
    ("make", "section", "tie"),
    [
        (their_mamba2, Mamba2HParams(dim=16, layers=2, state=8, head=8, dropout=0.0), False),
        (their_gpt2, Gpt2HParams(dim=24, layers=2, heads=4, hidden=0, positions=32, dropout=0.0), True),
    ],
)
def test_logits_of_their_folders(make: Any, section: Any, tie: bool, tmp_path: Path) -> None:
    theirs = make(tmp_path)
    build = load_manager().backbones[section.name].build
    assert build is not None
    model = LanguageModel(build(section), 11, tie=tie).eval()
    foreign.load_into(model, tmp_path, HParams(backbone=section, model=ModelHParams(tie=tie)), load_manager())
    assert deviation(model, theirs) < 1e-5


@pytest.mark.parametrize(
    ("make", "change", "message"),
    [
        (their_gpt2, {"activation_function": "relu"}, "activation_function=relu"),
        (their_gpt2, {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True"),
        (their_mamba2, {"time_step_limit": [0.01, 0.1]}, "time_step_limit"),
        (their_mamba2, {"use_bias": True}, "use_bias=True"),
        (their_mamba2, {"num_heads": 5}, "num_heads=5"),
    ],
)
def test_features_that_we_lack_are_refused_by_name(make: Any, change: dict, message: str, tmp_path: Path) -> None:
    make(tmp_path)
    edit(tmp_path, **change)
    with pytest.raises(HubError, match=message):
        foreign.read_config(tmp_path)
