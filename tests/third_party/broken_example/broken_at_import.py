"""A plugin whose library is not there."""

raise ImportError("no kernel for this machine")
