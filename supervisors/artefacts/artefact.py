"""The folder that people share: weights, hyper-parameters and tokenizer, complete in itself and free of pickles."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.checkpoint import load_weights, save_weights
from core.contracts.tokenizer import Tokenizer
from core.errors import HubError
from core.files import atomic_folder, checksum, write_json, write_text
from hparams.base import HParams
from hparams.loading import from_tree, plain
from plugins.manager import Manager, own_version
from supervisors.artefacts import described
from supervisors.artefacts.provenance import plugins_of


@dataclass
class Artefact:
    """What `model/` holds, read."""

    hparams: HParams
    folder: Path  # where it lies: itself, or model/ of a run
    tokenizer: Tokenizer
    weights: dict[str, Tensor]
    config: dict[str, Any]


def write(
    folder: Path,
    weights: dict[str, Tensor],
    tokenizer: Tokenizer,
    hparams: HParams,
    manager: Manager,
    facts: dict[str, Any],
) -> None:
    """Writes the folder under a temporary name, then renames it; `facts` are the run's measures and data's licence."""
    with atomic_folder(folder) as temporary:
        (temporary / "tokenizer").mkdir()
        save_weights(weights, temporary / "model.safetensors", {"format": described.FORMAT})
        tokenizer.save(temporary / "tokenizer")
        config = {
            "format": described.FORMAT,
            "swaptunes": own_version(),
            "plugins": plugins_of(manager, hparams),
            "vocab_size": tokenizer.vocab_size,
            "sha256": checksum(temporary / "model.safetensors"),
            "tokenizer_fingerprint": tokenizer.fingerprint(),
            **facts,
            "hparams": plain(hparams),
        }
        write_json(temporary / "config.json", config)
        write_text(temporary / "README.md", card(config))


def card(config: dict[str, Any]) -> str:
    """README.md of the folder whose config.json this is."""
    hparams, plugins = config["hparams"], config["plugins"]
    parts = ", ".join(
        f"{slot} {plugin['name']} ({plugin['distribution']} {plugin['version']})" for slot, plugin in plugins.items()
    )
    measures = "\n".join(f"- {key}: {value:.6g}" for key, value in sorted(config["best"].items()))
    return (
        f"# {hparams['name']}\n\nA music model of swaptunes {config['swaptunes']} "
        f"with {config['parameters']:,} parameters: {parts}.\n\n"
        f"Trained on: {config['data_license']} {config['data_url']}\n\nAt its best validation:\n{measures}\n\n"
        "```\npython -m supervisors.run generate --run THIS_FOLDER generate.count=4\n```\n"
    )


def read(folder: Path, manager: Manager) -> Artefact:
    """Reads a run's folder or its `model/`; HubError when it is none, is damaged, is newer, or lacks a plugin."""
    place, config = described.config_of(folder, manager)
    if not (place / "model.safetensors").exists():
        raise HubError(f"{place} has no model.safetensors; copy the folder again")
    if checksum(place / "model.safetensors") != config.get("sha256"):
        raise HubError(
            f"{place / 'model.safetensors'} was changed since it was written (sha256); copy the folder again"
        )
    hparams = from_tree(config["hparams"], str(place / "config.json"), manager.section)
    tokenizer = described.build_tokenizer(manager, hparams, place / "tokenizer")
    fingerprint = str(config["tokenizer_fingerprint"])
    if tokenizer.fingerprint() != fingerprint:
        raise HubError(
            f"{place / 'tokenizer'} is not the tokenizer that {place / 'model.safetensors'} was trained with "
            f"(fingerprint {tokenizer.fingerprint()[:12]}, expected {fingerprint[:12]}); restore it, "
            "or install the version of its library that config.json names"
        )
    return Artefact(hparams, place, tokenizer, load_weights(place / "model.safetensors"), config)


def load_into(model: nn.Module, weights: dict[str, Tensor], source: Path | str) -> None:
    """Copies weights into a model; HubError naming the first ones that do not fit."""
    own = model.state_dict()
    shared: dict[int, Tensor] = {}  # what lies where: of tied weights, one name is enough
    for key in own.keys() & weights.keys():
        shared[own[key].data_ptr()] = weights[key]
    weights = {key: shared[own[key].data_ptr()] for key in own if own[key].data_ptr() in shared} | weights
    faults = [f"{key} is missing" for key in own.keys() - weights.keys()]
    faults += [f"{key} is unknown" for key in weights.keys() - own.keys()]
    faults += [
        f"{key} is {tuple(weights[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own.keys() & weights.keys()
        if own[key].shape != weights[key].shape
    ]
    if faults:
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise HubError(f"the weights of {source} do not fit this model: {sorted(faults)[0]}{more}")
    with torch.no_grad():
        model.load_state_dict(weights)
