"""The settings that a preset's name stands for: of any backbone with any tokenizer, or a registered preset's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass, replace

from core.errors import HubError
from core.registry import Entry
from hparams.base import HParams
from hparams.loading import SLOTS, Section, apply, section_of_tree
from hparams.presets.grid import composed


def compose(name: str, backbone: Entry, tokenizer: Entry, section: Section) -> HParams:
    """The preset `name` of two plugins: what all such runs start from, then what the tokenizer and the backbone wish.

    Wishes are the `defaults` of their registration; HubError, naming the plugin, for a key that there is not.
    """
    hparams = composed(name)
    hparams.backbone, hparams.tokenizer = section("backbone", backbone.name), section("tokenizer", tokenizer.name)
    for entry in (tokenizer, backbone):  # each by itself, before both lie in one tree
        with _naming(entry):
            section_of_tree(section(entry.kind, entry.name), {}, f"{entry.kind}.")
    for entry in (tokenizer, backbone):
        with _naming(entry):
            hparams = apply(hparams, dict(entry.defaults), section=section)
    return hparams


@contextmanager
def _naming(entry: Entry) -> Iterator[None]:
    try:
        yield
    except HubError as error:
        raise HubError(f'the defaults of {entry.kind} "{entry.name}" at {entry.where}: {error}') from error


def whole(entry: Entry, section: Section) -> HParams:
    """What a registered preset gives, named after it if it has no name; HubError where that is no run's settings."""
    assert entry.function is not None
    try:
        found = entry.function()
        if not isinstance(found, HParams):
            raise HubError(f"returned {type(found).__name__}; expected HParams")
        for slot in SLOTS:
            chosen = getattr(found, slot)
            if not is_dataclass(chosen) or isinstance(chosen, type):
                raise HubError(f"has {slot} {chosen!r}; expected a {slot}'s settings, an object of its dataclass")
        return apply(found if found.name else replace(found, name=entry.name), {}, section=section)
    except Exception as error:
        said = str(error) if isinstance(error, HubError) else f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise HubError(f'preset "{entry.name}" at {entry.where} {said}') from error
