"""The default hyper-parameters of every plugin, by slot and name, and who has a setting of some name."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from core.registry import Registry
from hparams.hints import setting_of
from hparams.loading import SLOTS


class Sections:
    """`sections("backbone", "mamba")` is that plugin's section; what `hparams.loading` asks for as `Section`."""

    def __init__(self, registry: Callable[[str], Registry]) -> None:
        self._registry = registry

    def __call__(self, slot: str, name: str) -> Any:
        registry = self._registry(slot)
        if name not in registry:  # a setting in the place of a plugin, such as tokenizer=bpe
            for dotted, names in self.having(f"{slot}.{name.lower()}").items():
                raise registry.missing(name, setting_of(dotted, names, dotted))
        hparams = registry[name].hparams
        assert hparams is not None
        return hparams()

    def having(self, key: str) -> dict[str, list[str]]:
        """The dotted keys that `key` ("tokenizer.bpe", or "bpe" of any slot) stands for -> the plugins that have it."""
        first, _, rest = key.partition(".")
        slots, path = ([first], rest) if first in SLOTS else (SLOTS, key)
        found = {
            f"{slot}.{path}": [name for name in sorted(self._registry(slot)) if _has(self(slot, name), path.split("."))]
            for slot in slots
        }
        return {one: names for one, names in found.items() if names}


def _has(section: Any, path: list[str]) -> bool:
    own = {field.name for field in fields(section)} if is_dataclass(section) else set()
    return path[0] in own and (len(path) == 1 or _has(getattr(section, path[0]), path[1:]))
