"""A run of any backbone with any tokenizer, which asks both what suits them."""

from core.registry import Entry
from hparams.base import HParams
from hparams.loading import Section, apply
from hparams.presets.grid import composed


def compose(name: str, backbone: Entry, tokenizer: Entry, section: Section) -> HParams:
    """The preset `name` of two plugins: what all such runs start from, then what the tokenizer and the backbone wish.

    Wishes are the `defaults` of their registration; HubError, naming the plugin, for a key that there is not.
    """
    hparams = composed(name)
    hparams.backbone, hparams.tokenizer = section("backbone", backbone.name), section("tokenizer", tokenizer.name)
    return apply(hparams, {**tokenizer.defaults, **backbone.defaults}, section=section)
