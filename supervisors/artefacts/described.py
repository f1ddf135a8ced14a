"""What a folder that people share says of itself: settings, plugins and tokenizer. Its weights are not looked at."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from core.contracts.tokenizer import Tokenizer
from core.errors import HubError
from core.files import recover_folder
from hparams.base import HParams
from hparams.loading import SLOTS, from_tree
from plugins.making import Unmade
from plugins.manager import Manager
from supervisors.artefacts.foreign_configs import is_foreign

FORMAT = 1


def settings(folder: Path, manager: Manager) -> HParams:
    """The hyper-parameters of a run's folder or its `model/`; HubError as `read`, but the weights are not looked at."""
    place, config = config_of(folder, manager)
    return from_tree(config["hparams"], str(place / "config.json"), manager.section)


def config_of(folder: Path, manager: Manager) -> tuple[Path, dict[str, Any]]:
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
    except Unmade as error:
        raise HubError(
            f"{folder} holds no {hparams.tokenizer.name} tokenizer that can be read ({error.__cause__ or error})"
        ) from error
