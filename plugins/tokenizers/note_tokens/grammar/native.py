"""The tables of the notes' grammar for its compiled step (notes.cpp beside it)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from plugins.tokenizers.compiled import Tables as NativeTables
from plugins.tokenizers.note_tokens.effects import AS_FOUND, HEAD, Phase
from plugins.tokenizers.note_tokens.grammar.tables import Tables

_AFTER = ("after_owner", "after_key", "after_anchored", "after_onset", "after_end", "after_head")


def native_tables(tables: Tables, needs: Sequence[int], fields: Sequence[str], limits: dict[str, int]) -> NativeTables:
    """The compiled step; `limits` are the grammar's own numbers, `fields` the names of a state's."""
    phases = tables.phases.numpy()
    by_key = tables.note_key.argsort(stable=True)
    keys = tables.note_key[by_key].numpy()
    # Tokens that end a note told before come first, by its key; then those that begin with a pitch they repeat.
    told_before = tables.after_head < 0
    after = torch.where(told_before, tables.after_key, tables.keys).argsort(stable=True)
    after = after[(told_before | (tables.after_key % 128 == tables.after_head))[after]]
    ended = int(told_before.sum())
    own = tables.own_key.shape[1] if bool((tables.own_key < tables.keys).any()) else 0

    def int64(*names: str) -> dict[str, np.ndarray]:
        return {name: getattr(tables, name).numpy().astype(np.int64) for name in names}

    return NativeTables(
        Path(__file__).with_name("notes.cpp"),
        {
            "size": phases.shape[1],
            "meters": len(tables.bar),
            "keys": tables.keys,
            "remi": int(tables.vocabulary.bars),
            **limits,
            "opens": (phases >= 0)[:, None] & tables.fits.numpy(),
            "needs": np.array(needs)[np.maximum(phases, 0)],
            "blanks": int(tables.blank.any()),
            "first_position": tables.first_position.numpy(),
            "first_key": tables.first_key.numpy(),
            "heads": len(tables.heads),
            "head": tables.heads.numpy(),
            "tolds": len(tables.told),
            "bars_told": tables.bars.numpy().astype(np.int64),
            "tells": tables.tells.numpy(),
            "anchored": tables.anchored.numpy(),
            "plays": tables.plays.numpy(),
            "blank": tables.blank.numpy(),
            "head_closes": tables.head_closes.numpy(),
            **int64("bar", "phases", "meter", "now", "anchor", "head_end", "first_meter_at", "told", "position"),
            **int64("program", "head_pitch", "second_key", "head_pitch_of", "last_key", "open_key"),
            "own": own,
            **int64("own_key", "own_anchored", "own_end"),
            # Of each key's notes, from key_start[key] on: their tokens, and when they begin.
            "notes": len(keys),
            "anchors": int(tables.note_anchored.any()),
            "key_start": np.searchsorted(keys, np.arange(tables.keys + 1)),
            "note_owner": tables.note_owner[by_key].numpy(),
            "note_anchored": tables.note_anchored[by_key].numpy(),
            "note_onset": tables.note_onset[:, by_key].numpy(),
            "announced": len(tables.announce),
            **int64("announce", "announce_top", "step", "longest"),
            "announce_own": tables.announce_own.numpy(),
            "mixed": len(tables.mixed_owner),
            **int64("mixed_owner", "mixed_end", "mixed_onset"),
            "after": len(after),
            "after_start": np.searchsorted(tables.after_key[after[:ended]].numpy(), np.arange(tables.keys + 1)),
            **{name: table[..., after] for name, table in int64(*_AFTER).items()},
        },
        {
            **{f"F_{name}": index for index, name in enumerate(fields)},
            "FIELDS": len(fields),
            **{phase.name: int(phase) for phase in Phase},
            "HEAD": HEAD,
            "AS_FOUND": AS_FOUND,
        },
        tensors=(3, 5),
    )
