"""Names and what plugins brought under them: looked up with a helpful error, never overwritten, at last frozen."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import HubError
from core.names import did_you_mean


@dataclass(frozen=True)
class Entry:
    """One registered thing and where it comes from; `build` makes backbones, tokenizers and datasets, `data` what loads
    the data of a supervisor and no more, `function` is a metric or a preset; `defaults` (dotted key -> value) is what a
    preset composed of it should set."""

    name: str
    kind: str
    plugin: str
    distribution: str
    version: str
    file: str
    line: int
    hparams: type | None = None
    build: Callable[..., Any] | None = None
    data: Callable[..., Any] | None = None
    function: Callable[..., Any] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def about(self) -> str:
        """What a plugin says of itself: the first line of its settings', its function's or its module's docstring."""
        thing: Any = self.hparams or self.function
        while hasattr(thing, "func"):
            thing = thing.func
        own, module = inspect.getdoc(thing) or "", inspect.getdoc(inspect.getmodule(thing)) or ""
        if self.hparams is not None and own.startswith(f"{self.hparams.__name__}("):  # the dataclass wrote it
            own = ""
        return (own or module).partition("\n")[0]

    @property
    def where(self) -> str:
        """`file:line`, as editors understand it."""
        return f"{self.file}:{self.line}"


class BrokenPlugin(HubError):
    """Why a plugin was skipped; `__cause__` is its own error.

    `names` holds the (kind, name) of all that it had begun to register.
    """

    def __init__(self, message: str, *, plugin: str, distribution: str, version: str, file: str, line: int) -> None:
        super().__init__(message)
        self.plugin = plugin
        self.distribution = distribution
        self.version = version
        self.file = file
        self.line = line
        self.names: set[tuple[str, str]] = set()

    def bears(self, kind: str, name: str) -> bool:
        """Whether somebody who asks for `name` may mean this plugin."""
        plain = name.lower().replace("-", "_")
        own = {self.plugin.lower().replace("-", "_"), self.distribution.lower().replace("-", "_")}
        return (kind, name) in self.names or plain in own


class Registry:
    """Entries of one kind by name. `registry[name]` raises a HubError: a broken plugin's own, else "Did you mean"."""

    def __init__(self, kind: str, broken: Mapping[str, BrokenPlugin]) -> None:
        self.kind = kind
        self._broken = broken
        self._entries: dict[str, Entry] = {}
        self._frozen = False

    def add(self, entry: Entry) -> None:
        """Takes an entry; HubError with both places when the name is taken, or after `freeze`."""
        if self._frozen:
            raise HubError(f'{self.kind} "{entry.name}" at {entry.where} came after loading; register it in a hook')
        taken = self._entries.get(entry.name)
        if taken is not None:
            raise name_taken(taken, entry)
        self._entries[entry.name] = entry

    def freeze(self) -> None:
        """Ends registration."""
        self._frozen = True

    def __getitem__(self, name: str) -> Entry:
        if name in self._entries:
            return self._entries[name]
        for error in self._broken.values():
            if error.bears(self.kind, name):
                raise error
        raise self.missing(name, did_you_mean(name, self.about()))

    def about(self) -> dict[str, str]:
        """What each says of itself, by name."""
        return {name: entry.about for name, entry in self._entries.items()}

    def missing(self, name: str, hint: str, kind: str = "") -> HubError:
        """The error for a name that nobody bears; tells what was skipped, since that may be meant."""
        skipped = f" Skipped because broken: {', '.join(sorted(self._broken))}." if self._broken else ""
        return HubError(f'there is no {kind or self.kind} "{name}".{hint}{skipped}')

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def values(self) -> list[Entry]:
        """Entries in the order of registration."""
        return list(self._entries.values())


def name_taken(old: Entry, new: Entry) -> HubError:
    """The error for a second thing of the same kind and name."""
    return HubError(
        f'{new.kind} "{new.name}" of plugin "{new.plugin}" ({new.where}) is taken: plugin "{old.plugin}" '
        f"({old.distribution} {old.version}) registered it at {old.where}; rename one of them"
    )
