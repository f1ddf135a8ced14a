"""The plugin host: finds plugins, calls each by itself, and keeps what they registered by kind and name."""

import os
from collections.abc import Callable, Iterable
from configparser import ConfigParser
from functools import lru_cache
from importlib import import_module, metadata
from inspect import isclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pluggy

from core.errors import HubError
from core.log import logger
from core.names import did_you_mean, likest, meaning, nearest
from core.registry import BrokenPlugin, Registry
from hparams.base import HParams
from plugins import hookspecs
from plugins.built_in import BUILT_IN
from plugins.composing import compose, whole
from plugins.faults import broken_plugin
from plugins.guarding import guarded
from plugins.making import made
from plugins.registration import HOOKS, Registration
from plugins.sections import Sections

GROUP = "swaptunes"
VARIABLE = "SWAPTUNES_LOAD_PLUGINS"
LAWFUL = ("backbone", "tokenizer", "supervisor", "control")  # the kinds that `check` has laws for


class Manager:
    """Registries of everything that the plugins brought; `broken` keeps the error of each one that was skipped."""

    def __init__(self) -> None:
        self.broken: dict[str, BrokenPlugin] = {}
        self.supervisors = Registry("supervisor", self.broken)
        self.backbones = Registry("backbone", self.broken)
        self.tokenizers = Registry("tokenizer", self.broken)
        self.datasets = Registry("dataset", self.broken)
        self.controls = Registry("control", self.broken)
        self.metrics = Registry("metric", self.broken)
        self.presets = Registry("preset", self.broken)
        self._host = pluggy.PluginManager(GROUP)
        self._host.add_hookspecs(hookspecs)

    @property
    def section(self) -> Sections:
        """Every plugin's default hyper-parameters; of a manager's copy, by the copy's own registries."""
        return Sections(self.registry)

    @property
    def registries(self) -> tuple[Registry, ...]:
        """All registries, in the order in which `list` prints them."""
        slots = self.supervisors, self.backbones, self.tokenizers, self.datasets
        return (*slots, self.controls, self.metrics, self.presets)

    def registry(self, kind: str) -> Registry:
        """The registry of one kind; of a slot of the hyper-parameters, it has the slot's name."""
        (found,) = (registry for registry in self.registries if registry.kind == kind)
        return found

    def add(self, name: str, load: Callable[[], object], distribution: str = "", version: str = "") -> bool:
        """Loads one plugin, calls its hooks and takes all that it registered, or nothing of it.

        A failure of any kind, a plugin that ends the process included, is logged, kept in `broken` and answered False.
        """
        by_kind = {registry.kind: registry for registry in self.registries}
        claims = Registration(name, distribution, version, by_kind)
        namesake = self._host.get_plugin(name)
        try:
            with guarded(name):
                plugin = load()
                self._register(plugin, name)
                for hook in HOOKS:
                    self._call(hook, plugin, claims)
        except (Exception, SystemExit) as error:
            if namesake is None and self._host.has_plugin(name):
                self._host.unregister(name=name)
            broken = broken_plugin(error, name, distribution, version)
            broken.names.update(claims.asked)
            self.broken[name if name not in self.broken else f"{name} ({distribution} {version})"] = broken
            logger.warning("skipped: %s", broken)
            return False
        finally:
            claims.close()
        for entry in claims.entries:
            by_kind[entry.kind].add(entry)
        return True

    def freeze(self) -> None:
        """Ends registration; what is there stays the same for the life of the process."""
        for registry in self.registries:
            registry.freeze()

    def preset(self, name: str) -> HParams:
        """The hyper-parameters of a registered preset, else of `<backbone>_<tokenizer>` with both plugins' defaults."""
        if name in self.presets:
            return whole(self.presets[name], self.section)
        halves = _halves(name)
        fits = [(left, right) for left, right in halves if left in self.backbones and right in self.tokenizers]
        if len(fits) > 1:
            pairs = " or ".join(f'backbone "{left}" with tokenizer "{right}"' for left, right in fits)
            raise HubError(f'preset "{name}" may be {pairs}; give a preset of either and backbone=, tokenizer=')
        if not fits:
            self._raise_broken(name, halves)
            raise self.presets.missing(name, self.preset_hint(name))
        return compose(name, self.backbones[fits[0][0]], self.tokenizers[fits[0][1]], self.section)

    def make(self, slot: str, section: Any, *more: Any) -> Any:
        """What the plugin that a slot's section names builds from it, e.g. `make("dataset", hparams.dataset)`.

        HubError, which names the plugin, where that fails or is not what the contract says.
        """
        return made(self.registry(slot)[section.name], section, *more)

    def supervise(self, hparams: HParams, folder: Path) -> Any:
        """The owner of a run in `folder`, as the run's hyper-parameters name it: a `core.contracts.supervisor`."""
        return made(self.supervisors[hparams.supervisor.name], hparams, self, folder)

    def data_of(self, hparams: HParams, folder: Path) -> Any:
        """What loads a run's data and no more: what its supervisor registered as `data`, else the supervisor itself."""
        data = self.supervisors[hparams.supervisor.name].data
        return self.supervise(hparams, folder) if data is None else data(hparams, self, folder)

    def preset_names(self) -> list[str]:
        """Every name that `preset` accepts, sorted."""
        composed = {f"{backbone}_{tokenizer}" for backbone in self.backbones for tokenizer in self.tokenizers}
        return sorted(composed | set(self.presets))

    def preset_hint(self, name: str) -> str:
        """What may be meant by a name that `preset` does not accept: two halves by meaning, else the nearest preset."""

        def near(registry: Registry, half: str) -> list[str]:
            return [half] if half in registry else nearest(half, registry.about())[:1]

        if name in self.backbones:
            return f" It is a backbone; with a tokenizer it is a preset, e.g. {name}_{next(iter(self.tokenizers), '')}."
        names = self.preset_names()
        both = [*_halves(name), *((right, left) for left, right in _halves(name))]  # also the wrong way round
        halves = [(near(self.backbones, left), near(self.tokenizers, right)) for left, right in both]
        found = [f"{left}_{right}" for lefts, rights in halves for left in lefts for right in rights]
        found = found or nearest(name, dict.fromkeys(names, "") | self.presets.about()) or likest(name, names, 0.7)
        return meaning(found) if found else " list shows the presets; any <backbone>_<tokenizer> is one too."

    def _register(self, plugin: object, name: str) -> None:
        """Hands the plugin to pluggy, and says what pluggy would pass over in silence."""
        if isclass(plugin):
            raise TypeError(
                f"it is a class ({plugin.__qualname__}), which pluggy does not instantiate; name a module or object"
            )
        if self._host.has_plugin(name):
            raise ValueError(f'another plugin is already called "{name}"; rename its entry point')
        self._host.register(plugin, name)
        hooks = self._host.get_hookcallers(plugin) or []
        if not hooks:
            raise TypeError(f'it has no hook; mark one with pluggy.HookimplMarker("{GROUP}"): {", ".join(HOOKS)}')
        for hook in hooks:
            if not hook.has_spec():
                logger.warning(
                    'plugin "%s" has a hook "%s" that this version does not know; ignored.%s',
                    name,
                    hook.name,
                    did_you_mean(hook.name, HOOKS),
                )

    def _call(self, hook: str, plugin: object, claims: Registration) -> None:
        """Calls one hook of one plugin; pluggy alone would let a plugin that raises abort all others."""
        others = [other for other in self._host.get_plugins() if other is not plugin]
        returned = self._host.subset_hook_caller(hook, others)(register=claims.of(hook))
        if returned:
            raise TypeError(f"{hook} returned {returned[0]!r}; a hook returns nothing and calls `register`")

    def _raise_broken(self, name: str, halves: list[tuple[str, str]]) -> None:
        for error in self.broken.values():
            borne = any(error.bears("backbone", left) or error.bears("tokenizer", right) for left, right in halves)
            if borne or error.bears("preset", name):
                raise error


