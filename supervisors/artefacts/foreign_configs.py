"""What the config.json of another library's checkpoint says, in the hub's own terms; what the hub has not is refused.

Sources: the configurations `MambaConfig`, `Mamba2Config`, `LlamaConfig` and `GPT2Config` of transformers (4 and 5),
`MambaConfig` of mamba_ssm.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import HubError

# Features by key: the values that the hub computes, the first being what the library assumes where the key is absent.
Features = Mapping[str, tuple[Any, ...]]
_SILU = ("silu", "swish")
_MAMBA: Features = {
    "use_bias": (False,),
    "use_conv_bias": (True,),
    "hidden_act": _SILU,
    "layer_norm_epsilon": (1e-5,),
    "quantization_config": (None,),
}
_LLAMA: Features = {
    "hidden_act": _SILU,
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "sliding_window": (None,),
    "partial_rotary_factor": (1.0, None),
    "quantization_config": (None,),
}
_ROPE: Features = {"rope_type": ("default",), "type": ("default",), "partial_rotary_factor": (1.0, None)}
_MAMBA2: Features = {
    "use_bias": (False,),
    "use_conv_bias": (True,),
    "hidden_act": _SILU,
    "layer_norm_epsilon": (1e-5,),
    "rms_norm": (True,),
    "quantization_config": (None,),
}
_GPT2: Features = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "quantization_config": (None,),
}
_MAMBA_SSM: Features = {
    "d_intermediate": (0,),
    "attn_layer_idx": ([],),
    "rms_norm": (True,),
    "bidirectional": (False,),
}
_MAMBA_SSM_MIXER: Features = {"layer": ("Mamba1",), "conv_bias": (True,), "bias": (False,)}
_MAMBA_SSM_START = {"dt_min", "dt_max", "dt_init", "dt_scale", "dt_init_floor", "use_fast_path"}  # change no result


@dataclass(frozen=True)
class ForeignConfig:
    """A foreign checkpoint's model."""

    model_type: str  # the library's word for it, by which a backbone says that it takes the weights
    settings: dict[str, Any]  # its numbers, by their names below `backbone.`
    automatic: dict[str, int]  # what a 0 in those settings stands for
    vocab_size: int
    rows: int  # of the embedding, padding included
    tie: bool
    embedding: str  # full name of the embedding's weight; its first part is the prefix of all the backbone's weights


def is_foreign(folder: Path) -> bool:
    """Whether the folder's config.json is of a kind that another library writes."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and "hparams" not in config and bool({"model_type", "d_model"} & config.keys())


def read_config(folder: Path) -> ForeignConfig:
    """Reads config.json; HubError naming the kind, the missing number or the features that the hub has not."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    kind = config.get("model_type", "mamba_ssm")
    readers = {"mamba": _mamba, "mamba2": _mamba2, "llama": _llama, "gpt2": _gpt2, "mamba_ssm": _mamba_ssm}
    if kind not in readers:
        known = '"mamba", "mamba2", "llama", "gpt2" or a configuration of mamba_ssm'
        raise HubError(f'{path} has model_type "{kind}"; expected {known}')
    faults: list[str] = []
    found = readers[kind](config, path, faults)
    if faults:
        raise HubError(f"{path} asks for what the hub's {kind} has not: {', '.join(faults)}")
    return found


def _mamba(config: dict[str, Any], path: Path, faults: list[str]) -> ForeignConfig:
    dim = _whole(config, "hidden_size", path)
    rank = config.get("time_step_rank", "auto")
    settings = {
        "dim": dim,
        "layers": _whole(config, "num_hidden_layers", path),
        "state": _whole(config, "state_size", path, 16),
        "conv": _whole(config, "conv_kernel", path, 4),
        "expand": _whole(config, "expand", path, 2),
        "dt_rank": math.ceil(dim / 16) if rank == "auto" else _whole(config, "time_step_rank", path),
    }
    faults += _unlike(config, _MAMBA)
    vocabulary, tie = _whole(config, "vocab_size", path), bool(config.get("tie_word_embeddings", True))
    automatic = {"dt_rank": math.ceil(dim / 16)}
    return ForeignConfig("mamba", settings, automatic, vocabulary, vocabulary, tie, "backbone.embeddings.weight")


