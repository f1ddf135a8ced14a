"""What a request may ask for: every field with its range, so that a page offers what the server takes."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from core.errors import HubError
from core.names import did_you_mean
from core.seeds import fresh_seed
from hparams.base import GenerateHParams
from hparams.sentences import sentences

T = TypeVar("T")

SEED = 10**9  # seeds lie below


def _number(default: float | int, least: float, most: float, step: float | None = None) -> Any:
    """A field of a number from `least` to `most`; `step` is what a slider moves by."""
    return field(default=default, metadata={"least": least, "most": most, "step": step})


@dataclass(kw_only=True)
class DrawRequest:
    """How to draw, and from which model."""

    # The model, by its name in /info.
    model: str
    # What to go on from: token ids as /prompt or an earlier stream gave them.
    tokens: list[Any] = field(default_factory=list)
    temperature: float = _number(GenerateHParams.temperature, 0, 4, 0.05)
    top_k: int = _number(GenerateHParams.top_k, 0, 1_000_000)
    top_p: float = _number(GenerateHParams.top_p, 0.01, 1, 0.01)
    min_p: float = _number(GenerateHParams.min_p, 0, 1, 0.005)
    repetition_penalty: float = _number(GenerateHParams.repetition_penalty, 1, 4, 0.05)
    # What is asked of each control of the model, as text.
    controls: dict[str, Any] = field(default_factory=dict)
    guidance: float = _number(GenerateHParams.guidance, 0, 10, 0.1)
    # Seed of the draws; without one a fresh one is taken, and told in the first event.
    seed: int = field(default_factory=fresh_seed, metadata={"least": 0, "most": SEED - 1, "step": None})


@dataclass(kw_only=True)
class GenerateRequest(DrawRequest):
    """A piece to be drawn while it is heard."""

    # Most tokens to draw; 0: until the piece ends.
    length: int = _number(0, 0, 100_000)
    # Bars to draw; 0: until the piece ends.
    bars: int = _number(0, 0, 512)
    # Whether the piece goes on for ever: it never ends while anything else may follow.
    endless: bool = False
    # Seconds that the music may be ahead of the clock; 0: it is drawn as fast as the reader takes it.
    lead: float = _number(0.0, 0, 3600)
    # Which of the pieces of this seed: `generate.count` pieces have the rows 0, 1, 2 ...
    row: int = _number(0, 0, SEED - 1)


@dataclass(kw_only=True)
class FillRequest(DrawRequest):
    """Bars of a piece to be drawn anew."""

    # The first bar to draw anew, counted from 0.
    first: int = _number(0, 0, 100_000)
    # Bars to draw anew.
    count: int = _number(1, 1, 32)
    # Ways that are drawn, of which one is taken.
    ways: int = _number(8, 1, 16)


def ranges() -> dict[str, dict[str, Any]]:
    """Each number that a request may set: least, most, step of a slider, default, whole or not, and its sentence."""
    said = {**sentences(GenerateHParams), **{k: v for k, v in sentences(GenerateRequest).items() if v}}
    return {
        one.name: {
            **one.metadata,
            "default": None if one.default is MISSING else one.default,
            "whole": one.type is int,
            "about": said.get(one.name, ""),
        }
        for one in fields(GenerateRequest)
        if one.metadata
    }


def request(kind: type[T], tree: Any) -> T:
    """The request of a dataclass from parsed JSON; HubError in one line for what does not fit it."""
    if not isinstance(tree, Mapping):
        raise HubError("the request is no JSON object; expected one with the fields that /info names")
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if name not in known:
            raise HubError(f'there is no field "{name[:60]}".{did_you_mean(name[:60], known)}')
        values[name] = _checked(name, value, known[name])
    for name, one in known.items():
        if name not in values and one.default is MISSING and one.default_factory is MISSING:
            raise HubError(f"{name} is missing")
    return kind(**values)


def _checked(name: str, value: Any, one: Any) -> Any:
    limits = one.metadata
    if limits:
        whole = isinstance(value, int) and not isinstance(value, bool)
        fits = whole or (one.type is float and isinstance(value, float) and math.isfinite(value))
        if not fits or not limits["least"] <= value <= limits["most"]:
            what = "a whole number" if one.type is int else "a number"
            raise HubError(f"{name} is {_short(value)}; expected {what} from {limits['least']} to {limits['most']}")
        return one.type(value)
    kinds = {str: "text", bool: "true or false", list[Any]: "a list", dict[str, Any]: "an object"}
    kind = getattr(one.type, "__origin__", one.type)
    if not isinstance(value, kind):
        raise HubError(f"{name} is {_short(value)}; expected {kinds[one.type]}")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def tokens_of(tokens: list[Any], streams: int, most: int) -> list[Any]:
    """The tokens of a request, each an id or a list of `streams` ids; HubError for anything else."""
    if len(tokens) > most:
        raise HubError(f"tokens are {len(tokens):,}; expected at most {most:,}")
    for token in tokens:
        ids = [token] if streams == 1 else token
        if not isinstance(ids, list) or len(ids) != streams or not all(type(id) is int for id in ids):
            expected = "a whole number" if streams == 1 else f"a list of {streams} whole numbers"
            raise HubError(f"tokens hold {_short(token)}; expected {expected} each")
        if not all(-(2**31) < id < 2**31 for id in ids):
            raise HubError(f"tokens hold {_short(token)}, which is no id")
    return tokens
