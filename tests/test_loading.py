"""Hyper-parameters: precedence, replay from the dump, and one clear line for every wrong word."""

import time
from pathlib import Path
from typing import Any

import pytest

from core.errors import HubError
from hparams.base import HParams
from hparams.deepspeed_keys import check
from hparams.loading import changed, dump, load
from plugins.manager import load_manager

GRID = [
    f"{backbone}_{tokenizer}" for backbone in ("mamba", "transformer", "lstm") for tokenizer in ("remi", "tsd", "abc")
]


def read(source: str, *words: str) -> HParams:
    manager = load_manager()
    return load(source, words, preset=manager.preset, section=manager.section)


@pytest.mark.parametrize("name", [*GRID, *load_manager().presets])
def test_every_preset_loads_and_its_dump_says_the_same(name: str, tmp_path: Path) -> None:
    hparams = read(name)
    assert hparams.name == name
    path = tmp_path / "hparams.yaml"
    path.write_text(dump(hparams))
    again = read(str(path), f"name={name}")
    assert changed(hparams, again) == []
    assert dump(again) == dump(hparams)


def test_words_win_over_the_preset_and_a_swap_brings_the_new_plugins_defaults() -> None:
    hparams = read(
        "mamba_remi", "backbone=lstm", "backbone.layers=5", "train.lr=1e-3", "data.augment.transpose=2", "seed=7"
    )
    assert hparams.backbone.name == "lstm" and hparams.backbone.layers == 5
    assert hparams.backbone.dim == read("lstm_remi").backbone.dim
    assert hparams.train.lr == 1e-3 and hparams.data.augment.transpose == 2 and hparams.seed == 7


def test_a_replay_stands_beside_the_run(tmp_path: Path) -> None:
    path = tmp_path / "hparams.yaml"
    path.write_text(dump(read("tiny")))
    assert read(str(path)).name == "tiny-2"


def test_a_dump_is_safe_yaml_without_python_tags() -> None:
    assert "!!python" not in dump(read("mamba_abc", "model.start=somewhere"))


def test_changed_names_dotted_keys_and_swapped_sections() -> None:
    old, new = read("mamba_remi"), read("mamba_remi", "backbone=lstm", "train.lr=0.5", "data.augment.transpose=1")
    assert changed(old, new) == ["backbone", "data.augment.transpose", "train.lr"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["backbone.layer=3"], 'no key "backbone.layer". Did you mean "backbone.layers"?'),
        (["trian.lr=3"], 'no key "trian.lr". Did you mean "train.lr"?'),
        (["train.lr=fast"], "train.lr is 'fast'; expected a number, e.g. 0."),
        (["generate.temperature=hot"], "generate.temperature is 'hot'; expected a number, e.g. 1.0"),
        (["generate.count=2.5"], "generate.count is 2.5; expected a whole number, e.g. 4"),
        (["model.tie=maybe"], "model.tie is 'maybe'; expected true or false"),
        (["train.betas=[a,b]"], "train.betas is ['a', 'b']; expected a list, e.g. [0.9,0.95]"),
        (["generate.formats=mid"], "generate.formats is 'mid'; expected a list, e.g. [png]"),
        (["generate.controls=key"], "generate.controls is 'key'; expected keys of its own"),
        (["tokenizer.use_tempos=3"], "tokenizer.use_tempos is 3; expected true, false or auto"),
        (["tokenizer.beat_res=3"], "tokenizer.beat_res is 3; expected keys of its own: {0_4: 12, 4_12: 4}"),
        (["tokenizer.beat_res={0_4: x}"], "tokenizer.beat_res.0_4 is 'x'; expected a whole number, e.g. 12"),
        (["tokenizer.time_signature_range={4: [x]}"], "range.4 is ['x']; expected a list, e.g. [1,2,3,4,5,6,7,8]"),
        (["deepspeed=3"], "deepspeed is 3; it has keys of its own"),
        (["train.lr=-1"], "train.lr is -1"),
        (["seed"], "not of the form key=value"),
        (["seed="], "seed"),
        (["train=3"], "train is 3; it has keys of its own"),
        (["backbone=mambo"], 'Did you mean "mamba"?'),
        (["backbone=3"], "expected the name of a backbone plugin"),
        (["data.batch_size=6", "train.accumulate=4"], "data.batch_size is 6; expected a multiple of train.accumulate"),
        (["deepspeed.zero_optimisation.stage=1"], 'Did you mean "zero_optimization"?'),
        (["deepspeed.train_batch_size=7"], "set data.batch_size instead"),
        (["deepspeed.csv_monitor.output_path=/tmp"], "deepspeed.csv_monitor writes outside of the run's folder"),
        (["deepspeed.flops_profiler.output_file=x"], "deepspeed.flops_profiler.output_file writes outside"),
        (["train.precision=fp8"], "train.precision is 'fp8'; expected auto, fp32 or bf16"),
        (["backbone.dim=1.5"], "backbone.dim is 1.5; expected a whole number, e.g. 256"),
        (["seed=1", "seed.x=2"], "seed"),
        (["name=${oc.env:HOME}"], "name is '${oc.env:HOME}'; expected a plain value"),
        (["deepspeed.optimizer.type=[a, '${seed}']"], "deepspeed.optimizer.type is '${seed}'"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], expected: str) -> None:
    with pytest.raises(HubError) as caught:
        read("mamba_remi", *words)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mapping_is_set_as_a_whole_and_its_keys_are_words(tmp_path: Path) -> None:
    """YAML 1.1 takes 0_4 for 4, and `{0_8: 4}` beside the default's 0_4 would be stretches that overlap."""
    hparams = read("mamba_remi", "tokenizer.beat_res={0_4: 12, 4_32: 4}", "tokenizer.time_signature_range={4: [3, 4]}")
    assert hparams.tokenizer.beat_res == {"0_4": 12, "4_32": 4}
    assert hparams.tokenizer.time_signature_range == {"4": [3, 4]}
    path = tmp_path / "hparams.yaml"
    path.write_text(dump(hparams))
    again = read(str(path), "tokenizer.beat_res.4_32=2", "deepspeed.zero_optimization.stage=1")
    assert again.tokenizer.beat_res == {"0_4": 12, "4_32": 2}, "behind a dot one value is set, and the others stay"
    assert again.tokenizer.time_signature_range == {"4": [3, 4]} and hparams.tokenizer.beat_res["4_32"] == 4
    path.write_text(dump(again))
    last = read(str(path), "deepspeed.zero_optimization.overlap_comm=true")
    assert last.deepspeed == {"zero_optimization": {"stage": 1, "overlap_comm": True}}


