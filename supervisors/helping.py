"""Help that answers: a verb's forms and keys, one section, one plugin; all of it from the dataclasses themselves."""

import textwrap
from collections.abc import Iterable, Iterator
from shlex import quote
from typing import Any

from core.contracts.control import describe_example
from core.errors import HubError
from core.names import did_you_mean
from core.registry import Entry
from hparams.base import HParams
from hparams.bench import BenchHParams
from hparams.compare import CompareHParams
from hparams.hints import meant
from hparams.listen import ListenHParams
from hparams.loading import SLOTS
from hparams.sentences import Setting, settings
from hparams.studio import StudioHParams
from plugins.manager import Manager
from supervisors.intents import verb_meant

# Verb -> its own keys: prefixes of a run's, or a section of its own.
_KEYS: dict[str, tuple[str, ...]] = {
    "train": ("name", "seed", "model.", "data.", "train.", "evaluate.", "checkpoint.", "generate.", "deepspeed"),
    "prepare": ("seed", "data."),
    "evaluate": ("evaluate.", "generate."),
    "generate": ("generate.",),
}
_OWN: dict[str, tuple[str, Any]] = {
    "compare": ("compare.", CompareHParams()),
    "bench": ("", BenchHParams()),
    "listen": ("listen.", ListenHParams()),
    "studio": ("studio.", StudioHParams()),
}
_EXAMPLES = {
    "train": ("--hparams mamba_remi", "--hparams lstm_abc dataset=folder dataset.path=PATH", "--run runs/mamba_remi"),
    "prepare": ("prepare --hparams mamba_remi dataset=folder dataset.path=PATH",),
    "evaluate": ("evaluate --run runs/mamba_remi evaluate.count=16",),
    "generate": (
        "generate --run runs/mamba_remi generate.count=8 generate.bars=16",
        "generate --run runs/mamba_remi generate.prompt=PATH generate.prompt_beats=16",
    ),
    "compare": ("compare mamba_remi lstm_remi compare.seeds=3", "compare mamba_remi train.lr=1e-3,2e-3,4e-3"),
    "bench": ("bench quick=true",),
    "convert": ("convert tune.abc tune.musicxml",),
    "listen": ("listen runs/mamba_remi runs/lstm_remi real listen.pieces=12", "listen --ratings runs/listen"),
    "studio": ("studio --run runs/mamba_remi", "studio studio.port=8000 studio.streams=4"),
    "check": ("check mamba dtype=float32",),
}
_WIDTH = 100


def of_verb(verb: str, usage: str, manager: Manager) -> str:
    """The verb's lines of the usage, its keys with defaults and sentences, and examples."""
    lines = usage.splitlines()
    begun = next(i for i, line in enumerate(lines) if line.split()[:1] == [verb])
    ended = next((i for i in range(begun + 1, len(lines)) if not lines[i].startswith("   ")), len(lines))
    out = [_usage(verb, line.strip()) for line in lines[begun:ended]]
    if verb in ("train", "prepare"):
        for slot in SLOTS:
            registry = manager.registry(slot)
            out.append(f"  {slot}=NAME: {', '.join(sorted(registry))}; its own keys: help {slot}=NAME")
    if verb in _OWN:
        out += listed(settings(_OWN[verb][1], _OWN[verb][0]))
    elif verb in _KEYS:
        out += listed(one for one in settings(HParams()) if one.key.startswith(_KEYS[verb]))
    out += ["", *(f"python -m supervisors.run {line}" for line in _EXAMPLES.get(verb, ()))]
    return "\n".join(out).rstrip() + "\n"


def _usage(verb: str, line: str) -> str:
    """A line of the usage with the verb, which it leaves out where the one above it has it."""
    return f"swaptunes {line}" if line.split()[0] == verb else f"swaptunes {verb} {line}"


def of_key(asked: str, manager: Manager) -> str:
    """One key or section of a run ("data.augment", "train.lr"), or a plugin's own ("backbone=mamba2")."""
    slot, equals, name = asked.partition("=")
    if slot == "control" and equals:
        entry = manager.controls[name]
        return "\n".join([f"control={name}: {entry.about}", *of_control(entry)]) + "\n"
    if equals and slot in SLOTS:
        section = manager.section(slot, name)
        about = (type(section).__doc__ or "").strip().splitlines()[:1]
        return "\n".join([f"{slot}={name}: {' '.join(about)}", *listed(settings(section, f"{slot}."))]) + "\n"
    whole = [*settings(HParams()), *(one for prefix, own in _OWN.values() if prefix for one in settings(own, prefix))]
    plain = asked.partition("=")[0].rstrip(".")
    found = [one for one in whole if one.key == plain or one.key.startswith(f"{plain}.")]
    if not found and plain.partition(".")[0] in SLOTS:
        kind = plain.partition(".")[0]
        registry = manager.registry(kind)
        return (
            f"{kind}.* are the keys of the {kind} that is chosen: help {kind}=NAME with {', '.join(sorted(registry))}\n"
        )
    if not found:
        tops = {one.key.partition(".")[0] for one in whole}
        hint = verb_meant(plain, slips=False) or meant(plain, [one.key for one in whole]) or did_you_mean(plain, tops)
        raise HubError(f'there is no key "{asked}".{hint}')
    return "\n".join(listed(found)) + "\n"


def of_control(entry: Entry) -> Iterator[str]:
    """How a control is trained with and asked for, what values it takes, and its settings."""
    assert entry.build is not None and entry.hparams is not None
    name = entry.name
    try:
        control = entry.build(entry.hparams())
        takes, example = control.describe(), describe_example(control) or "VALUE"
    except ValueError:  # it learns them
        takes, example = "what the data's labels hold; a run's hparams.yaml lists them", "VALUE"
    yield f"  takes {takes}"
    yield f"  train with it:  model.controls=[{name}]"
    yield f"  then ask:       generate --run FOLDER {quote(f'generate.controls.{name}={example}')}"
    yield from listed(settings(entry.hparams(), f"controls.{name}."))


def listed(found: Iterable[Setting]) -> Iterator[str]:
    """`key=default` of each setting, and its sentence below, wrapped."""
    for one in found:
        yield f"  {one.key}={shown(one.default)}"
        yield from textwrap.wrap(one.sentence, _WIDTH, initial_indent="      ", subsequent_indent="      ")


def shown(value: Any) -> str:
    """A default as a person would type it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(shown, value)) + "]"
    return "" if value in ("", None) or value == {} else str(value)


def table(manager: Manager) -> str:
    """Every key that there is, as Markdown: a run's, then each plugin's own."""
    parts = [("A run", list(settings(HParams())))]
    parts += [(f"`{verb}`", list(settings(own, prefix))) for verb, (prefix, own) in _OWN.items()]
    for slot in SLOTS:
        registry = manager.registry(slot)
        for entry in sorted(registry.values(), key=lambda entry: entry.name):
            if entry.distribution == "swaptunes":
                own_keys = list(settings(manager.section(slot, entry.name), f"{slot}."))
                if own_keys:
                    parts.append((f"`{slot}={entry.name}`", own_keys))
    out = []
    for title, rows in parts:
        out += [f"### {title}", "", "| key | default | meaning |", "|---|---|---|"]
        out += [f"| `{one.key}` | {_cell(one.default)} | {one.sentence.replace('|', '/')} |" for one in rows]
        out.append("")
    return "\n".join(out)


def _cell(value: Any) -> str:
    text = shown(value)
    return f"`{text}`" if text else ""
