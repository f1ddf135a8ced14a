"""`list`: every plugin in a sentence, or all about one of them."""

from core.errors import HubError
from core.names import did_you_mean
from core.registry import Entry
from core.words import counted
from hparams.sentences import settings
from plugins.manager import LAWFUL, Manager, describe
from supervisors.helping import listed, of_control, shown

_VOCABULARY = 512  # of the language model that a backbone's parameters are told for


def everything(manager: Manager) -> str:
    """A line a plugin: kind, name, its sentence, where it comes from; the broken ones with their error."""
    about = {(entry.kind, entry.name): entry.about for registry in manager.registries for entry in registry.values()}
    rows = []
    for row in describe(manager):
        said = row.error or about.get((row.kind, row.name), "")
        rows.append((row.kind, row.name, said, f"{row.distribution} {row.version}  {row.where}"))
    rows.append(
        ("preset", "<backbone>_<tokenizer>", "Any backbone with any tokenizer, composed of what both wish.", "")
    )
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2]] + ([f"[{row[3]}]"] if row[3] else []))
        for row in rows
    )


def one(manager: Manager, name: str) -> str:
    """All about everything of this name."""
    found = [entry for registry in manager.registries for entry in registry.values() if entry.name == name]
    if not found:
        known = dict.fromkeys(manager.preset_names(), "")
        known |= {name: about for registry in manager.registries for name, about in registry.about().items()}
        if name in manager.preset_names():
            return _preset(manager, name, "")
        raise HubError(f'there is no plugin "{name}".{did_you_mean(name, known)}')
    return "\n\n".join(_about(manager, entry) for entry in found)


def _about(manager: Manager, entry: Entry) -> str:
    if entry.kind == "preset":
        return _preset(manager, entry.name, entry.about)
    lines = [
        f"{entry.kind} {entry.name}: {entry.about}",
        f"  from {entry.distribution} {entry.version}, {entry.where}",
    ]
    if entry.defaults:
        told = ", ".join(f"{key}={shown(value)}" for key, value in entry.defaults.items())
        lines.append(f"  wishes, where a preset is composed of it: {told}")
    if entry.extra:
        lines.append("  " + ", ".join(f"{key}: {value}" for key, value in entry.extra.items() if not callable(value)))
    if entry.kind == "control":
        lines += of_control(entry)
    elif entry.hparams is not None:
        lines += listed(settings(entry.hparams(), f"{entry.kind}."))
    if entry.kind == "backbone":
        from supervisors.sizes import parameters

        assert entry.hparams is not None
        count = parameters(entry, entry.hparams(), _VOCABULARY)
        lines.append(f"  {count:,} parameters by default, with embedding and head of {_VOCABULARY} tokens")
    if entry.kind in LAWFUL:
        lines.append(f"  its laws: python -m supervisors.run check {entry.name}")
    return "\n".join(lines)


def _preset(manager: Manager, name: str, said: str) -> str:
    hparams = manager.preset(name)
    data, train = hparams.data, hparams.train
    steps = counted(train.steps, "step") if train.steps else "steps chosen from the data"
    lines = [
        f"preset {name}: {said}".rstrip(": "),
        f"  backbone={hparams.backbone.name} tokenizer={hparams.tokenizer.name} dataset={hparams.dataset.name}",
        f"  {steps} of {counted(data.batch_size, 'row')} of {data.length} tokens",
        f"  all settings, size and minutes here: python -m supervisors.run --hparams {name} dry=true",
    ]
    return "\n".join(lines)
