"""A trained model in the hands of the supervisor that it belongs to."""

from pathlib import Path
from typing import Any

from core.errors import HubError
from hparams.base import HParams
from hparams.hints import meant
from hparams.loading import override
from hparams.sentences import settings
from plugins.manager import Manager
from supervisors.artefacts import described


def opened(folder: Path, words: list[str], manager: Manager, free: tuple[str, ...]) -> Any:
    """The supervisor of a run or an artefact with its best model; `words` may set what begins like one of `free`.

    No data is loaded. HubError for another word, and for a folder that holds no model or a damaged one.
    """
    for word in words:
        if not word.startswith(free):
            known = [one.key for one in settings(HParams()) if one.key.startswith(free)]
            hint = meant(word.partition("=")[0], known, free)
            raise HubError(
                f'"{word}" cannot be changed here; only {" and ".join(f"{key}*" for key in free)} can.{hint}'
            )
    hparams = described.settings(folder, manager)
    for word in words:
        key = word.partition("=")[0]
        if key.removeprefix("generate.") in hparams.model.controls:
            control = key.removeprefix("generate.")
            raise HubError(f'there is no key "{key}". Did you mean "generate.controls.{control}"?')
    hparams.generate.out = ""  # where to write is for who asks to say, not for a folder that somebody shared
    supervisor = manager.supervise(override(hparams, words, section=manager.section), folder)
    supervisor.open()
    return supervisor
