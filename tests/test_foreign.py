"""Starting from other people's weights: the same logits as theirs, all that does not fit told in one line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from core.checkpoint import load_weights
from core.errors import HubError
from core.model.language_model import LanguageModel
from hparams.backbones.mamba import MambaHParams
from hparams.backbones.transformer import TransformerHParams
from hparams.base import HParams, ModelHParams
from hparams.loading import load
from plugins.backbones import mamba, transformer
from plugins.manager import load_manager
from supervisors.artefacts import foreign
from supervisors.artefacts.artefact import read
from supervisors.artefacts.foreign_configs import is_foreign, read_config
from supervisors.language_model import LanguageModelSupervisor

VOCABULARY = 11
MAMBA = {"dim": 16, "layers": 2, "state": 4, "conv": 3, "expand": 3, "dt_rank": 5, "dropout": 0.0}
LLAMA = {"dim": 24, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 40, "rope_base": 500.0, "dropout": 0.0}


@pytest.fixture(autouse=True, scope="module")
def plain_path() -> Iterator[None]:
    """Arrays this small only lose by being shared out, and are not worth compiling for."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWAPTUNES_NATIVE", "0")
        yield
    torch.set_num_threads(threads)


def their_mamba(folder: Path, vocabulary: int = VOCABULARY, tie: bool = True, **saving: Any) -> Any:
    """A Mamba of transformers with weights that matter, saved in `folder`."""
    transformers = pytest.importorskip("transformers")
    config = transformers.MambaConfig(
        hidden_size=16, num_hidden_layers=2, state_size=4, conv_kernel=3, expand=3, time_step_rank=5,
        vocab_size=vocabulary, tie_word_embeddings=tie, use_mambapy=False,
    )  # fmt: skip
    return saved(transformers.MambaForCausalLM(config), folder, **saving)


def their_llama(folder: Path, vocabulary: int = VOCABULARY, tie: bool = False, kv_heads: int = 2, **saving: Any) -> Any:
    """A Llama of transformers, as above."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=kv_heads,
        intermediate_size=40, vocab_size=vocabulary, tie_word_embeddings=tie, rms_norm_eps=1e-3,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}, attn_implementation="eager",
    )  # fmt: skip
    return saved(transformers.LlamaForCausalLM(config), folder, **saving)


def saved(model: Any, folder: Path, **saving: Any) -> Any:
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    model.eval().save_pretrained(folder, **saving)
    return model


def edit(folder: Path, **changes: Any) -> None:
    """Changes config.json; None takes a key away."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def started(folder: Path, section: Any, vocabulary: int = VOCABULARY, tie: bool = True) -> LanguageModel:
    """Our model with the weights of a foreign folder."""
    torch.manual_seed(1)
    build = mamba.build if isinstance(section, MambaHParams) else transformer.build
    model = LanguageModel(build(section), vocabulary, tie=tie).eval()
    foreign.load_into(model, folder, HParams(backbone=section, model=ModelHParams(tie=tie)), load_manager())
    return model


