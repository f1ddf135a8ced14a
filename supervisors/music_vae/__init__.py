"""MusicVAE, a supervisor that learns to hold windows of bars in latent vectors: `supervisor.py` is the door."""

from collections.abc import Callable

from hparams.supervisors import MusicVaeHParams
from plugins import hookimpl
from supervisors.music_vae.supervisor import MusicVaeSupervisor


@hookimpl
def register_supervisors(register: Callable[..., None]) -> None:
    """Offers `music_vae`."""
    register("music_vae", MusicVaeHParams, MusicVaeSupervisor)
