"""The door of `supervisors/language_model.py`: its settings and its data are here at once, PyTorch when it is built."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hparams.base import HParams
from hparams.supervisors import LanguageModelHParams
from plugins import hookimpl
from plugins.manager import Manager
from supervisors.training.data.token_data import TokenData

if TYPE_CHECKING:
    from supervisors.language_model import LanguageModelSupervisor


class LanguageModelData(TokenData):
    """Its data, for any tokenizer and any controls."""

    takes_streams = takes_controls = True


def build(hparams: HParams, manager: Manager, folder: Path) -> "LanguageModelSupervisor":
    """The supervisor of a run."""
    from supervisors.language_model import LanguageModelSupervisor

    return LanguageModelSupervisor(hparams, manager, folder)


@hookimpl
def register_supervisors(register: Callable[..., None]) -> None:
    """Offers `language_model`."""
    register("language_model", LanguageModelHParams, build, data=LanguageModelData)