# What the hub fills itself, and the keys to set instead; what writes outside of a run's folder.
OWNED = {
    "train_batch_size": "data.batch_size", "train_micro_batch_size_per_gpu": "data.batch_size",
    "gradient_accumulation_steps": "train.accumulate", "gradient_clipping": "train.clip",
    "torch_autocast.enabled": "train.precision", "fp16.enabled": "train.precision", "amp.enabled": "train.precision",
    "scheduler.type": "train.lr, train.warmup and train.lr_floor", "optimizer.params.lr": "train.lr",
    "optimizer.params.weight_decay": "train.weight_decay",
}  # fmt: skip
ELSEWHERE = ("csv_monitor.a", "flops_profiler.output_file", "monitor_config.a", "tensorboard.a", "wandb.a")


def test_deepspeed_gets_nothing_that_the_hub_fills_and_nothing_that_leaves_the_run() -> None:
    def refusal(key: str) -> str:
        tree: Any = 1
        for part in reversed(key.split(".")):
            tree = {part: tree}
        with pytest.raises(HubError) as caught:
            check(tree)
        return str(caught.value)

    for key, own in OWNED.items():
        assert refusal(key).endswith(f" is filled by the hub; set {own} instead")
    for key in ELSEWHERE:
        assert "writes outside of the run's folder" in refusal(key)
    check({"optimizer": {"type": "Lion", "params": {"betas": [0.9, 0.99]}}, "flops_profiler": {"enabled": True}})


def test_what_is_new_in_a_free_mapping_is_a_change() -> None:
    old, new = read("tiny"), read("tiny", "deepspeed.zero_optimization.stage=1", "train.lr=1E-3")
    eps = read("tiny", "deepspeed.optimizer.params.eps=1E-8", "deepspeed.optimizer.type=e-x").deepspeed["optimizer"]
    assert new.train.lr == 0.001 and eps == {"params": {"eps": 1e-8}, "type": "e-x"}, "where no field says the kind"
    assert changed(old, new) == changed(new, old) == ["deepspeed.zero_optimization", "train.lr"]
    assert read("tiny", f"deepspeed.optimizer={'[' * 32}{']' * 32}"), "as deep as may be"


def test_deepspeed_keys_are_free_below_the_top() -> None:
    assert read("tiny", "deepspeed.zero_optimization.stage=1").deepspeed == {"zero_optimization": {"stage": 1}}


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
LOOP = "deepspeed: &a {optimizer: *a}\n"
DEEP = "[" * 2_000
HUGE = f"seed: {'9' * 5000}\n"


@pytest.mark.parametrize(
    "text", ["[1, 2]", "backbone: {dim: 3}", "a: b: c", "backbone: {name: mamba}", BOMB, LOOP, DEEP, HUGE]
)
def test_files_that_are_no_hyper_parameters(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(HubError, match=r"bad\.yaml"):
        read(str(path))


def test_unknown_presets_name_the_nearest() -> None:
    with pytest.raises(HubError, match='Did you mean "mamba_remi"'):
        read("mamba_rimi")
    with pytest.raises(HubError, match="does not exist"):
        read("nowhere.yaml")


def test_a_string_is_taken_as_it_is_typed() -> None:
    words = ["dataset=folder", "dataset.path=x/Songs #2", "generate.prompt=Bach: Air.abc", "name=1e3"]
    told = read("mamba_remi", *words)
    assert (told.dataset.path, told.generate.prompt, told.name) == ("x/Songs #2", "Bach: Air.abc", "1e3")


@pytest.mark.parametrize("opened", ["[", "{a: ", "- "])
def test_what_is_too_deep_is_refused_at_once(opened: str, tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text(opened * 20_000)
    for source, words in ((str(path), []), ("mamba_remi", [f"train.steps={opened * 20_000}"])):
        before = time.process_time()
        with pytest.raises(HubError, match="33 deep; expected at most 32"):
            read(source, *words)
        assert time.process_time() - before < 10  # it took minutes


def test_a_star_in_a_word_is_a_star() -> None:
    assert read("mamba_remi", "dataset=folder", "dataset.path=*.mid").dataset.path == "*.mid"
