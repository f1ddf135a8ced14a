"""A plugin that registers one good thing and then fails."""

from dataclasses import dataclass
from typing import Literal

import pluggy

hookimpl = pluggy.HookimplMarker("swaptunes")


@dataclass
class HalfwayHParams:
    name: Literal["halfway"] = "halfway"
    dim: int = 8
    layers: int = 1
    dropout: float = 0.0


@hookimpl
def register_backbones(register):
    register("halfway", HalfwayHParams, lambda hparams: None)


@hookimpl
def register_tokenizers(register):
    raise RuntimeError("the second half is missing")