def deviation(model: LanguageModel, theirs: Any) -> float:
    """Largest difference of logits over that of their largest."""
    ids = torch.randint(VOCABULARY, (3, 29), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = theirs(ids).logits
        return float((model(ids)[0] - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(("their_tie", "tie"), [(True, True), (True, False), (False, False)])
def test_logits_of_a_mamba_folder(tmp_path: Path, their_tie: bool, tie: bool) -> None:
    """Tied weights may be untied on the way; the way back would lose some and is refused below."""
    theirs = their_mamba(tmp_path, tie=their_tie)
    model = started(tmp_path, MambaHParams(**MAMBA), tie=tie)  # type: ignore[arg-type]
    assert deviation(model, theirs) < 1e-5
    assert torch.equal(model.head.weight, model.embedding.weight) == their_tie
    assert (model.head.weight is model.embedding.weight) == tie


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("tie", [True, False])
def test_logits_of_a_llama_folder(tmp_path: Path, tie: bool, kv_heads: int) -> None:
    theirs = their_llama(tmp_path, tie=tie, kv_heads=kv_heads, max_shard_size="5KB" if tie else "1GB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1 if tie else (tmp_path / "model.safetensors").exists()
    section = TransformerHParams(**LLAMA | {"kv_heads": kv_heads % 4, "norm_eps": 1e-3})  # type: ignore[arg-type]
    assert deviation(started(tmp_path, section, tie=tie), theirs) < 1e-5


def test_older_spellings_say_the_same(tmp_path: Path) -> None:
    """Transformers 4 wrote rope_theta and rope_scaling, and files with the angles in them."""
    theirs = their_llama(tmp_path)
    edit(tmp_path, rope_parameters=None, rope_theta=500.0, head_dim=None, mlp_bias=None)
    weights = theirs.state_dict() | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(3)}
    save_file(weights, tmp_path / "model.safetensors")
    assert deviation(started(tmp_path, TransformerHParams(**LLAMA, norm_eps=1e-3), tie=False), theirs) < 1e-5  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "told", "names"),
    [
        (
            "Mamba",
            {"hidden_size": 48, "num_hidden_layers": 2, "vocab_size": 11},
            {"state": "state_size", "conv": "conv_kernel", "expand": "expand", "dt_rank": "time_step_rank"},
        ),
        (
            "Mamba2",
            {"num_hidden_layers": 2, "vocab_size": 11},
            {"dim": "hidden_size", "state": "state_size", "head": "head_dim", "groups": "n_groups"}
            | {"conv": "conv_kernel", "expand": "expand"},
        ),
        (
            "Llama",
            {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
            | {"vocab_size": 11},
            {"kv_heads": "num_key_value_heads", "norm_eps": "rms_norm_eps"},
        ),
        (
            "GPT2",
            {},
            {"dim": "n_embd", "layers": "n_layer", "heads": "n_head", "positions": "n_positions"}
            | {"norm_eps": "layer_norm_epsilon"},
        ),
    ],
)
def test_what_a_configuration_leaves_out_is_what_its_library_takes(
    tmp_path: Path, kind: str, told: dict[str, int], names: dict[str, str]
) -> None:
    theirs = getattr(pytest.importorskip("transformers"), f"{kind}Config")(**told)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind.lower(), **told}))
    found = read_config(tmp_path)
    assert {ours: found.settings[ours] for ours in names} == {ours: getattr(theirs, key) for ours, key in names.items()}
    assert (found.tie, found.vocab_size) == (theirs.tie_word_embeddings, theirs.vocab_size)
    if kind == "Llama":
        assert found.settings["rope_base"] == theirs.rope_parameters["rope_theta"]


def test_a_headless_mamba_folder(tmp_path: Path) -> None:
    theirs = their_mamba(tmp_path)
    theirs.backbone.save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_weights(tmp_path / "model.safetensors")
    assert deviation(started(tmp_path, MambaHParams(**MAMBA)), theirs) < 1e-5  # type: ignore[arg-type]


def test_another_vocabulary_leaves_the_embeddings_fresh_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = their_mamba(tmp_path, tie=False)
    section = MambaHParams(**MAMBA)  # type: ignore[arg-type]
    model, again = started(tmp_path, section, 40), started(tmp_path, section, 40)
    said = [record.message for record in caplog.records if "embeddings and head start fresh" in record.message]
    assert len(said) == 1 and "knows 11 tokens and this run 40" in said[0]
    expected = theirs.backbone.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.backbone.state_dict().items())
    torch.manual_seed(1)
    fresh = LanguageModel(mamba.build(section), 40)
    assert torch.equal(model.embedding.weight, fresh.embedding.weight)
    assert torch.equal(again.head.weight, fresh.embedding.weight)


def mamba_ssm_weights(rows: int, tie: bool) -> dict[str, Tensor]:
    """What MambaLMHeadModel.state_dict() holds, in its names, spelled out; nothing is zero, padding included."""
    e, d, n, k, r = 48, 16, 4, 3, 5
    shapes: dict[str, tuple[int, ...]] = {"backbone.embedding.weight": (rows, d), "backbone.norm_f.weight": (d,)}
    for i in range(2):
        layer = f"backbone.layers.{i}"
        shapes |= {
            f"{layer}.norm.weight": (d,), f"{layer}.mixer.A_log": (e, n), f"{layer}.mixer.D": (e,),
            f"{layer}.mixer.in_proj.weight": (2 * e, d), f"{layer}.mixer.conv1d.weight": (e, 1, k),
            f"{layer}.mixer.conv1d.bias": (e,), f"{layer}.mixer.x_proj.weight": (r + 2 * n, e),
            f"{layer}.mixer.dt_proj.weight": (e, r), f"{layer}.mixer.dt_proj.bias": (e,),
            f"{layer}.mixer.out_proj.weight": (d, e),
        }  # fmt: skip
    generator = torch.Generator().manual_seed(3)
    weights = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    head = weights["backbone.embedding.weight"] if tie else 0.3 * torch.randn(rows, d, generator=generator)
    return {**weights, "lm_head.weight": head}


