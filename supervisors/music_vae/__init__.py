"""MusicVAE, a supervisor that learns to hold windows of bars in latent vectors; PyTorch is here once it is built."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hparams.base import HParams
from hparams.supervisors import MusicVaeHParams
from plugins import hookimpl
from plugins.manager import Manager
from supervisors.music_vae.data import MusicVaeData

if TYPE_CHECKING:
    from supervisors.music_vae.supervisor import MusicVaeSupervisor


def build(hparams: HParams, manager: Manager, folder: Path) -> "MusicVaeSupervisor":
    """The supervisor of a run."""
    from supervisors.music_vae.supervisor import MusicVaeSupervisor

    return MusicVaeSupervisor(hparams, manager, folder)


@hookimpl
def register_supervisors(register: Callable[..., None]) -> None:
    """Offers `music_vae`."""
    register("music_vae", MusicVaeHParams, build, data=MusicVaeData)
