"""The plugin host and the plugins that ship with the hub; `hookimpl` marks a hook of a built-in plugin."""

import pluggy

hookimpl = pluggy.HookimplMarker("swaptunes")
