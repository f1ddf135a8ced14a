"""The weights that a run starts from: those of another run, of an artefact or of another library's checkpoint."""

import functools
import operator
from pathlib import Path

from torch import nn

from core.contracts.tokenizer import Tokenizer
from core.errors import HubError
from core.model.language_model import LanguageModel
from hparams.base import HParams
from hparams.loading import changed, plain
from plugins.manager import Manager
from supervisors.artefacts import artefact, foreign
from supervisors.artefacts.foreign_configs import is_foreign


def load_start(model: nn.Module, hparams: HParams, tokenizer: Tokenizer, manager: Manager) -> None:
    """Copies the weights in `model.start` into a fresh model; does nothing when it is empty.

    HubError when the folder is missing or of no known kind, or when its model or vocabulary is another one.
    """
    if not hparams.model.start:
        return
    folder = Path(hparams.model.start)
    if not folder.is_dir():
        raise HubError(f"model.start: {folder} is not a folder; expected a run, an artefact or a Hugging Face folder")
    if is_foreign(folder) and isinstance(model, LanguageModel):
        foreign.load_into(model, folder, hparams, manager)
        return
    old = artefact.read(folder, manager)
    if old.tokenizer.fingerprint() != tokenizer.fingerprint():
        raise HubError(f"model.start: {folder} has another vocabulary; use its tokenizer settings to start from it")
    _check_settings(old.hparams, hparams, folder)
    artefact.load_into(model, old.weights, folder)


def _check_settings(old: HParams, new: HParams, folder: Path) -> None:
    """HubError naming every setting to change; equal shapes are not enough, as those of 4 and of 8 heads are."""
    there, here = plain(old), plain(new)
    differ = [key for key in changed(old, new) if key.startswith("backbone") and "drop" not in key]
    if old.supervisor.name != new.supervisor.name:
        raise HubError(f"model.start: {folder} holds a model of another kind; give supervisor={old.supervisor.name}")
    if "backbone" in differ:
        words = [f"backbone={there['backbone'].pop('name')}"]
        words += [f"backbone.{key}={value}" for key, value in there["backbone"].items()]
    else:
        words = [f"{key}={functools.reduce(operator.getitem, key.split('.'), there)}" for key in differ]
    if here["model"]["tie"] and not there["model"]["tie"]:
        words.append("model.tie=false")
    if words:
        raise HubError(f"model.start: {folder} holds another model than this run's; give {' '.join(words)}")
