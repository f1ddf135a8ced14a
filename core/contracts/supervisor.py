"""The contract of a supervisor: the owner of a run, from its data to what it shares, plays and says of itself."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Supervisor(Protocol):
    """What the verbs of the command, and the laws, ask of the owner of a run.

    Built as `build(hparams, manager, folder)` from the hyper-parameters of the whole run, the plugins and the run's
    folder; building reads and writes nothing. Everything random is a function of (seed, step, replica). Under several
    processes each one builds its own and calls the same methods in the same order; the first one alone writes.
    """

    step: int  # optimizer steps done
    steps: int  # of the whole run; 0 until the data has said how many

    def load_data(self) -> None:
        """Prepares the data and what tells it in tensors."""
        ...

    def build_model(self) -> None:
        """Builds the fresh model and the engine that trains it; after `load_data`."""
        ...

    def train(self) -> None:
        """Loads, builds and goes on from the newest checkpoint in the folder to the last step; logs and saves."""
        ...

    def train_step(self, step: int) -> dict[str, float]:
        """One optimizer step from the data of step `step`; loss, lr, grad_norm and tokens, the loss a mean over what is
        counted in the whole step, however many processes and micro-batches share it."""
        ...

    def validate(self) -> dict[str, float]:
        """Measures on validation data, `valid_loss` among them: the lowest one marks the best model."""
        ...

    def evaluate(self) -> dict[str, Any]:
        """The figures of the best model, which are also written to evaluation.json."""
        ...

    def open(self) -> None:
        """Takes the trained model that lies in the folder, a run or an artefact, as the best one; needs no data."""
        ...

    def generate(self, out: Path | None = None) -> list[Path]:
        """Writes pieces by the best model to `out`, or among the run's samples; returns the files of music."""
        ...
