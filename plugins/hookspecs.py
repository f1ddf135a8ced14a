"""The whole extension surface: each hook is called once at start with a `register` callable and returns nothing."""

from collections.abc import Callable

import pluggy

hookspec = pluggy.HookspecMarker("swaptunes")


@hookspec
def register_backbones(register: Callable[..., None]) -> None:
    """Call `register(name, hparams, build)`; `build(hparams)` returns a Backbone.

    `model_types` names the kinds of other libraries' checkpoints, as their config.json does, whose weights it takes.
    """


@hookspec
def register_tokenizers(register: Callable[..., None]) -> None:
    """Call `register(name, hparams, build)`; `build(hparams, folder=None)` returns a Tokenizer.

    `folder` has what the tokenizer's `save` wrote.
    """


@hookspec
def register_datasets(register: Callable[..., None]) -> None:
    """Call `register(name, hparams, build)`; `build(hparams)` returns a Dataset."""


@hookspec
def register_supervisors(register: Callable[..., None]) -> None:
    """Call `register(name, hparams, build)`; `build(hparams, manager, folder)` returns a Supervisor.

    `hparams` at registration is the supervisor's own section, what `build` gets are those of the whole run. Of all
    plugins only these may import the hub: `supervisors.training.token_supervisor` has a class to begin with.
    `data(hparams, manager, folder)`, if given, has `load_data` and `prepared` alone, for who wants no model.
    """


@hookspec
def register_controls(register: Callable[..., None]) -> None:
    """Call `register(name, hparams, build)`; `build(hparams)` returns a Control, as `core.contracts.control` has it."""


@hookspec
def register_metrics(register: Callable[..., None]) -> None:
    """Call `register(name, function, unit=..., higher_is_better=...)`.

    `function(generated, reference, ...)` returns a float or a dict; by keyword-only parameters it may ask for
    `training` and `prompts`. `headline=True`: people look for it first. `apart=True`: `evaluate` does not measure it
    with the others, for it has a section of its own.
    """


@hookspec
def register_presets(register: Callable[..., None]) -> None:
    """Call `register(function)`; `function()` returns HParams, and its name is the preset's."""