def _mamba2(config: dict[str, Any], path: Path, faults: list[str]) -> ForeignConfig:
    dim, expand = _whole(config, "hidden_size", path, 4096), _whole(config, "expand", path, 2)
    heads, head = _whole(config, "num_heads", path, 128), _whole(config, "head_dim", path, 64)
    settings = {
        "dim": dim,
        "layers": _whole(config, "num_hidden_layers", path),
        "state": _whole(config, "state_size", path, 128),
        "head": head,
        "groups": _whole(config, "n_groups", path, 8),
        "conv": _whole(config, "conv_kernel", path, 4),
        "expand": expand,
    }
    faults += _unlike(config, _MAMBA2)
    if heads * head != expand * dim:
        faults.append(f"num_heads={heads} (expected {expand * dim // head}, expand * hidden_size over head_dim)")
    # What JSON cannot say is written as {"__float__": "Infinity"}.
    limit = [
        float(each["__float__"] if isinstance(each, dict) else each) for each in config.get("time_step_limit") or ()
    ]
    if limit not in ([], [0.0, math.inf]):
        faults.append(f"time_step_limit={limit} (expected none)")
    vocabulary, tie = _whole(config, "vocab_size", path), bool(config.get("tie_word_embeddings", False))
    automatic = {"head": max(1, min(64, dim // 4))}
    return ForeignConfig("mamba2", settings, automatic, vocabulary, vocabulary, tie, "backbone.embeddings.weight")


def _gpt2(config: dict[str, Any], path: Path, faults: list[str]) -> ForeignConfig:
    dim = _whole(config, "n_embd", path, 768)
    settings = {
        "dim": dim,
        "layers": _whole(config, "n_layer", path, 12),
        "heads": _whole(config, "n_head", path, 12),
        "hidden": _whole(config, "n_inner", path, 4 * dim),
        "positions": _whole(config, "n_positions", path, 1024),
        "norm_eps": float(config.get("layer_norm_epsilon", 1e-5)),
    }
    faults += _unlike(config, _GPT2)
    vocabulary, tie = _whole(config, "vocab_size", path, 50257), bool(config.get("tie_word_embeddings", True))
    automatic = {"hidden": 4 * dim}
    return ForeignConfig("gpt2", settings, automatic, vocabulary, vocabulary, tie, "transformer.wte.weight")


def _mamba_ssm(config: dict[str, Any], path: Path, faults: list[str]) -> ForeignConfig:
    mixer = config.get("ssm_cfg") or {}
    dim = _whole(config, "d_model", path)
    rank = mixer.get("dt_rank", "auto")
    settings = {
        "dim": dim,
        "layers": _whole(config, "n_layer", path),
        "state": _whole(mixer, "d_state", path, 16),
        "conv": _whole(mixer, "d_conv", path, 4),
        "expand": _whole(mixer, "expand", path, 2),
        "dt_rank": math.ceil(dim / 16) if rank == "auto" else _whole(mixer, "dt_rank", path),
    }
    known = {*_MAMBA_SSM_MIXER, *_MAMBA_SSM_START, "d_state", "d_conv", "expand", "dt_rank"}
    faults += _unlike(config, _MAMBA_SSM)
    faults += [f"ssm_cfg.{fault}" for fault in _unlike(mixer, _MAMBA_SSM_MIXER)]
    faults += [f"ssm_cfg.{key}={mixer[key]}" for key in sorted(mixer.keys() - known)]
    vocabulary, tie = _whole(config, "vocab_size", path), bool(config.get("tie_embeddings", True))
    multiple = _whole(config, "pad_vocab_size_multiple", path, 8)
    rows, automatic = -(-vocabulary // multiple) * multiple, {"dt_rank": math.ceil(dim / 16)}
    return ForeignConfig("mamba_ssm", settings, automatic, vocabulary, rows, tie, "backbone.embedding.weight")


def _llama(config: dict[str, Any], path: Path, faults: list[str]) -> ForeignConfig:
    dim, heads = _whole(config, "hidden_size", path), _whole(config, "num_attention_heads", path)
    # Two spellings: rope_theta beside rope_scaling, or all of it in rope_parameters.
    rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    settings = {
        "dim": dim,
        "layers": _whole(config, "num_hidden_layers", path),
        "heads": heads,
        "kv_heads": _whole(config, "num_key_value_heads", path, heads),
        "hidden": _whole(config, "intermediate_size", path),
        "rope_base": float(rope.pop("rope_theta", None) or config.get("rope_theta") or 10000.0),
        "norm_eps": float(config.get("rms_norm_eps", 1e-6)),
    }
    faults += _unlike(config, _LLAMA)
    faults += [f"rope scaling ({fault})" for fault in _unlike(rope, _ROPE)]
    faults += [f"rope scaling ({key}={rope[key]})" for key in sorted(rope.keys() - _ROPE.keys())]
    width = _whole(config, "head_dim", path, dim // heads)
    if dim % heads:
        faults.append(f"hidden_size={dim} (expected a multiple of num_attention_heads={heads})")
    elif width * heads != dim:
        faults.append(f"head_dim={width} (expected {dim // heads}, hidden_size over num_attention_heads)")
    automatic = {"kv_heads": heads, "hidden": 16 * math.ceil(8 * dim / 3 / 16)}
    vocabulary, tie = _whole(config, "vocab_size", path), bool(config.get("tie_word_embeddings", False))
    return ForeignConfig("llama", settings, automatic, vocabulary, vocabulary, tie, "model.embed_tokens.weight")


def _unlike(config: Mapping[str, Any], features: Features) -> list[str]:
    return [
        f"{key}={config[key]} (expected {allowed[0]})"
        for key, allowed in features.items()
        if key in config and config[key] not in allowed
    ]


def _whole(config: Mapping[str, Any], key: str, path: Path, default: int | None = None) -> int:
    value = config.get(key)
    if value is None:
        value = default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise HubError(f"{path} has {key}={value}; expected a whole number from 1 on")
    return value
