"""What a setting of a wrong type is told: the value, what is expected in its place, and an example."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", list: "a list", tuple: "a list"}


def mistyped(section: Any, tree: Mapping[str, Any], key: str, prefix: str = "") -> str:
    """`generate.temperature is 'hot'; expected a number, e.g. 1.0`, for the value of `tree` at the dotted `key`.

    Of a list that holds something wrong no key is known (""): the only list is meant. Empty where nothing can be said.
    """
    lists = [path for path, value in _leaves(tree) if isinstance(value, list)]
    key = key.partition("[")[0] or (lists[0] if len(lists) == 1 else "")
    *path, last = key.split(".")
    node, value = section, dict(_leaves(tree)).get(key)
    for part in path:
        held = get_type_hints(type(node)).get(part) if is_dataclass(node) else None
        if get_origin(held) is dict and part == path[-1]:  # one value of a mapping, like those that it has
            like = next(iter(getattr(node, part).values()), ())
            return f"{prefix}{key} is {value!r}; expected {_expected(get_args(held)[1], like)}"
        node = getattr(node, part, None)
    if not key or not is_dataclass(node) or last not in get_type_hints(type(node)):
        return ""
    return f"{prefix}{key} is {value!r}; expected {_expected(get_type_hints(type(node))[last], getattr(node, last))}"


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        inner = isinstance(value, Mapping)
        found += _leaves(value, f"{prefix}{key}.") if inner else [(f"{prefix}{key}", value)]
    return found


def _expected(hint: Any, default: Any) -> str:
    if _choices(hint):
        *most, last = _choices(hint)
        return f"{', '.join(most)} or {last}" if most else last
    kind = get_origin(hint) or hint
    if kind is dict:
        inner = ", ".join(f"{name}: {value}" for name, value in default.items())
        return f"keys of its own: {f'{{{inner}}}' if inner else 'NAME=VALUE behind a dot'}"
    words = _WORDS.get(kind, "another value")
    if kind in (list, tuple):
        return f"{words}, e.g. [{','.join(map(str, default)) or 'a,b'}]"
    return f"{words}, e.g. {default}" if kind in (int, float) else words


def _choices(hint: Any) -> list[str]:
    """The words that may stand where only a few may; empty where anything else may."""
    if hint is bool:
        return ["true", "false"]
    if get_origin(hint) is Literal:
        return [str(one) for one in get_args(hint)]
    parts = [_choices(one) for one in get_args(hint)] if get_origin(hint) in (Union, UnionType) else [[]]
    return [word for part in parts for word in part] if all(parts) else []
