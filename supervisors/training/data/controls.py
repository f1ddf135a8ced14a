"""The controls of a run: built by name, stored beside its tokens, and asked for by a person."""

import functools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.contracts.control import Control
from core.contracts.dataset import Dataset
from core.contracts.tokenizer import Tokenizer
from core.errors import HubError
from core.names import did_you_mean, nearest
from datatools.batching.controls import Beside
from datatools.preparing import cache
from datatools.preparing.asking import identity
from datatools.preparing.controls import Wanted, prepare_controls
from datatools.preparing.encoding import Build
from datatools.preparing.store import TokenStore
from hparams.base import GenerateHParams, HParams
from hparams.following import settle_controls
from hparams.loading import section_of_tree
from plugins.manager import Manager
from supervisors.artefacts import described
from supervisors.artefacts.foreign_configs import is_foreign


class Wishes(NamedTuple):
    """What is asked of a piece: `values` (c) of all controls, and which of them are asked for at all, `given` (m)."""

    values: NDArray[np.float32]
    given: NDArray[np.bool_]


def controls_of(manager: Manager, hparams: HParams) -> list[Control]:
    """The controls of `model.controls`, in their order; HubError for a name that there is not, and wrong settings."""
    names = hparams.model.controls
    for name in hparams.controls:
        if name not in names:
            raise HubError(f"controls.{name}: model.controls is [{', '.join(names)}]; add it there, or leave it out")
    try:
        return [manager.make("control", _section(manager, hparams, name)) for name in names]
    except ValueError as error:
        raise HubError(str(error)) from error


def _section(manager: Manager, hparams: HParams, name: str) -> Any:
    return section_of_tree(manager.section("control", name), hparams.controls.get(name, {}), f"controls.{name}.")


def learn(manager: Manager, hparams: HParams, dataset: Dataset) -> None:
    """Fills the settings of controls that are left to the labels of the data; hparams.yaml then says them.

    A run that starts from a model takes the model's. HubError where the data has no such labels.
    """
    start = Path(hparams.model.start)
    if hparams.model.start and start.is_dir() and not is_foreign(start):
        settle_controls(hparams, described.settings(start, manager))
    for name in hparams.model.controls:
        if not hasattr(manager.section("control", name), "learn"):
            continue
        section = _section(manager, hparams, name)
        found = cache.labels(dataset)
        words, what = found.get(section.column), f"controls.{name}.column is {section.column!r}"
        if not found:
            raise HubError(f"{what}, and {identity(dataset)} has no labels, such as a labels.csv of a folder has")
        if not words:
            raise HubError(f"{what}, and no piece has it.{did_you_mean(section.column, found)}")
        try:
            section.learn(words)
        except ValueError as error:
            raise HubError(f"{what}: {error}") from error
        hparams.controls[name] = {key: value for key, value in asdict(section).items() if key != "name"}


def insist_suits(manager: Manager, hparams: HParams, tokenizer: Tokenizer) -> None:
    """HubError, before anything is read, for a control that is unknown or does not fit."""
    for name, control in zip(hparams.model.controls, controls_of(manager, hparams), strict=True):
        suits = getattr(control, "suits", None)
        try:
            if suits is not None:
                suits(tokenizer)
        except ValueError as error:
            alike = [other for other in manager.controls if other.startswith(f"{name}_")]
            instead = f"choose {' or '.join(alike)}, or another tokenizer" if alike else "choose another tokenizer"
            raise HubError(f"model.controls: {error}; {instead}, or leave {name} out") from error


def stored(
    manager: Manager,
    hparams: HParams,
    store: TokenStore,
    dataset: Dataset,
    build_tokenizer: Build,
    progress: bool = True,
) -> Beside | None:
    """The run's controls with their vectors for every piece, made when they are not there yet; None without any."""
    names = hparams.model.controls
    if not names:
        return None
    wanted = []
    for name in names:
        entry, section = manager.controls[name], _section(manager, hparams, name)
        assert entry.build is not None
        key = json.dumps([name, entry.distribution, entry.version, asdict(section)], sort_keys=True)
        wanted.append(Wanted(name, functools.partial(entry.build, section), key))
    stores = prepare_controls(wanted, store, dataset, build_tokenizer, hparams.data, progress)
    return Beside(controls_of(manager, hparams), stores, hparams.model.control_dropout, hparams.seed)


def _trained(names: list[str]) -> str:
    """With which controls a model was trained, in words."""
    if not names:
        return "this model was trained without controls"
    if len(names) == 1:
        return f"this model was trained with the control {names[0]} alone"
    return f"this model was trained with the controls {', '.join(names)}"


def _instead(manager: Manager, hparams: HParams, name: str) -> str:
    """What to do about a control that is asked for and that the model has not."""
    names = hparams.model.controls
    of_column = [each for each in names if getattr(_section(manager, hparams, each), "column", None) == name]
    near = of_column[:1] or nearest(name, dict.fromkeys(names, ""))
    if near:
        return f'. Did you mean "{near[0]}"?'
    if name in manager.controls:
        return f"; to ask for {name}, train one with model.controls=[{','.join([*names, name])}]"
    return f'; there is no control "{name}".{did_you_mean(name, manager.controls.about())}'


def wishes(manager: Manager, hparams: HParams) -> Wishes | None:
    """What `generate.controls` asks of every piece; None of a model without controls.

    HubError for a control that the model has not, for a value out of its range, and for guidance towards nothing.
    """
    asked: GenerateHParams = hparams.generate
    names, controls = hparams.model.controls, controls_of(manager, hparams)
    for name in asked.controls:
        if name not in names:
            raise HubError(f"generate.controls.{name}: {_trained(names)}{_instead(manager, hparams, name)}")
    if asked.guidance != 1 and not asked.controls:
        raise HubError(
            f"generate.guidance is {asked.guidance:g}, but nothing is asked for; give generate.controls.NAME=VALUE too"
        )
    if not controls:
        return None
    values, given = [], []
    for name, control in zip(names, controls, strict=True):
        wish: Any = asked.controls.get(name)
        given.append(wish is not None)
        if wish is None:
            values.append(np.zeros(control.dim, dtype=np.float32))
            continue
        try:
            vector = np.asarray(control.parse(str(wish)), dtype=np.float32)
            if vector.shape != (control.dim,) or not np.isfinite(vector).all():
                raise ValueError(f"{wish} is parsed to {vector.tolist()}; expected {control.dim} finite numbers")
        except Exception as error:  # of a plugin, which should raise a ValueError
            said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise HubError(f"generate.controls.{name}: {said}") from error
        values.append(vector)
    return Wishes(np.concatenate(values).astype(np.float32), np.array(given))