def _halves(name: str) -> list[tuple[str, str]]:
    """Every way of cutting a name at an underscore."""
    parts = name.split("_")
    return [("_".join(parts[:cut]), "_".join(parts[cut:])) for cut in range(1, len(parts))]


def own_version() -> str:
    """The version of this hub: of the checkout that runs, else of the installed distribution."""
    config = ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg")
    if config.has_option("metadata", "version"):
        return config.get("metadata", "version")
    try:
        return metadata.version(GROUP)
    except metadata.PackageNotFoundError:
        return "unreleased"


def chosen(points: Iterable[metadata.EntryPoint], wish: str | None) -> list[metadata.EntryPoint]:
    """The entry points to load, in an order that no file system decides; all of them when `wish` is None."""
    found = sorted(points, key=lambda point: (point.name, point.dist.name if point.dist else ""))
    if wish is None:
        return found
    names = [name.strip() for name in wish.split(",") if name.strip()]
    for name in names:
        if name not in {point.name for point in found}:
            known = did_you_mean(name, (point.name for point in found))
            raise HubError(f'{VARIABLE} asks for plugin "{name}", which is not installed.{known}')
    return [point for point in found if point.name in names]


def _module(name: str) -> Callable[[], ModuleType]:
    return lambda: import_module(name)


@lru_cache(maxsize=1)
def load_manager() -> Manager:
    """Loads all plugins, once in a process: the built-in ones, then the installed ones that the environment allows."""
    manager = Manager()
    version = own_version()
    for module in BUILT_IN:
        manager.add(module.rpartition(".")[2], _module(module), GROUP, version)
    for point in chosen(metadata.entry_points(group=GROUP), os.environ.get(VARIABLE)):
        distribution = point.dist.name if point.dist else ""
        manager.add(point.name, point.load, distribution, point.dist.version if point.dist else "")
    manager.freeze()
    return manager


class Row(NamedTuple):
    """One line of `list`; `error` is empty unless the plugin was skipped."""

    kind: str
    name: str
    distribution: str
    version: str
    where: str
    error: str


def describe(manager: Manager) -> list[Row]:
    """Everything registered, by kind and name, and then the broken plugins with their errors."""
    rows = [
        Row(entry.kind, entry.name, entry.distribution, entry.version, entry.where, "")
        for registry in manager.registries
        for entry in sorted(registry.values(), key=lambda entry: entry.name)
    ]
    for name, error in sorted(manager.broken.items()):
        where = f"{error.file}:{error.line}" if error.file else ""
        rows.append(Row("broken", name, error.distribution, error.version, where, str(error)))
    return rows


def find(manager: Manager, name: str) -> list[Any]:
    """All that has laws and bears this name, for `check`; HubError when there is nothing."""
    lawful = [manager.registry(kind) for kind in LAWFUL]
    found = [registry[name] for registry in lawful if name in registry]
    if found:
        return found
    for error in manager.broken.values():
        if any(error.bears(kind, name) for kind in LAWFUL):
            raise error
    known = {known: about for registry in lawful for known, about in registry.about().items()}
    raise lawful[0].missing(name, did_you_mean(name, known), " or ".join([", ".join(LAWFUL[:-1]), LAWFUL[-1]]))
