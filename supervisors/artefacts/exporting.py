"""A trained model as a folder of transformers, kept only if its logits are the same whole and step by step.

Shapes: b batch, l length, v vocabulary.
"""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import HubError
from core.files import atomic_folder, write_json
from core.model.language_model import LanguageModel
from supervisors.artefacts.foreign_configs import read_config

_SAME = 1e-4  # largest difference of logits, as a share of the largest
_LENGTH = 48  # tokens of the comparison


def export(model: LanguageModel, section: Any, out: Path) -> float:
    """Writes `out` from a model and its backbone's hyper-parameters; the largest deviation of the logits.

    HubError where transformers has no such model, is not installed, or computes something else: nothing is left then.
    """
    if section.name not in _CONFIGS:
        known = ", ".join(_CONFIGS)
        raise HubError(f'transformers has no model like backbone "{section.name}"; expected one of {known}')
    try:
        import transformers
        from safetensors.torch import save_file
    except ImportError as error:
        raise HubError("export compares with transformers, which is not installed; pip install transformers") from error
    if out.exists():
        raise HubError(f"{out} is there already; give another folder")
    tie = model.head.weight is model.embedding.weight
    config = {
        **_CONFIGS[section.name](section),
        "vocab_size": model.embedding.num_embeddings,
        "tie_word_embeddings": tie,
    }
    with atomic_folder(out) as temporary:
        write_json(temporary / "config.json", config)
        weights = _renamed(model, read_config(temporary).embedding, tie)
        save_file(weights, temporary / "model.safetensors", {"format": "pt"})
        theirs = transformers.AutoModelForCausalLM.from_pretrained(temporary, dtype=torch.float32).eval()
        deviation = _deviation(model, theirs)
        if not deviation <= _SAME:
            raise HubError(f"transformers computes other logits than the model ({deviation:.1e}); nothing was kept")
    return deviation


def _renamed(model: LanguageModel, embedding: str, tie: bool) -> dict[str, Tensor]:
    """The weights under the names of transformers, on the CPU in float32."""
    root = embedding.partition(".")[0] + "."
    names = {"embedding.weight": embedding, "head.weight": "lm_head.weight"}
    found = {}
    for name, tensor in model.state_dict().items():
        if not (tie and name == "head.weight"):
            new = names.get(name, root + name.removeprefix("backbone."))
            found[new] = tensor.detach().to("cpu", torch.float32).contiguous().clone()
    return found


@torch.inference_mode()
def _deviation(model: LanguageModel, theirs: Any) -> float:
    """The largest difference of logits (b l v) whole and step by step, as a share of the largest."""
    ours = copy.deepcopy(model).to("cpu", torch.float32).eval()
    length = min(_LENGTH, getattr(theirs.config, "n_positions", _LENGTH))
    ids = torch.randint(ours.vocab_size, (2, length), generator=torch.Generator().manual_seed(0))
    expected = theirs(input_ids=ids).logits[..., : ours.vocab_size]
    state, steps = ours.init_state(2, length), []
    for t in range(length):
        logits, state = ours(ids[:, t : t + 1], state)
        steps.append(logits)
    found = (ours(ids)[0], torch.cat(steps, 1))
    return max(float((each - expected).abs().max() / expected.abs().max()) for each in found)


def _mamba(section: Any) -> dict[str, Any]:
    return {
        "model_type": "mamba",
        "architectures": ["MambaForCausalLM"],
        "hidden_size": section.dim,
        "num_hidden_layers": section.layers,
        "state_size": section.state,
        "conv_kernel": section.conv,
        "expand": section.expand,
        "intermediate_size": section.expand * section.dim,
        "time_step_rank": section.dt_rank or math.ceil(section.dim / 16),
        "layer_norm_epsilon": 1e-5,
        "use_bias": False,
        "use_conv_bias": True,
        "hidden_act": "silu",
    }


def _mamba2(section: Any) -> dict[str, Any]:
    return {
        "model_type": "mamba2",
        "architectures": ["Mamba2ForCausalLM"],
        "hidden_size": section.dim,
        "num_hidden_layers": section.layers,
        "state_size": section.state,
        "conv_kernel": section.conv,
        "expand": section.expand,
        "head_dim": section.head_width,
        "num_heads": section.expand * section.dim // section.head_width,
        "n_groups": section.groups,
        "layer_norm_epsilon": 1e-5,
        "use_bias": False,
        "use_conv_bias": True,
        "hidden_act": "silu",
    }


def _llama(section: Any) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": section.dim,
        "num_hidden_layers": section.layers,
        "num_attention_heads": section.heads,
        "num_key_value_heads": section.kv_heads or section.heads,
        "intermediate_size": section.hidden or 16 * math.ceil(8 * section.dim / 3 / 16),
        "rms_norm_eps": section.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": section.rope_base},
        "max_position_embeddings": 1 << 20,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
    }


def _gpt2(section: Any) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": section.dim,
        "n_layer": section.layers,
        "n_head": section.heads,
        "n_inner": section.hidden or 4 * section.dim,
        "n_positions": section.positions,
        "layer_norm_epsilon": section.norm_eps,
        "activation_function": "gelu_new",
    }


_CONFIGS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "mamba": _mamba,
    "mamba2": _mamba2,
    "transformer": _llama,
    "gpt2": _gpt2,
}
