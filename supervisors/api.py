"""The hub from Python, in a script or a notebook: runs in variables, music as scores, the same words as the command's.

Settings are the command's: a mapping of dotted keys for a whole run, plain keywords where one section is meant.
"""

import argparse
import contextlib
import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.contracts.piece import Piece
from core.seeds import fresh_seed
from datatools.reading import scores
from hparams.base import HParams
from plugins.manager import load_manager
from supervisors import verbs
from supervisors.artefacts import described
from supervisors.asking import existing, runs_folder
from supervisors.helping import shown
from supervisors.opening import opened


class Run:
    """A trained run, or a folder that somebody shared."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()  # a notebook may go elsewhere

    @property
    def hparams(self) -> HParams:
        """The settings it was trained with."""
        return described.settings(self.folder, load_manager())

    @property
    def results(self) -> dict[str, Any]:
        """What evaluation.json holds."""
        found: dict[str, Any] = json.loads((self.folder / "evaluation.json").read_text(encoding="utf-8"))
        return found

    def generate(self, **settings: Any) -> list[Piece]:
        """New pieces in memory; `settings` are those of `generate.*`, e.g. count=2, bars=8, prompt="tune.mid".

        With `out` the files stay there, as the command writes them. A fresh seed is drawn unless `seed` is given.
        HubError as the command's.
        """
        settings = {"seed": fresh_seed(), "formats": [], **settings}
        supervisor = opened(self.folder, _words(settings, "generate."), load_manager(), ("generate.",))
        with tempfile.TemporaryDirectory() as temporary:
            files = supervisor.generate(Path(settings.get("out") or temporary))
            pieces = [scores.read(path) for path in files]
            for piece in pieces:
                _ = piece.score  # read before the files go
        return pieces

    def evaluate(self, **settings: Any) -> dict[str, Any]:
        """Scores the model and its music in full, as the verb does; `settings` are those of `evaluate.*`."""
        _quietly(verbs.evaluate, "evaluate", _words(settings, "evaluate."), run=str(self.folder))
        return self.results

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"


def open_run(folder: str | Path) -> Run:
    """A run by its folder or its name, or a folder that somebody shared; HubError where there is none."""
    run = Run(existing(argparse.Namespace(run=str(folder)), "open_run"))
    _ = run.hparams  # whether a model lies there
    return run


def train(preset: str, settings: Mapping[str, Any] | None = None) -> Run:
    """Trains a preset to its end, or goes on with the run of its name, with bars of progress; the run.

    HubError as the command's; KeyboardInterrupt when it was stopped, after saving.
    """
    settings = settings or {}
    if _quietly(verbs.train, "train", _words(settings), hparams=preset):
        raise KeyboardInterrupt
    manager = load_manager()
    name = settings.get("name") or manager.preset(preset).name or preset
    return Run(runs_folder() / str(name))


def compare(*subjects: str | Path | Run, **settings: Any) -> list[dict[str, Any]]:
    """Runs and presets beside each other, as the verb sets them; the tables of compare.json.

    `settings` are those of `compare.*`, and `name`, the folder's.
    """
    from supervisors.comparison.verb import compare as verb

    name = str(settings.pop("name", "compare"))
    words = [str(subject.folder if isinstance(subject, Run) else subject) for subject in subjects]
    _quietly(verb, "compare", [*words, *_words(settings, "compare."), f"name={name}"])
    found: list[dict[str, Any]] = json.loads((runs_folder() / name / "compare.json").read_text(encoding="utf-8"))
    return found


def _words(settings: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Settings as the command takes them."""
    return [f"{prefix}{key}={shown(value)}" for key, value in settings.items()]


def _quietly(verb: Any, name: str, words: list[str], *, hparams: str = "", run: str = "") -> int:
    """A verb without what it prints; its exit code."""
    options = argparse.Namespace(verb=name, words=words, hparams=hparams, run=run)
    with contextlib.redirect_stdout(io.StringIO()):
        return int(verb(options))