@pytest.mark.parametrize("tie", [True, False])
def test_mamba_ssm_names_load_and_save_unchanged(tie: bool) -> None:
    weights = mamba_ssm_weights(16, tie)  # 11 tokens padded to a multiple of 8
    model = LanguageModel(mamba.build(MambaHParams(**MAMBA)), VOCABULARY, tie=tie)  # type: ignore[arg-type]
    model.load_state_dict(foreign.from_mamba_ssm(weights))
    found = foreign.to_mamba_ssm(model.state_dict())
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) and found[name].dtype == torch.float32 for name in weights)
    assert (found["lm_head.weight"].data_ptr() == found["backbone.embedding.weight"].data_ptr()) == tie


def mamba_ssm_folder(folder: Path, rows: int = 16, tie: bool = True, **changes: Any) -> dict[str, Tensor]:
    config = {
        "d_model": 16, "n_layer": 2, "vocab_size": VOCABULARY, "rms_norm": True, "residual_in_fp32": True,
        "fused_add_norm": True, "tie_embeddings": tie,
        "ssm_cfg": {"d_state": 4, "d_conv": 3, "expand": 3, "dt_rank": 5},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config | changes))
    weights = mamba_ssm_weights(rows, tie)
    save_file({name: tensor.clone() for name, tensor in weights.items()}, folder / "model.safetensors")
    return weights


@pytest.mark.parametrize(("rows", "multiple"), [(16, 8), (11, 1), (32, 32)])
@pytest.mark.parametrize("tie", [True, False])
def test_a_mamba_ssm_folder_however_padded(tmp_path: Path, rows: int, multiple: int, tie: bool) -> None:
    transformers = pytest.importorskip("transformers")
    weights = mamba_ssm_folder(tmp_path, rows, tie, pad_vocab_size_multiple=multiple)
    config = transformers.MambaConfig(
        hidden_size=16, num_hidden_layers=2, state_size=4, conv_kernel=3, expand=3, time_step_rank=5, vocab_size=rows,
        tie_word_embeddings=tie, use_mambapy=False,
    )  # fmt: skip
    theirs = transformers.MambaForCausalLM(config).eval()
    theirs.load_state_dict({name.replace("embedding.", "embeddings."): value for name, value in weights.items()})
    model = started(tmp_path, MambaHParams(**MAMBA), tie=tie)  # type: ignore[arg-type]
    ids = torch.arange(VOCABULARY)[None]
    with torch.no_grad():
        expected = theirs(ids).logits[..., :VOCABULARY]
        assert (model(ids)[0] - expected).abs().max() < 1e-5 * expected.abs().max()


def refusal(folder: Path, section: Any, **settings: Any) -> str:
    with pytest.raises(HubError) as error:
        started(folder, section, **settings)
    said = str(error.value)
    assert "\n" not in said
    return said


def test_all_that_does_not_fit_is_named_in_the_words_to_give(tmp_path: Path) -> None:
    their_mamba(tmp_path, tie=False)
    said = refusal(tmp_path, MambaHParams())
    assert said.endswith(
        "give backbone.dim=16 backbone.layers=2 backbone.state=4 backbone.conv=3 backbone.expand=3 "
        "backbone.dt_rank=5 model.tie=false"
    )
    said = refusal(tmp_path, TransformerHParams())
    assert "give backbone=mamba backbone.dim=16 " in said
    their_llama(tmp_path)
    said = refusal(tmp_path, TransformerHParams(dim=24, hidden=0), tie=False)
    words = "layers=2 kv_heads=2 hidden=40 rope_base=500.0 norm_eps=0.001"
    assert said.endswith("give " + " ".join(f"backbone.{word}" for word in words.split()))
    given = said.partition("give ")[2].split()
    manager = load_manager()
    hparams = load(
        "transformer_remi",
        ["backbone.dim=24", "model.tie=false", *given],
        preset=manager.preset,
        section=manager.section,
    )
    started(tmp_path, hparams.backbone, tie=False)


