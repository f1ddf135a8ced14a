"""What one plugin registers: every claim is checked at once, and nothing counts until all its hooks have returned."""

import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import FrameType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from core.errors import HubError
from core.names import did_you_mean
from core.registry import Entry, Registry, name_taken
from hparams.base import HParams

KINDS = {
    "register_supervisors": "supervisor",
    "register_backbones": "backbone",
    "register_tokenizers": "tokenizer",
    "register_datasets": "dataset",
    "register_controls": "control",
    "register_metrics": "metric",
    "register_presets": "preset",
}
HOOKS = tuple(KINDS)
BACKBONE_FIELDS = ("dim", "layers", "dropout")
METRIC_REQUESTS = ("training", "prompts")
PLAIN: dict[Any, Any] = {int: int, float: (int, float), bool: bool, str: str}  # types of a setting -> of its default
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class Registration:
    """The `register` callables of one plugin, and the entries that it made through them."""

    def __init__(self, plugin: str, distribution: str, version: str, registries: Mapping[str, Registry]) -> None:
        self.entries: list[Entry] = []
        self.asked: set[tuple[str, str]] = set()
        self._plugin = plugin
        self._distribution = distribution
        self._version = version
        self._registries = registries
        self._open = True

    def of(self, hook: str) -> Callable[..., None]:
        """The `register` callable that is handed to one hook."""
        kind = KINDS[hook]
        if kind == "metric":
            return self._metric
        if kind == "preset":
            return self._preset
        return functools.partial(self._thing, kind)

    def close(self) -> None:
        """Makes later calls an error: a plugin that kept `register` would change a hub that is already at work."""
        self._open = False

    def _thing(
        self,
        kind: str,
        name: str,
        hparams: type,
        build: Callable[..., Any],
        *,
        defaults: Mapping[str, Any] | None = None,
        model_types: Sequence[str] = (),
        data: Callable[..., Any] | None = None,
    ) -> None:
        self._claim(kind, name)
        for key, given in (("build", build), ("data", build if data is None else data)):
            if not callable(given):
                raise HubError(f'{kind} "{name}" has {key} {given!r}; expected a callable that takes the hparams')
        check_hparams(kind, name, hparams)
        check_defaults(kind, name, {} if defaults is None else defaults)
        things = {"hparams": hparams, "build": build, "data": data, "defaults": dict(defaults or {})}
        if model_types:
            things["extra"] = {"model_types": tuple(model_types)}
        self._add(kind, name, location(build, sys._getframe(1)), **things)

    def _metric(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        unit: str,
        higher_is_better: bool | None,
        headline: bool = False,
        apart: bool = False,
    ) -> None:
        self._claim("metric", name)
        if not callable(function):
            raise HubError(f'metric "{name}" has function {function!r}; expected a callable')
        if not isinstance(unit, str):
            raise HubError(f'metric "{name}" has unit {unit!r}; expected text, such as "semitones"')
        if not (higher_is_better is None or isinstance(higher_is_better, bool)):
            raise HubError(f'metric "{name}" has higher_is_better {higher_is_better!r}; expected True, False or None')
        for parameter in inspect.signature(function).parameters.values():
            needed = parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
            if needed and parameter.name not in METRIC_REQUESTS:
                asked = ", ".join(METRIC_REQUESTS)
                raise HubError(f'metric "{name}" asks for "{parameter.name}"; it may ask for {asked}')
        extra = {"unit": unit, "higher_is_better": higher_is_better, "headline": headline, "apart": apart}
        self._add("metric", name, location(function, sys._getframe(1)), function=function, extra=extra)

    def _preset(self, function: Callable[[], Any]) -> None:
        name = getattr(function, "__name__", repr(function))
        self._claim("preset", name)
        if not callable(function):
            raise HubError(f'preset "{name}" is {function!r}; expected a function without arguments')
        self._add("preset", name, location(function, sys._getframe(1)), function=function)

    def _claim(self, kind: str, name: str) -> None:
        if not self._open:
            raise HubError(f'{kind} "{name}" of plugin "{self._plugin}" came after its hook had returned')
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise HubError(f"{kind} is called {name!r}; expected lower-case words of a-z and 0-9 joined by underscores")
        self.asked.add((kind, name))

    def _add(self, kind: str, name: str, place: tuple[str, int], **things: Any) -> None:
        entry = Entry(name, kind, self._plugin, self._distribution, self._version, *place, **things)
        registry = self._registries[entry.kind]
        taken = [registry[entry.name]] if entry.name in registry else []
        taken += [mine for mine in self.entries if (mine.kind, mine.name) == (entry.kind, entry.name)]
        if taken:
            raise name_taken(taken[0], entry)
        self.entries.append(entry)


def check_hparams(kind: str, name: str, hparams: type) -> None:
    """HubError unless `hparams` is a dataclass whose fields all have defaults and whose `name` is Literal[name]."""
    if not (isinstance(hparams, type) and is_dataclass(hparams)):
        raise HubError(f'{kind} "{name}" has hparams {hparams!r}; expected a dataclass')
    place = f'{kind} "{name}": {hparams.__qualname__}'
    bare = [field.name for field in fields(hparams) if field.default is MISSING and field.default_factory is MISSING]
    if bare:
        raise HubError(f"{place}.{bare[0]} has no default; every field needs one")
    hint = get_type_hints(hparams).get("name")
    if get_origin(hint) is not Literal or get_args(hint) != (name,):
        raise HubError(f'{place}.name is typed {hint}; expected Literal["{name}"], so that no other name slips in')
    present = {field.name for field in fields(hparams)}
    for needed in BACKBONE_FIELDS if kind == "backbone" else ():
        if needed not in present:
            raise HubError(f"{place} has no field {needed}; a backbone's has {', '.join(BACKBONE_FIELDS)}")
    made = hparams()
    for key, expected in get_type_hints(hparams).items():
        value = getattr(made, key, None)
        if key in present and expected in PLAIN and not isinstance(value, PLAIN[expected]):
            raise HubError(f"{place}.{key} is {value!r} by default; expected {expected.__name__}, as it is typed")
    found = getattr(made, "name", None)
    if found != name:
        raise HubError(f'{place}.name is {found!r} by default; expected "{name}"')


def check_defaults(kind: str, name: str, defaults: Any) -> None:
    """HubError unless `defaults` maps dotted keys of a run's hyper-parameters, such as "train.lr", to values."""
    if not isinstance(defaults, Mapping) or not all(isinstance(key, str) for key in defaults):
        raise HubError(f'{kind} "{name}" has defaults {defaults!r}; expected a mapping such as {{"train.lr": 1e-3}}')
    sections = {field.name for field in fields(HParams)}
    for key in defaults:
        if key.partition(".")[0] not in sections:
            raise HubError(f'{kind} "{name}" has defaults for "{key}".{did_you_mean(key, sections)}')


def location(thing: object, caller: FrameType) -> tuple[str, int]:
    """File and first line of the thing where the plugin itself wrote it, else of the plugin's call of `register`."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    thing = inspect.unwrap(thing) if callable(thing) else thing
    called = caller.f_code.co_filename
    code = getattr(getattr(thing, "__func__", thing), "__code__", None)
    if code is not None and code.co_filename == called:
        return called, code.co_firstlineno
    if isinstance(thing, type):
        try:
            if inspect.getsourcefile(thing) == called:
                return called, inspect.getsourcelines(thing)[1]
        except (OSError, TypeError):
            pass  # made at run time: there is no source
    return called, caller.f_lineno
