"""What a setting is that nobody gives, what it may be, and what the presets of papers set: written out by hand."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from hparams.backbones.lstm import LstmHParams
from hparams.base import (
    AugmentHParams,
    CheckpointHParams,
    DataHParams,
    EvaluateHParams,
    GenerateHParams,
    HParams,
    LatentHParams,
    ModelHParams,
    TrainHParams,
)
from hparams.compare import CompareHParams
from hparams.controls import LabelHParams, TextHParams
from hparams.listen import ListenHParams
from hparams.presets.grid import composed
from hparams.studio import StudioHParams
from hparams.supervisors import MusicVaeHParams, PartHParams
from plugins.manager import load_manager

DEFAULTS: list[tuple[Any, dict[str, Any]]] = [
    (ModelHParams, {"tie": True, "start": "", "controls": [], "control_dropout": 0.2}),
    (AugmentHParams, {"transpose": 0, "tempo": 0.0, "velocity": 0, "crop": "bar"}),
    (DataHParams, {"length": 512, "batch_size": 8, "workers": 0, "seconds_per_file": 20.0,
                   "megabytes_per_worker": 4096}),
    (TrainHParams, {"steps": 0, "lr": 2e-3, "lr_floor": 0.1, "warmup": 0.05, "weight_decay": 0.1, "betas": (0.9, 0.95),
                    "clip": 1.0, "accumulate": 1, "precision": "auto", "patience": 10, "engine": "auto",
                    "trackers": [], "activation_checkpointing": False}),
    (EvaluateHParams, {"every": 0, "tokens": 32768, "count": 64, "beats": 64.0, "prompt_beats": 16.0}),
    (CheckpointHParams, {"every": 0, "keep": 2}),
    (LatentHParams, {"source": "", "target": "", "attribute": [], "amount": 1.0}),
    (GenerateHParams, {"count": 4, "out": "", "prompt": "", "prompt_beats": 0.0, "prompt_bars": 0,
                       "prompt_seconds": 0.0, "length": 1024, "bars": 0, "temperature": 1.0, "top_k": 0, "top_p": 0.94,
                       "min_p": 0.0, "repetition_penalty": 1.0, "seed": 0, "controls": {}, "guidance": 1.0,
                       "formats": ["png"]}),
    (CompareHParams, {"seeds": 3, "parameters": 0, "tokens": 0, "minutes": 0.0}),
    (ListenHParams, {"pieces": 12, "seconds": 20.0, "kind": "ratings", "seed": 0, "serve": True, "port": 0,
                     "scales": ("overall", "coherence", "structure", "melody")}),
    (StudioHParams, {"port": 0, "streams": 16, "models": 3, "upload": 4.0, "memory": 128}),
    (MusicVaeHParams, {"name": "music_vae", "bars": 2, "latent": 128, "hierarchical": False, "free_bits": 0.0,
                       "beta": 0.2, "beta_rate": 0.999, "scheduled_sampling": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("section", "expected"), DEFAULTS, ids=lambda one: getattr(one, "__name__", ""))
def test_what_nobody_gives(section: Any, expected: dict[str, Any]) -> None:
    made = section()
    found = {field.name: getattr(made, field.name) for field in fields(section)}
    assert {key: value for key, value in found.items() if not is_dataclass(value)} == expected


def test_a_run_without_words() -> None:
    found = HParams(name="x")
    assert (found.seed, found.supervisor.name, found.deepspeed, found.backbone) == (0, "language_model", {}, None)


# Class, setting, values that it may have at its ends, values just beyond.
ENDS: list[tuple[Any, str, list[Any], list[Any]]] = [
    (ModelHParams, "control_dropout", [0, 1], [-0.1, 1.1]),
    (AugmentHParams, "transpose", [0, 24], [-1, 25]),
    (AugmentHParams, "tempo", [0, 0.99], [-0.1, 1]),
    (AugmentHParams, "velocity", [0, 64], [-1, 65]),
    (DataHParams, "length", [2], [1]),
    (DataHParams, "batch_size", [1], [0]),
    (DataHParams, "workers", [0], [-1]),
    (DataHParams, "seconds_per_file", [0.1], [0]),
    (TrainHParams, "steps", [0], [-1]),
    (TrainHParams, "lr", [1e-9], [0, -1]),
    (TrainHParams, "lr_floor", [0, 1], [-0.1, 1.1]),
    (TrainHParams, "warmup", [0, 0.99], [-0.1, 1]),
    (TrainHParams, "weight_decay", [0], [-0.1]),
    (TrainHParams, "betas", [(0, 0.99)], [(0.9, 1), (-0.1, 0.9)]),
    (TrainHParams, "clip", [0], [-0.1]),
    (TrainHParams, "accumulate", [1], [0]),
    (TrainHParams, "patience", [0], [-1]),
    (EvaluateHParams, "tokens", [1], [0]),
    (EvaluateHParams, "count", [2], [1]),
    (EvaluateHParams, "beats", [17], [7.9, 16]),
    (EvaluateHParams, "prompt_beats", [0.1, 63.9], [0, 64]),
    (CheckpointHParams, "keep", [1], [0]),
    (GenerateHParams, "count", [1], [0]),
    (GenerateHParams, "length", [1], [0]),
    (GenerateHParams, "bars", [0], [-1]),
    (GenerateHParams, "prompt_beats", [0], [-1]),
    (GenerateHParams, "prompt_bars", [0], [-1]),
    (GenerateHParams, "prompt_seconds", [0, 0.1], [-0.1]),
    (GenerateHParams, "temperature", [0], [-0.1]),
    (GenerateHParams, "top_k", [0], [-1]),
    (GenerateHParams, "top_p", [0.01, 1], [0, 1.01]),
    (GenerateHParams, "min_p", [0, 1], [-0.1, 1.1]),
    (GenerateHParams, "repetition_penalty", [1], [0.9]),
    (GenerateHParams, "guidance", [0], [-0.1]),
    (CompareHParams, "seeds", [1], [0]),
    (CompareHParams, "minutes", [0, 0.1], [-1]),
    (ListenHParams, "pieces", [2], [1]),
    (ListenHParams, "seconds", [1, 600], [0.9, 601]),
    (ListenHParams, "scales", [("one",)], [()]),
    (StudioHParams, "port", [0, 65535], [-1, 65536]),
    (StudioHParams, "streams", [1, 256], [0, 257]),
    (StudioHParams, "upload", [0.1, 64], [0, 65]),
    (StudioHParams, "memory", [0, 65536], [-1, 65537]),
    (StudioHParams, "models", [1, 64], [0, 65]),
    (ListenHParams, "port", [0, 65535], [-1, 65536]),
    (CompareHParams, "parameters", [0], [-1]),
    (CompareHParams, "tokens", [0], [-1]),
    (EvaluateHParams, "every", [0], [-1]),
    (CheckpointHParams, "every", [0], [-1]),
    (DataHParams, "megabytes_per_worker", [512], [511]),
    (ModelHParams, "controls", [["key", "density"]], [["key", "key"]]),
    (LatentHParams, "attribute", [[], ["a", "b"]], [["a"], ["a", "b", "c"]]),
    (MusicVaeHParams, "bars", [1], [0]),
    (MusicVaeHParams, "latent", [1], [0]),
    (MusicVaeHParams, "free_bits", [0], [-1]),
    (MusicVaeHParams, "beta", [0], [-0.1]),
    (MusicVaeHParams, "beta_rate", [0, 0.99], [-0.1, 1]),
    (MusicVaeHParams, "scheduled_sampling", [0], [-1]),
    (PartHParams, "dim", [0], [-1]),
    (PartHParams, "layers", [0], [-1]),
    (LabelHParams, "span", [[], [1, 2]], [[1], [2, 2], [2, 1]]),
    (LabelHParams, "words", [["a", "b"]], [["a", "a"]]),
    (TextHParams, "most", [1], [0]),
    (TextHParams, "words", [["a", "b"]], [["a", "a"]]),
    (LstmHParams, "dropout", [0, 0.99], [-0.1, 1]),
    (LstmHParams, "layers", [1], [0]),
]


@pytest.mark.parametrize(("section", "key", "good", "bad"), ENDS, ids=lambda one: one if isinstance(one, str) else "")
def test_settings_at_their_ends(section: Any, key: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(section(**{key: value}), key) == value
    for value in bad:
        with pytest.raises(ValueError, match=rf"{key} is |{key} -1|beats is |prompt_beats is "):
            section(**{key: value})


# The same of plugins, at their own defaults.
PLUGINS: list[tuple[str, str, str, list[Any], list[Any]]] = [
    ("backbone", "transformer", "heads", [1, 128], [0, 3, 256]),
    ("backbone", "transformer", "kv_heads", [0, 1, 2, 4], [3, 5, 8, -1]),
    ("backbone", "transformer", "rope_base", [1.1], [1]),
    ("backbone", "transformer", "norm_eps", [1e-9], [0]),
    ("backbone", "mamba", "state", [1], [0]),
    ("backbone", "mamba", "conv", [1], [0]),
    ("backbone", "mamba", "expand", [1], [0]),
    ("backbone", "mamba", "dt_rank", [0], [-1]),
    ("backbone", "gpt2", "heads", [1, 256], [0, 3]),
    ("backbone", "gpt2", "positions", [1], [0]),
    ("backbone", "music_transformer", "heads", [1, 256], [0, 3]),
    ("backbone", "music_transformer", "distances", [1], [0]),
    ("backbone", "mlstm", "heads", [1, 128], [0, 3, 256]),
    ("backbone", "mlstm", "gate_soft_cap", [0.1], [0]),
    ("backbone", "rwkv7", "head", [0, 2, 256], [-1, 7, 1]),
    ("backbone", "attentive_gru", "heads", [1, 4], [0, 3]),
    ("backbone", "hybrid", "heads", [1], [0]),
    ("backbone", "hybrid", "window", [2], [1]),
    *(("backbone", name, "hidden", [0], [-1]) for name in ("transformer", "gpt2", "mlstm", "rwkv7")),
    ("tokenizer", "remi", "pitch_range", [(0, 127)], [(-1, 50), (50, 50), (60, 50), (0, 128)]),
    ("tokenizer", "remi", "num_velocities", [1, 127], [0, 128]),
    ("tokenizer", "remi", "num_tempos", [2], [1]),
    ("tokenizer", "remi", "tempo_range", [(1, 1000)], [(0, 100), (100, 100), (1, 1001)]),
    ("tokenizer", "remi", "bpe", [0], [-1]),
    ("tokenizer", "remi", "beat_res", [{"0_4": 96}, {"4_12": 4, "0_4": 12}],
     [{}, {"0_4": 0}, {"0_4": 97}, {"1_4": 4}, {"0_4": 12, "5_8": 4}, {"0_4": 12, "4_8": 5}, {"4_0": 4}]),
    ("tokenizer", "remi", "time_signature_range", [{"4": [4, 64]}, {"4": [4], "8": [1]}],
     [{"4": [4], "3": [4]}, {"4": [0, 4]}, {"4": [4, 65]}]),
    ("tokenizer", "octuple", "max_bar_embedding", [1, 4096], [0, 4097]),
    ("tokenizer", "octuple", "bpe", [0], [500]),
    ("tokenizer", "mumidi", "max_bar_embedding", [1, 4096], [0, 4097]),
    ("tokenizer", "cpword", "options", [{}], [{"a": 1}]),
    ("tokenizer", "mmm", "use_programs", [True], [False]),
    ("tokenizer", "structured", "use_chords", [False], [True]),
]  # fmt: skip


def test_settings_of_plugins_at_their_ends() -> None:
    manager = load_manager()
    for slot, name, key, good, bad in PLUGINS:
        section = manager.section(slot, name)
        for value in good:
            assert getattr(replace(section, **{key: value}), key) == value
        for value in bad:
            with pytest.raises(ValueError, match=rf"^{slot}\.({key}[\w.]*|dim) is "):
                replace(section, **{key: value})
                pytest.fail(f"{name}: {key}={value} was taken")


def test_settings_that_exclude_each_other() -> None:
    cases: list[tuple[Any, dict[str, Any]]] = [
        (GenerateHParams, {"prompt_beats": 4, "prompt_bars": 1}),
        (GenerateHParams, {"prompt_bars": 4, "prompt_seconds": 1.5}),
        (CompareHParams, {"tokens": 1, "minutes": 1}),
        (LabelHParams, {"words": ["1"], "span": [1, 2]}),
    ]
    for section, settings in cases:
        with pytest.raises(ValueError, match=r"is 1|is \['1'\]"):
            section(**settings)


# Steps, rate, its floor, warm-up, decay, clipping, parts, patience; tokens of a row, rows, semitones; head tied.
PRESETS: dict[str, tuple[Any, ...]] = {
    "folk_rnn": (3000, 3e-3, 0.1, 0.05, 0.0, 5.0, 1, 10, 1024, 16, 0, False),
    "performance_rnn": (8000, 1e-3, 0.1, 0.05, 0.0, 1.0, 1, 10, 512, 32, 5, False),
    "performance_rnn_attentive": (8000, 1e-3, 0.1, 0.05, 0.0, 1.0, 1, 10, 512, 32, 5, False),
    "performance_rnn_magenta": (8000, 1e-3, 0.1, 0.05, 0.0, 3.0, 1, 10, 512, 64, 5, False),
    "gpt2_abc": (3000, 1e-3, 0.1, 0.05, 0.1, 1.0, 1, 10, 1024, 16, 0, False),
    "music_transformer_remi": (8000, 3e-4, 0.0, 0.2, 0.0, 0.5, 10, 10, 1024, 30, 5, False),
    "gpt2_remi": (8000, 3e-4, 0.0, 0.2, 0.0, 0.5, 10, 10, 1024, 30, 5, True),
    "llama_remi": (8000, 3e-4, 0.0, 0.2, 0.0, 0.5, 10, 10, 1024, 30, 5, False),
    "mamba_tsd_bpe": (300, 2e-3, 0.1, 0.05, 0.1, 1.0, 1, 10, 512, 8, 5, True),
    "mamba_jsb": (7000, 2e-3, 0.02, 0.05, 0.1, 1.0, 1, 0, 1024, 2, 5, True),
    "transformer_jsb": (6000, 1e-3, 0.02, 0.05, 0.1, 1.0, 1, 0, 1536, 2, 5, True),
    "lstm_jsb": (4000, 6e-3, 0.02, 0.05, 0.1, 1.0, 1, 0, 1024, 4, 5, True),
    "music_transformer_jsb": (6000, 5e-4, 0.02, 0.05, 0.1, 1.0, 1, 0, 1024, 2, 5, True),
    "music_vae": (3000, 3e-3, 0.02, 0.05, 0.0, 1.0, 1, 10, 32, 128, 5, False),
    "music_vae_16": (3000, 3e-3, 0.02, 0.05, 0.0, 1.0, 1, 10, 256, 32, 5, False),
    "tiny": (20, 2e-3, 0.1, 0.05, 0.1, 1.0, 1, 10, 64, 4, 0, True),
}
SHAPES: dict[str, dict[str, Any]] = {
    "folk_rnn": {"dim": 512, "layers": 3, "dropout": 0.5, "forget_bias": 5.0},
    "performance_rnn": {"dim": 512, "layers": 3, "dropout": 0.3},
    "performance_rnn_magenta": {"dim": 512, "layers": 3, "dropout": 0.0},
    "gpt2_abc": {"dim": 256, "layers": 4, "heads": 4, "hidden": 0, "positions": 1955, "dropout": 0.0},
    "music_transformer_remi": {"dim": 768, "layers": 12, "heads": 12, "hidden": 1536, "distances": 1024},
    "gpt2_remi": {"dim": 768, "layers": 12, "heads": 12, "hidden": 1536, "positions": 1024},
    "llama_remi": {"dim": 1024, "layers": 12, "heads": 16, "hidden": 4096, "kv_heads": 0, "rope_base": 10000.0},
    "mamba_jsb": {"dim": 192, "layers": 6, "conv": 16, "dropout": 0.2},
    "music_transformer_jsb": {"dim": 512, "layers": 5, "heads": 8, "hidden": 512, "distances": 256,
                              "table": "per_head"},
    "music_vae": {"dim": 256, "layers": 1, "dropout": 0.0},
    "transformer_jsb": {"dim": 192, "layers": 4, "heads": 6, "hidden": 512, "dropout": 0.2},
    "lstm_jsb": {"dim": 256, "layers": 2, "dropout": 0.3},
    "performance_rnn_attentive": {"dim": 512, "layers": 3, "dropout": 0.3, "heads": 8},
    "tiny": {"dim": 32, "layers": 2, "state": 4, "dropout": 0.0},
}  # fmt: skip
# What is learned from what.
MADE_OF: dict[str, tuple[str, str, str]] = {
    "folk_rnn": ("lstm", "abc", "folk_tunes"),
    "performance_rnn": ("gru", "performance_240", "maestro"),
    "performance_rnn_attentive": ("attentive_gru", "performance_240", "maestro"),
    "performance_rnn_magenta": ("lstm", "performance_388", "maestro"),
    "gpt2_abc": ("gpt2", "abc", "folk_tunes"),
    "music_transformer_remi": ("music_transformer", "remi", "bach_chorales"),
    "gpt2_remi": ("gpt2", "remi", "bach_chorales"),
    "llama_remi": ("transformer", "remi", "bach_chorales"),
    "mamba_tsd_bpe": ("mamba", "tsd", "bach_chorales"),
    "mamba_jsb": ("mamba", "grid", "jsb_chorales"),
    "transformer_jsb": ("transformer", "grid", "jsb_chorales"),
    "lstm_jsb": ("lstm", "grid", "jsb_chorales"),
    "music_transformer_jsb": ("music_transformer", "grid", "jsb_chorales"),
    "music_vae": ("lstm", "melody", "folk_tunes"),
    "music_vae_16": ("lstm", "melody", "folk_tunes"),
    "tiny": ("mamba", "remi", "bach_chorales"),
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_the_runs_that_their_pages_tell_of(name: str) -> None:
    found = load_manager().preset(name)
    train, data = found.train, found.data
    assert (
        train.steps, train.lr, train.lr_floor, train.warmup, train.weight_decay, train.clip, train.accumulate,
        train.patience, data.length, data.batch_size, data.augment.transpose, found.model.tie,
    ) == PRESETS[name]  # fmt: skip
    assert {key: getattr(found.backbone, key) for key in SHAPES.get(name, {})} == SHAPES.get(name, {})
    assert (found.backbone.name, found.tokenizer.name, found.dataset.name) == MADE_OF[name] and found.name == name
    if name.endswith("_jsb"):
        assert (found.evaluate.every, found.evaluate.tokens, found.tokenizer.name) == (500, 80_000, "grid")
    if name in ("performance_rnn", "performance_rnn_attentive"):
        assert found.model.controls == ["pitch_histogram", "density_seconds"]
    if name == "performance_rnn_magenta":
        assert found.model.controls == []
    if name == "mamba_tsd_bpe":
        assert found.tokenizer.bpe == 2000
    if name.startswith("music_vae"):
        own, long = found.supervisor, name == "music_vae_16"
        assert (own.bars, own.latent, own.beta, own.beta_rate) == ((16, 256) if long else (2, 128)) + (0.2, 0.999)
        assert (own.hierarchical, own.free_bits, own.conductor.layers) == ((True, 64, 1) if long else (False, 0, 0))
        assert found.generate.top_p == 1.0
    if name == "tiny":
        assert (found.generate.count, found.generate.length, found.evaluate.every, found.evaluate.tokens) == (
            2, 128, 10, 2048,
        )  # fmt: skip


def test_any_backbone_with_any_tokenizer_learns_four_parts_in_twelve_hundred_steps() -> None:
    found = composed("x_y")
    assert (found.name, found.dataset.name, found.dataset.accompanied) == ("x_y", "bach_chorales", False)
    assert (found.train.steps, found.train.lr, found.train.lr_floor) == (1200, 2e-3, 0.0)


@pytest.mark.parametrize("tokenizer", ["performance_240", "performance_388"])
def test_performances_come_with_a_dataset_of_performances(tokenizer: str) -> None:
    found = load_manager().preset(f"mamba_{tokenizer}")
    assert (found.dataset.name, found.data.augment.transpose) == ("maestro", 5)


def test_backbones_have_the_sizes_that_make_them_comparable() -> None:
    wide = {"lstm": (356, 3), "gru": (412, 3), "attentive_gru": (376, 3), "mamba": (256, 7), "mamba2": (256, 7),
            "mamba3": (256, 7), "hybrid": (256, 1)}  # fmt: skip
    for name in (entry.name for entry in load_manager().backbones.values() if entry.distribution == "swaptunes"):
        section = load_manager().section("backbone", name)
        assert (section.dim, section.layers) == wide.get(name, (256, 4)) and section.dropout == 0.1
    remi = load_manager().section("tokenizer", "remi")
    assert (remi.pitch_range, remi.num_velocities, remi.num_tempos, remi.tempo_range, remi.bpe) == (
        (21, 109), 32, 43, (40, 250), 0
    )  # fmt: skip
    assert (remi.beat_res, remi.use_time_signatures, remi.use_rests) == ({"0_4": 12, "4_12": 4}, True, False)
    assert [getattr(remi, f"use_{key}") for key in ("velocities", "tempos", "programs")] == ["auto"] * 3
