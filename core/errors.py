"""Errors that are meant for people: one line that says what was found, what was expected and what to do."""

from collections.abc import Iterable

from core.names import did_you_mean


class HubError(ValueError):
    """Something a person can mend; the command prints it as one line and exits with code 2."""


def unknown(kind: str, name: str, known: Iterable[str]) -> HubError:
    """The error for a name that nobody bears, e.g. `unknown("backbone", "mambo", ["mamba"])`."""
    return HubError(f'there is no {kind} "{name}".{did_you_mean(name, known)}')
