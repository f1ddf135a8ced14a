"""The folder that people share: weights, hyper-parameters and tokenizer, complete in itself and free of pickles."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from core.checkpoint import load_weights, save_weights
from core.contracts.tokenizer import Tokenizer
from core.errors import HubError
from core.files import atomic_folder, checksum, recover_folder, write_json, write_text
from hparams.base import HParams
from hparams.loading import SLOTS, from_tree, plain
from plugins.manager import Manager, own_version
from supervisors.artefacts.foreign_configs import is_foreign
from supervisors.artefacts.provenance import plugins_of

FORMAT = 1


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
        save_weights(weights, temporary / "model.safetensors", {"format": FORMAT})
        tokenizer.save(temporary / "tokenizer")
        config = {
            "format": FORMAT,
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


def settings(folder: Path, manager: Manager) -> HParams:
    """The hyper-parameters of a run's folder or its `model/`; HubError as `read`, but the weights are not looked at."""
    place, config = _config(folder, manager)
    return from_tree(config["hparams"], str(place / "config.json"), manager.section)


def read(folder: Path, manager: Manager) -> Artefact:
    """Reads a run's folder or its `model/`; HubError when it is none, is damaged, is newer, or lacks a plugin."""
    place, config = _config(folder, manager)
    if not (place / "model.safetensors").exists():
        raise HubError(f"{place} has no model.safetensors; copy the folder again")
    if checksum(place / "model.safetensors") != config.get("sha256"):
        raise HubError(
            f"{place / 'model.safetensors'} was changed since it was written (sha256); copy the folder again"
        )
    hparams = from_tree(config["hparams"], str(place / "config.json"), manager.section)
    tokenizer = build_tokenizer(manager, hparams, place / "tokenizer")
    fingerprint = str(config["tokenizer_fingerprint"])
    if tokenizer.fingerprint() != fingerprint:
        raise HubError(
            f"{place / 'tokenizer'} is not the tokenizer that {place / 'model.safetensors'} was trained with "
            f"(fingerprint {tokenizer.fingerprint()[:12]}, expected {fingerprint[:12]}); restore it, "
            "or install the version of its library that config.json names"
        )
    return Artefact(hparams, place, tokenizer, load_weights(place / "model.safetensors"), config)


def _config(folder: Path, manager: Manager) -> tuple[Path, dict[str, Any]]:
    """Where the artefact lies, and its config.json, of a format and of plugins that are here."""
    for path in (folder, folder / "model"):
        recover_folder(path)
    place = folder / "model" if (folder / "model" / "config.json").exists() else folder
    path = place / "config.json"
    if not path.exists():
        started = (folder / "hparams.yaml").exists()
        raise HubError(
            f"{folder} has no trained model yet; train it first: --run {shlex.quote(str(folder))}"
            if started
            else f"{folder} is neither a run nor an artefact: it has no model/config.json and no config.json"
        )
    if is_foreign(place):
        raise HubError(f"{folder} holds another library's checkpoint; train from it first, with model.start={folder}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        newer = config["format"] > FORMAT
        config["hparams"], config["tokenizer_fingerprint"]
        plugins = [
            (slot, *(str(plugin[key]) for key in ("name", "distribution", "version")))
            for slot, plugin in config.get("plugins", {}).items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HubError(f"{path} is not a configuration that swaptunes wrote ({error!r})") from error
    if newer:
        raise HubError(f"{path} has format {config['format']}, newer than {FORMAT}; update swaptunes to read it")
    _insist_on_plugins(plugins, folder, manager)
    return place, config


def _insist_on_plugins(plugins: Sequence[tuple[str, ...]], folder: Path, manager: Manager) -> None:
    for slot, name, distribution, version in plugins:
        if slot not in SLOTS or name not in manager.registry(slot):
            raise HubError(
                f'{folder} needs the {slot} "{name}" of {distribution} {version}, '
                f"which is not here: pip install {distribution}, or see what `list` says of it"
            )


def build_tokenizer(manager: Manager, hparams: HParams, folder: Path | None) -> Tokenizer:
    """The run's tokenizer, new or from a folder that it saved."""
    if folder is None:
        return cast(Tokenizer, manager.make("tokenizer", hparams.tokenizer, None))
    try:
        return cast(Tokenizer, manager.make("tokenizer", hparams.tokenizer, folder))
    except HubError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise HubError(f"{folder} holds no {hparams.tokenizer.name} tokenizer that can be read ({error})") from error


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