def test_automatic_numbers_are_those_of_the_other_model(tmp_path: Path) -> None:
    """A rank of 0 means one for 16 of their dimensions, not of those that the run has yet."""
    mamba_ssm_folder(tmp_path, ssm_cfg={"d_state": 4, "d_conv": 3, "expand": 3})
    said = refusal(tmp_path, MambaHParams(**MAMBA | {"dim": 64, "dt_rank": 0}))  # type: ignore[arg-type]
    assert said.endswith("give backbone.dim=16")


@pytest.mark.parametrize(
    ("kind", "changes", "named"),
    [
        ("llama", {"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, ["rope_type=llama3", "factor=8.0"]),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, ["type=linear", "factor=2.0"]),
        ("llama", {"attention_bias": True, "mlp_bias": True}, ["attention_bias=True", "mlp_bias=True"]),
        ("llama", {"sliding_window": 64}, ["sliding_window=64"]),
        ("llama", {"head_dim": 8}, ["head_dim=8 (expected 6"]),
        ("llama", {"hidden_act": "gelu"}, ["hidden_act=gelu (expected silu)"]),
        ("llama", {"quantization_config": {"bits": 4}}, ["quantization_config"]),
        ("llama", {"model_type": "mistral"}, ['model_type "mistral"', '"llama"']),
        ("llama", {"num_hidden_layers": "two"}, ["num_hidden_layers=two"]),
        ("mamba", {"use_bias": True, "use_conv_bias": False}, ["use_bias=True", "use_conv_bias=False"]),
        ("mamba", {"layer_norm_epsilon": 1e-6}, ["layer_norm_epsilon=1e-06 (expected 1e-05)"]),
        ("mamba", {"hidden_size": None}, ["hidden_size=None"]),
        ("ssm", {"rms_norm": False, "attn_layer_idx": [1], "d_intermediate": 9}, ["rms_norm", "attn_layer", "d_inter"]),
        ("ssm", {"ssm_cfg": {"layer": "Mamba2", "headdim": 4}}, ["ssm_cfg.layer=Mamba2", "ssm_cfg.headdim=4"]),
    ],
)  # fmt: skip
def test_what_the_hub_has_not_is_refused_by_name(
    tmp_path: Path, kind: str, changes: dict[str, Any], named: list[str]
) -> None:
    {"llama": their_llama, "mamba": their_mamba, "ssm": mamba_ssm_folder}[kind](tmp_path)
    edit(tmp_path, **changes)
    said = refusal(tmp_path, TransformerHParams() if kind == "llama" else MambaHParams())
    assert all(name in said for name in named), said


def test_broken_folders_are_one_line(tmp_path: Path) -> None:
    theirs = their_mamba(tmp_path, max_shard_size="5KB")
    section = MambaHParams(**MAMBA)  # type: ignore[arg-type]
    index = tmp_path / "model.safetensors.index.json"
    places = json.loads(index.read_text())
    (shard := tmp_path / places["weight_map"]["backbone.norm_f.weight"]).rename(tmp_path / "away")
    assert f"there is no file {shard}" in refusal(tmp_path, section)
    (tmp_path / "away").rename(shard)
    index.write_text(json.dumps({"weight_map": places["weight_map"] | {"backbone.more": shard.name}}))
    assert "disagree on backbone.more" in refusal(tmp_path, section)
    index.write_text("[]")
    assert "is no index of weights" in refusal(tmp_path, section)
    index.unlink()
    assert "has no weights; expected model.safetensors" in refusal(tmp_path, section)
    (tmp_path / "pytorch_model.bin").touch()
    assert "has pytorch_model.bin, a pickle" in refusal(tmp_path, section)
    weights = {name: value.clone() for name, value in theirs.state_dict().items()}
    for change, named in [
        ({"backbone.layers.1.mixer.D": None}, "backbone.layers.1.mixer.D is missing"),
        ({"backbone.layers.2.mixer.D": torch.ones(48)}, "backbone.layers.2.mixer.D is unknown"),
        ({"score.weight": torch.ones(3)}, "there is a weight score.weight"),
        ({"lm_head.weight": torch.ones(11, 16)}, "lm_head.weight differs"),
        ({"backbone.embeddings.weight": torch.ones(12, 16), "lm_head.weight": None}, "12 rows"),
    ]:
        changed = {name: value for name, value in (weights | change).items() if value is not None}
        save_file(changed, tmp_path / "model.safetensors")
        assert named in refusal(tmp_path, section)


def test_a_foreign_folder_is_no_run(tmp_path: Path) -> None:
    mamba_ssm_folder(tmp_path)
    with pytest.raises(HubError, match=f"another library's checkpoint.*model.start={tmp_path}"):
        read(tmp_path, load_manager())


def supervisor(folder: Path, music: Path, *words: str) -> LanguageModelSupervisor:
    """A run of the preset `tiny` on made-up music, its data loaded."""
    manager = load_manager()
    given = ["dataset=folder", f"dataset.path={music}", "data.workers=1", "train.engine=torch", "generate.length=64"]
    hparams = load("tiny", [*given, *words], preset=manager.preset, section=manager.section)
    run = LanguageModelSupervisor(hparams, manager, folder)
    run.load_data()
    return run


def words_for(section: dict[str, Any]) -> list[str]:
    return [f"backbone.{key}={value}" for key, value in section.items()]


@pytest.mark.parametrize("kind", ["mamba", "llama"])
def test_a_run_starts_at_their_logits_and_goes_on(kind: str, tmp_path: Path, music_folder: Path) -> None:
    theirs_in, run_in = tmp_path / "theirs", tmp_path / "run"
    section = MAMBA if kind == "mamba" else LLAMA | {"norm_eps": 1e-3}
    words = [*words_for(section), f"model.start={theirs_in}", f"model.tie={kind == 'mamba'}", "train.steps=2"]
    if kind == "llama":
        words.insert(0, "backbone=transformer")
    run = supervisor(run_in, music_folder, *words, "evaluate.every=1")
    make = their_mamba if kind == "mamba" else their_llama
    theirs = make(theirs_in, run.tokenizer.vocab_size)
    run.build_model()
    assert deviation(run.model.eval(), theirs) < 1e-5
    first = run.validate()
    run.train()
    result = run.conclude()
    assert run.step == 2 and result["best"]["valid_loss"] < first["valid_loss"]
    assert sorted(run_in.glob("samples/*/*.mid"))
    for path in theirs_in.iterdir():
        path.unlink()
    theirs_in.rmdir()
    again = supervisor(run_in, music_folder, *words, "evaluate.every=1")  # where it started is needed no more
    again.build_model()
    again.restore()
    assert again.evaluate()["valid"] == result["valid"]


def test_fine_tuning_starts_at_the_loss_of_the_run_it_starts_from(tmp_path: Path, music_folder: Path) -> None:
    first = supervisor(tmp_path / "first", music_folder, "train.steps=4", "evaluate.every=4")
    first.train()
    untrained = supervisor(tmp_path / "other", music_folder, "seed=5")
    untrained.build_model()
    for start in (tmp_path / "first", tmp_path / "first" / "model"):
        run = supervisor(tmp_path / "second", music_folder, f"model.start={start}", "seed=5", "backbone.dropout=0.3")
        run.build_model()
        assert run.step == 0 and run.validate()["valid_loss"] == first.best["valid_loss"]
    assert first.best["valid_loss"] < untrained.validate()["valid_loss"] - 0.01


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["tokenizer=tsd"], "another vocabulary"),
        (["backbone.dim=64", "backbone.expand=1"], "give backbone.dim=32 backbone.expand=2"),
        (["backbone=lstm"], "give backbone=mamba backbone.dim=32 backbone.layers=2 "),
        (["model.start=nowhere"], "nowhere is not a folder"),
        (["model.start=core"], "neither a run nor an artefact"),
    ],
)
def test_a_start_that_does_not_fit_is_one_line(
    words: list[str], named: str, trained: Path, tmp_path: Path, music_folder: Path
) -> None:
    with pytest.raises(HubError) as error:
        supervisor(tmp_path, music_folder, f"model.start={trained}", *words).build_model()
    assert named in str(error.value) and "\n" not in str(error.value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, music_folder: Path) -> Path:
    """The folder of a run of one step."""
    run = supervisor(tmp_path_factory.mktemp("runs") / "old", music_folder, "train.steps=1")
    run.train()
    return run.folder.path


