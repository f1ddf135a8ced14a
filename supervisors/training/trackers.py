"""Where the figures of a run go besides metrics.jsonl: TensorBoard always, other trackers where they are asked for.

A tracker takes numbers, pictures and sound by optimizer step; what its library has no means for it leaves out.
"""

import hashlib
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.errors import HubError
from core.names import did_you_mean
from hparams.base import HParams
from hparams.loading import plain

PROJECT = "swaptunes"


class Tracker(Protocol):
    """One place that keeps the figures of a run."""

    def numbers(self, step: int, values: dict[str, float]) -> None:
        """Keeps the values of a step."""
        ...

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Keeps a picture (h w 3) of bytes."""
        ...

    def sound(self, step: int, name: str, samples: np.ndarray, rate: int) -> None:
        """Keeps mono samples (t,) within -1 and 1."""
        ...

    def close(self) -> None:
        """Writes what is left."""
        ...


class TensorBoard:
    """Event files in tensorboard/; a run that goes on from `step` hides what came after it."""

    def __init__(self, folder: Path, step: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=None if step is None else step + 1)

    def numbers(self, step: int, values: dict[str, float]) -> None:
        for key, value in values.items():
            self._board.add_scalar(key, value, step)

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        self._board.add_image(name, image, step, dataformats="HWC")

    def sound(self, step: int, name: str, samples: np.ndarray, rate: int) -> None:
        self._board.add_audio(name, samples[None], step, sample_rate=rate)

    def close(self) -> None:
        self._board.close()


class Library:
    """wandb, or trackio, which has the same functions under the same names."""

    def __init__(self, library: str, hparams: HParams, folder: Path) -> None:
        self._library: Any = import_module(library)
        known: dict[str, Any] = {"project": PROJECT, "name": hparams.name, "config": plain(hparams)}
        if library == "wandb":  # the same run again when it goes on
            identity = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
            known |= {"dir": str(folder), "id": identity, "resume": "allow"}
        else:
            known |= {"resume": "allow"}
        self._run = self._library.init(**known)

    def numbers(self, step: int, values: dict[str, float]) -> None:
        self._library.log(dict(values), step=step)

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        if hasattr(self._library, "Image"):
            self._library.log({name: self._library.Image(image)}, step=step)

    def sound(self, step: int, name: str, samples: np.ndarray, rate: int) -> None:
        if hasattr(self._library, "Audio"):
            self._library.log({name: self._library.Audio(samples, sample_rate=rate)}, step=step)

    def close(self) -> None:
        self._library.finish()


# Names that `train.trackers` may hold; each is the name of the library, too.
LIBRARIES: dict[str, Callable[[str, HParams, Path], Tracker]] = {"wandb": Library, "trackio": Library}


def check(names: Sequence[str]) -> None:
    """HubError for a tracker that there is not, or whose library is not installed; before anything is read."""
    for name in names:
        if name not in LIBRARIES:
            raise HubError(f'train.trackers has "{name}", which is no tracker.{did_you_mean(name, LIBRARIES)}')
        if find_spec(name) is None:
            raise HubError(f"train.trackers has {name}, which is not installed: pip install 'swaptunes[{name}]'")


def opened(hparams: HParams, folder: Path, step: int | None) -> list[Tracker]:
    """TensorBoard and the trackers asked for; `step` is the one that a run goes on from, None: add to what is there."""
    return [TensorBoard(folder, step), *(LIBRARIES[name](name, hparams, folder) for name in hparams.train.trackers)]
