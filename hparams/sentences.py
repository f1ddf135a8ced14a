"""What every hyper-parameter means: the comment above its field, so that help cannot say anything else."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, NamedTuple, get_type_hints


class Setting(NamedTuple):
    """One hyper-parameter: dotted key, default, kind ("int", "one of bar, token" ...) and sentence."""

    key: str
    default: Any
    kind: str
    sentence: str


def sentences(section: type) -> dict[str, str]:
    """Field name -> the comment above it, fields of base classes too; nothing where there is no source."""
    found: dict[str, str] = {}
    for one in reversed(section.__mro__):
        if not is_dataclass(one):
            continue
        try:
            lines = textwrap.dedent(inspect.getsource(one)).splitlines()
        except (OSError, TypeError):
            continue
        body = ast.parse("\n".join(lines)).body[0]
        assert isinstance(body, ast.ClassDef)
        for node in body.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] = _above(lines, node.lineno - 1)
    return found


def _above(lines: list[str], number: int) -> str:
    first = number
    while first and lines[first - 1].strip().startswith("#"):
        first -= 1
    return " ".join(line.strip().lstrip("# ") for line in lines[first:number])


def settings(section: Any, prefix: str = "") -> Iterator[Setting]:
    """Every hyper-parameter in `section`, an instance, in the order of the source; a plugin's `name` is left out."""
    said, hints = sentences(type(section)), get_type_hints(type(section))
    for field in fields(section):
        value = getattr(section, field.name)
        if is_dataclass(value):
            yield from settings(value, f"{prefix}{field.name}.")
        elif prefix == "" or field.name != "name":
            about = said.get(field.name, "")
            yield Setting(f"{prefix}{field.name}", _default(field, value), _kind(hints[field.name]), about)


def _default(field: "Field[Any]", value: Any) -> Any:
    return value if value is not None or field.default is MISSING else field.default


def _kind(hint: Any) -> str:
    options = getattr(hint, "__args__", ())
    if getattr(hint, "__origin__", None) is not None and str(hint).startswith("typing.Literal"):
        return "one of " + ", ".join(map(str, options))
    return getattr(hint, "__name__", str(hint)) if not options else str(hint).replace("typing.", "")