def test_heads_and_angles_fit_by_more_than_their_shapes(tmp_path: Path, music_folder: Path) -> None:
    """Four heads and two have weights of the same shapes; to take one for the other would be silently wrong."""
    sizes = ["backbone=transformer", *words_for(LLAMA | {"kv_heads": 0})]
    old = supervisor(tmp_path / "old", music_folder, *sizes, "train.steps=1", "model.tie=false")
    old.train()
    start = f"model.start={tmp_path / 'old'}"
    run = supervisor(tmp_path / "new", music_folder, *sizes, "backbone.heads=2", "backbone.rope_base=1e4", start)
    with pytest.raises(HubError, match=r"give backbone.heads=4 backbone.rope_base=500.0 model.tie=false$"):
        run.build_model()


# What config.json of each library holds, and what the hub makes of it, in the words of each one's documentation.
BY_HAND: list[tuple[dict[str, Any], tuple[Any, ...], dict[str, Any], dict[str, int]]] = [
    (
        {"model_type": "mamba", "hidden_size": 40, "num_hidden_layers": 3, "vocab_size": 7},
        ("mamba", 7, 7, True, "backbone.embeddings.weight"),
        {"dim": 40, "layers": 3, "state": 16, "conv": 4, "expand": 2, "dt_rank": 3},  # 40 / 16, rounded up
        {"dt_rank": 3},
    ),
    (
        {"model_type": "mamba2", "hidden_size": 96, "num_hidden_layers": 3, "vocab_size": 7, "expand": 4,
         "num_heads": 12, "head_dim": 32, "n_groups": 3, "state_size": 5, "conv_kernel": 2, "tie_word_embeddings": True,
         "time_step_limit": [0.0, {"__float__": "Infinity"}]},
        ("mamba2", 7, 7, True, "backbone.embeddings.weight"),
        {"dim": 96, "layers": 3, "state": 5, "head": 32, "groups": 3, "conv": 2, "expand": 4},
        {"head": 24},
    ),
    (
        {"model_type": "gpt2", "n_embd": 36, "n_layer": 3, "n_head": 6, "n_positions": 50, "vocab_size": 7,
         "layer_norm_epsilon": 1e-3, "tie_word_embeddings": False},
        ("gpt2", 7, 7, False, "transformer.wte.weight"),
        {"dim": 36, "layers": 3, "heads": 6, "hidden": 144, "positions": 50, "norm_eps": 1e-3},
        {"hidden": 144},
    ),
    (
        {"model_type": "gpt2", "n_embd": 36, "n_inner": 50, "vocab_size": 7},
        ("gpt2", 7, 7, True, "transformer.wte.weight"),
        {"dim": 36, "layers": 12, "heads": 12, "hidden": 50, "positions": 1024, "norm_eps": 1e-5},
        {"hidden": 144},
    ),
    (
        {"model_type": "llama", "hidden_size": 100, "num_hidden_layers": 3, "num_attention_heads": 5, "vocab_size": 7,
         "intermediate_size": 44, "rope_theta": 2500.0, "tie_word_embeddings": True},
        ("llama", 7, 7, True, "model.embed_tokens.weight"),
        {"dim": 100, "layers": 3, "heads": 5, "kv_heads": 5, "hidden": 44, "rope_base": 2500.0, "norm_eps": 1e-6},
        {"kv_heads": 5, "hidden": 272},  # 800 / 3, up to a multiple of 16
    ),
    (
        {"d_model": 40, "n_layer": 3, "vocab_size": 50277, "rms_norm": True, "tie_embeddings": False},
        ("mamba_ssm", 50277, 50280, False, "backbone.embedding.weight"),
        {"dim": 40, "layers": 3, "state": 16, "conv": 4, "expand": 2, "dt_rank": 3},
        {"dt_rank": 3},
    ),
    (
        {"d_model": 40, "n_layer": 3, "vocab_size": 33, "pad_vocab_size_multiple": 16, "fused_add_norm": True,
         "ssm_cfg": {"layer": "Mamba1", "d_state": 5, "d_conv": 3, "expand": 1, "dt_rank": 9, "dt_min": 0.001}},
        ("mamba_ssm", 33, 48, True, "backbone.embedding.weight"),
        {"dim": 40, "layers": 3, "state": 5, "conv": 3, "expand": 1, "dt_rank": 9},
        {"dt_rank": 3},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("config", "facts", "settings", "automatic"), BY_HAND, ids=range(len(BY_HAND)))
def test_configurations_by_hand(
    config: dict[str, Any],
    facts: tuple[Any, ...],
    settings: dict[str, Any],
    automatic: dict[str, int],
    tmp_path: Path,
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = read_config(tmp_path)
    assert (found.model_type, found.vocab_size, found.rows, found.tie, found.embedding) == facts
    assert (found.settings, found.automatic) == (settings, automatic)
    assert is_foreign(tmp_path)


def whole(kind: str) -> dict[str, Any]:
    """A configuration of a kind with which all is well."""
    return next(config for config, *_ in BY_HAND if config.get("model_type", "mamba_ssm") == kind)


@pytest.mark.parametrize(
    ("kind", "changes", "named"),
    [
        ("mamba", {"hidden_act": "gelu"}, "mamba has not: hidden_act=gelu (expected silu)"),
        ("mamba", {"quantization_config": {"bits": 4}}, "quantization_config={'bits': 4} (expected None)"),
        ("mamba", {"vocab_size": 0}, "vocab_size=0; expected a whole number from 1 on"),
        ("mamba", {"time_step_rank": True}, "time_step_rank=True; expected a whole number"),
        ("mamba2", {"rms_norm": False}, "rms_norm=False (expected True)"),
        ("mamba2", {"use_conv_bias": False}, "use_conv_bias=False (expected True)"),
        ("mamba2", {"layer_norm_epsilon": 1e-3}, "layer_norm_epsilon=0.001 (expected 1e-05)"),
        ("mamba2", {"head_dim": 16}, "num_heads=12 (expected 24, expand * hidden_size over head_dim)"),
        ("mamba2", {"time_step_limit": [0.0, 0.5]}, "time_step_limit=[0.0, 0.5] (expected none)"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights=False (expected True)"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention=True (expected False)"),
        ("gpt2", {"n_inner": 2.5}, "n_inner=2.5; expected a whole number"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5 (expected 1.0)"),
        ("llama", {"rope_scaling": {"type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor=0.5"),
        ("llama", {"num_attention_heads": 3}, "hidden_size=100 (expected a multiple of num_attention_heads=3)"),
        ("mamba_ssm", {"bidirectional": True}, "bidirectional=True (expected False)"),
        ("mamba_ssm", {"ssm_cfg": {"conv_bias": False, "bias": True}}, "ssm_cfg.conv_bias=False (expected True), ssm"),
    ],
)  # fmt: skip
def test_one_thing_that_the_hub_has_not_is_refused_alone(
    kind: str, changes: dict[str, Any], named: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(whole(kind) | changes))
    with pytest.raises(HubError) as error:
        read_config(tmp_path)
    assert named in str(error.value) and str(tmp_path) in str(error.value)


def test_spellings_that_say_the_same_are_taken(tmp_path: Path) -> None:
    for kind, changes in (
        ("mamba", {"hidden_act": "swish", "time_step_rank": "auto", "layer_norm_epsilon": 1e-5}),
        ("mamba2", {"time_step_limit": [0.0, float("inf")]}),
        ("gpt2", {"activation_function": "gelu_pytorch_tanh", "n_inner": None}),
        ("llama", {"rope_parameters": {"rope_theta": 2500.0, "rope_type": "default"}, "rope_theta": None}),
        ("llama", {"head_dim": 20, "num_key_value_heads": 5, "sliding_window": None}),
        ("mamba_ssm", {"ssm_cfg": None, "attn_layer_idx": [], "d_intermediate": 0}),
    ):  # fmt: skip
        (tmp_path / "config.json").write_text(json.dumps(whole(kind)))
        before = read_config(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps(whole(kind) | changes))
        assert read_config(tmp_path) == before
    for text in ('{"model_type": "x", "hparams": {}}', "[]", '{"format": 1}', "{"):
        (tmp_path / "config.json").write_text(text)
        assert not is_foreign(tmp_path)
    assert not is_foreign(tmp_path / "nowhere")
