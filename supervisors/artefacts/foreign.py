"""Checkpoints of other libraries as weights to start from: four models of transformers, Mamba of mamba_ssm.

Shapes: v vocabulary, r rows of an embedding (v padded), d model width.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from core.checkpoint import load_weights
from core.errors import HubError
from core.log import logger, warn_once
from core.model.language_model import LanguageModel
from hparams.base import HParams
from plugins.manager import Manager
from supervisors.artefacts import artefact
from supervisors.artefacts.foreign_configs import ForeignConfig, read_config

_HEAD = "lm_head.weight"
_MAMBA_SSM_EMBEDDING = "backbone.embedding.weight"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def from_mamba_ssm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of mamba_ssm's MambaLMHeadModel -> names of a LanguageModel around `mamba`; the tensors are the same.

    HubError naming a weight that MambaLMHeadModel has not.
    """
    return _renamed(weights, _MAMBA_SSM_EMBEDDING)


def to_mamba_ssm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back: a LanguageModel's state dict -> names of mamba_ssm's MambaLMHeadModel; the tensors are the same."""
    names = {"embedding.weight": _MAMBA_SSM_EMBEDDING, "head.weight": _HEAD}
    return {names.get(name, name): tensor for name, tensor in weights.items()}


def load_into(model: LanguageModel, folder: Path, hparams: HParams, manager: Manager) -> None:
    """Copies the weights of a foreign folder into a run's fresh model.

    With as many tokens as the run's vocabulary everything is taken; else the backbone alone, and that is said. HubError
    when the model is another one, naming all the settings to give, or when weights are missing, unknown or misshapen.
    """
    config = read_config(folder)
    same_vocabulary = (config.vocab_size,) == model.vocab_sizes
    _check_settings(config, hparams, folder, same_vocabulary, manager)
    weights = _renamed(read_weights(folder), config.embedding)
    own = model.state_dict()
    if same_vocabulary:
        weights = _padded_alike(_tied(weights, folder) if config.tie else weights, config.rows, model, folder)
        logger.info("model.start: all weights of %s, embeddings included; its ids must mean the same", folder)
    else:
        weights |= {name: weight for name, weight in own.items() if not name.startswith("backbone.")}
        warn_once(
            f"model.start: {folder} knows {config.vocab_size} tokens and this run {sum(model.vocab_sizes)}: "
            "its backbone is taken, embeddings and head start fresh"
        )
    artefact.load_into(model, weights, folder)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of model.safetensors, or of the files that model.safetensors.index.json lists, under their names.

    HubError when there are none, when only pickles are there, or when the index and its files disagree.
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.exists():
        return load_weights(whole)
    if not index.exists():
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
        found = f"{pickles[0]}, a pickle, which can run any code when it is read" if pickles else "no weights"
        raise HubError(f"{folder} has {found}; expected model.safetensors, or several with {index.name}")
    try:
        places: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted({Path(name).name for name in places.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HubError(f"{index} is no index of weights ({error!r}); fetch it again") from error
    weights: dict[str, Tensor] = {}
    for name in files:
        weights |= load_weights(folder / name)
    differ = sorted(weights.keys() ^ places.keys())
    if differ:
        raise HubError(f"{index} and the files that it lists disagree on {differ[0]}; fetch all of them again")
    return weights


def _renamed(weights: Mapping[str, Tensor], embedding: str) -> dict[str, Tensor]:
    """The hub's names. Files of a model without its head leave the first prefix away."""
    root = embedding.partition(".")[0] + "."
    bare = not any(name.startswith(root) for name in weights)
    names: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        full = root + name if bare and name != _HEAD else name
        if full.endswith((".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias")):
            continue  # older files keep angles that follow from the base, and masks
        if full == embedding:
            names["embedding.weight"] = tensor
        elif full == _HEAD:
            names["head.weight"] = tensor
        elif full.startswith(root):
            names["backbone." + full.removeprefix(root)] = tensor
        else:
            raise HubError(f"there is a weight {name}; expected {embedding}, {_HEAD} and others in {root}*")
    return names


def _tied(weights: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Adds the head that is the embedding; HubError when the file has another."""
    head, embedding = weights.get("head.weight"), weights.get("embedding.weight")
    if embedding is None:
        return weights
    if head is not None and not torch.equal(head, embedding):
        raise HubError(
            f"{folder} ties its embeddings, yet {_HEAD} differs from them; set which one holds in config.json"
        )
    return {**weights, "head.weight": embedding}


def _padded_alike(weights: dict[str, Tensor], rows: int, model: LanguageModel, folder: Path) -> dict[str, Tensor]:
    """Embedding and head (r d) with as many rows as this model's; rows that no id reaches are added as 0 or cut off."""
    fitted = dict(weights)
    for name in ("embedding.weight", "head.weight"):
        weight = weights.get(name)
        if weight is None:
            continue
        if len(weight) != rows:
            raise HubError(f"{name} of {folder} has {len(weight)} rows; by its config.json they should be {rows}")
        if rows != model.embedding.num_embeddings:
            known = weight[: model.vocab_size]
            fitted[name] = F.pad(known, (0, 0, 0, model.embedding.num_embeddings - len(known)))
    return fitted


def _check_settings(
    config: ForeignConfig, hparams: HParams, folder: Path, same_vocabulary: bool, manager: Manager
) -> None:
    """HubError naming every setting that has to change, in the words to give."""
    words = [f"{key}={value}" for key, value in _differing(config, hparams.backbone, _taker(config, folder, manager))]
    if same_vocabulary and hparams.model.tie and not config.tie:
        words.append("model.tie=false")
    if words:
        raise HubError(f"model.start: {folder} holds another model than this run's; give {' '.join(words)}")


def _taker(config: ForeignConfig, folder: Path, manager: Manager) -> str:
    """The backbone that takes these weights; HubError where none is here that does."""
    for entry in manager.backbones.values():
        if config.model_type in entry.extra.get("model_types", ()):
            return entry.name
    raise HubError(f'model.start: {folder} holds a "{config.model_type}", which no backbone here takes; see `list`')


def _differing(config: ForeignConfig, section: Any, backbone: str) -> list[tuple[str, Any]]:
    """Dotted names and wanted values; of another backbone than the run's all of them."""
    if section.name != backbone:
        return [("backbone", backbone), *((f"backbone.{key}", value) for key, value in config.settings.items())]
    return [
        (f"backbone.{key}", value)
        for key, value in config.settings.items()
        if (getattr(section, key) or config.automatic.get(key)) != value
    ]
