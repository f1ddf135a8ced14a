"""Errors that are meant for people: one line that says what was found, what was expected and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class HubError(ValueError):
    """Something a person can mend; the command prints it as one line and exits with code 2."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ' Did you mean "x"?' for the nearest of `known`, else a list of what there is (at most 12 names).

    Where a few begin with the name and an underscore, all of them are asked for.
    """
    known = sorted(set(known))
    longer = [one for one in known if one.startswith(f"{name}_")]
    if 2 <= len(longer) <= 4:
        return " Did you mean " + " or ".join(f'"{one}"' for one in longer) + "?"
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f' Did you mean "{near[0]}"?'
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f" Known: {shown}." if known else " None is known."


def unknown(kind: str, name: str, known: Iterable[str]) -> HubError:
    """The error for a name that nobody bears, e.g. `unknown("backbone", "mambo", ["mamba"])`."""
    return HubError(f'there is no {kind} "{name}".{did_you_mean(name, known)}')
