"""Settings that may be left to the data: `auto` until these have been looked at, then true or false; words of controls.

A section that has such fields names them in a class attribute `follows`: field -> the attribute of a survey's row that
says whether a piece has what the field would tell.
"""

from collections.abc import Mapping
from typing import Any, Literal

AUTO = "auto"
Follows = bool | Literal["auto"]


def left_open(section: Any) -> dict[str, str]:
    """Field -> what of the data decides it, for the fields of `section` that are still `auto`."""
    follows: dict[str, str] = getattr(type(section), "follows", {})
    return {key: of for key, of in follows.items() if getattr(section, key) == AUTO}


def settle(section: Any, settled: Any) -> None:
    """Gives each field of `section` that is still `auto` its value in `settled`, where that is of the same plugin."""
    for key in left_open(section):
        if settled.name == section.name:
            setattr(section, key, getattr(settled, key))


def settle_controls(hparams: Any, settled: Any) -> None:
    """Gives the controls of a run what another run's are, where `hparams` itself says nothing."""
    for name, known in settled.controls.items():
        own = hparams.controls.get(name, {})
        if name in hparams.model.controls and isinstance(own, Mapping):
            hparams.controls[name] = {**known, **own}
