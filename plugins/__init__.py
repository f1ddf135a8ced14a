"""The plugin host and the plugins that ship with the hub; `hookimpl` marks a hook of a built-in plugin."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pluggy

hookimpl = pluggy.HookimplMarker("swaptunes")


def later(module: str) -> Callable[..., Any]:
    """The `build` of a module that is imported when something is built: who lists or prepares waits for no PyTorch."""

    def build(*given: Any) -> Any:
        return import_module(module).build(*given)

    return build
