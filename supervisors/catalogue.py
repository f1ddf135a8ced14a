"""What there is to choose from: every plugin in a sentence, and all about one."""

import inspect
from collections.abc import Iterator
from typing import Any

from core.registry import Entry
from hparams.base import HParams
from hparams.loading import SLOTS
from plugins.manager import LAWFUL, Manager
from supervisors.helping import listed, shown

_WIDEST = 110  # characters of a sentence in the table


def listing(manager: Manager) -> str:
    """A line for each plugin, kind by kind: its name, what it is and whose; then the broken ones with their error."""
    rows = [
        (entry.kind, entry.name, f"{entry.distribution} {entry.version}".strip(), _told(entry, manager))
        for registry in manager.registries
        for entry in sorted(registry.values(), key=lambda entry: entry.name)
    ]
    for name, error in sorted(manager.broken.items()):
        rows.append(("broken", name, f"{error.distribution} {error.version}", str(error)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    cells = ([cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)] for row in rows)
    return "\n".join("  ".join(row) for row in cells)


def about(manager: Manager, name: str) -> str:
    """All about whatever bears a name; HubError, with the nearest name, when nothing does."""
    found = [registry[name] for registry in manager.registries if name in registry]
    if not found and name in manager.preset_names():
        return "\n".join(_preset(manager.preset(name), "made of both plugins' defaults", manager))
    if not found:
        for registry in manager.registries:
            if any(error.bears(registry.kind, name) for error in manager.broken.values()):
                registry[name]  # raises what broke it
        known = [name for registry in manager.registries for name in registry]
        raise manager.presets.missing(name, [*known, *manager.preset_names()], "plugin")
    return "\n\n".join("\n".join(_entry(entry, manager)) for entry in found)


def _entry(entry: Entry, manager: Manager) -> Iterator[str]:
    yield f"{entry.kind} {entry.name}, of {entry.distribution} {entry.version} ({entry.where})"
    if entry.kind == "preset":
        yield from _preset(manager.preset(entry.name), document(entry), manager)
        return
    yield f"  {document(entry)}"
    if entry.hparams is not None:
        from hparams.sentences import settings

        keys = [one for one in settings(entry.hparams(), f"{entry.kind}.") if one.key != f"{entry.kind}.name"]
        yield from listed(keys)
    wishes = " ".join(f"{key}={shown(value)}" for key, value in entry.defaults.items())
    if wishes:
        yield f"  composed presets get {wishes}"
    for key, value in entry.extra.items():
        yield f"  {key.replace('_', ' ')}: {shown(value) if value is not None else 'neither'}"
    if entry.kind == "backbone":
        yield f"  {_parameters(entry):,} parameters with these defaults, without embedding and head"
    if entry.kind == "dataset":
        made = manager.make("dataset", manager.section("dataset", entry.name))
        yield f"  licence: {made.license}; from {made.url or 'your own files'}"
    if entry.kind in LAWFUL:
        yield f"  its laws: python -m supervisors.run check {entry.name}"


def _preset(hparams: HParams, said: str, manager: Manager) -> Iterator[str]:
    yield f"  {said}"
    for slot in SLOTS:
        yield f"  {slot} {getattr(hparams, slot).name}"
    entry = manager.backbones[hparams.backbone.name]
    yield f"  {_parameters(entry, hparams.backbone):,} parameters of the backbone, without embedding and head"
    steps = f"{hparams.train.steps:,}" if hparams.train.steps else "chosen from the data"
    yield f"  steps: {steps}, each of {hparams.data.batch_size} rows of {hparams.data.length} tokens"
    yield f"  what it would take here: python -m supervisors.run plan --hparams {hparams.name}"


def _told(entry: Entry, manager: Manager) -> str:
    """The first line of what a plugin says of itself, of a preset with its parts."""
    line = document(entry).partition("\n")[0]
    if entry.kind == "preset":
        hparams = manager.preset(entry.name)
        sizes = f"{hparams.backbone.name} {hparams.backbone.dim} x {hparams.backbone.layers}"
        line = f"{sizes}, {hparams.tokenizer.name}, {hparams.dataset.name}: {line}"
    return line if len(line) <= _WIDEST else line[: _WIDEST - 3] + "..."


def document(entry: Entry) -> str:
    """The docstring of a plugin's hyper-parameters or function, else of what builds it."""
    things: tuple[Any, ...] = (entry.hparams, entry.function, entry.build)
    for thing in things:
        said = inspect.getdoc(thing) if thing is not None else None
        # dataclasses make one up from the fields, which is no sentence
        if said and not said.startswith(f"{getattr(thing, '__name__', '')}("):
            return said
    return ""


def _parameters(entry: Entry, hparams: Any = None) -> int:
    import torch

    assert entry.build is not None and entry.hparams is not None
    with torch.device("meta"):
        model = entry.build(hparams if hparams is not None else entry.hparams())
    return sum(parameter.numel() for parameter in model.parameters())
