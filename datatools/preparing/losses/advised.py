"""What people are told of losses: how much of what, and the setting that keeps it.

The tokenizer's hyper-parameters name it themselves in a class attribute `remedies` (cause -> a setting, or several, of
which the first is meant that is not set yet); and in `kept` (causes) what their tokens tell in a way that the decoded
score does not show.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from core.words import counted
from hparams import yaml_words

# Each cause in words; all are counted in notes (words in those that begin with a syllable), but those of _MARKS.
CAUSES = {
    "drums": "drums",
    "programs": "the instrument",
    "velocities": "the loudness",
    "pitches": "pitches out of range",
    "unisons": "unisons merged",
    "repeats": "struck again too soon",
    "others": "left out by the tokenizer",
    "durations": "durations cut",
    "overlaps": "durations cut where the key is struck again",
    "words": "the words sung",
    "symbols": "chord symbols",
    "tempos": "tempos",
    "clipped": "tempos beyond the slowest or fastest",
    "meters": "meters",
    "pedals": "pedals",
}
_MARKS = ("symbols", "tempos", "clipped", "meters", "pedals")
# Why no setting keeps what a tokenizer names no remedy for; of others that it cannot tell them.
_REASONS = {
    "unisons": "notes of one pitch at one onset are one token",
    "repeats": "the steps of its time are too coarse",
    "durations": "its longest duration is shorter",
    "overlaps": "a key that is struck again sounds once",
}


def advice(manifest: Mapping[str, Any], tokenizer: Any) -> list[str]:
    """What the tokens of a store do not tell, the dearest first, with the setting that keeps it; and remarks, if any.

    `tokenizer` are the tokenizer's hyper-parameters.
    """
    remedies = getattr(type(tokenizer), "remedies", {})
    lost = {cause: n for cause, n in manifest.get("lost", {}).items() if cause not in getattr(tokenizer, "kept", ())}
    if "clipped" in lost and "clipped" not in remedies:  # its tokens tell no tempo at all
        lost["tempos"] = lost.get("tempos", 0) + lost.pop("clipped")
    notes = sum(counts["notes"] for counts in manifest["counts"].values())
    lines: list[str] = []
    for cause, count in sorted(lost.items(), key=lambda one: -one[1]):
        share = counted(count, "mark") if cause in _MARKS else f"{_percent(count / max(notes, 1))} of notes"
        remedy = f" ({_REASONS.get(cause, 'this tokenizer cannot tell them')})"
        if cause in remedies:
            named = remedies[cause]
            open_ = [one for one in ((named,) if isinstance(named, str) else named) if not _set(one, tokenizer)]
            remedy = f" -> {open_[0]}" if open_ else f" ({_REASONS.get(cause, 'more than this tokenizer can tell')})"
        lines.append(f"{'' if lines else 'lost':<13}{share}: {CAUSES.get(cause, cause)}{remedy}")
    if manifest["remarks"]:
        lines.append(f"remarks      on {counted(manifest['remarks'], 'piece')}: remarks.txt in the token store")
    return lines


def _percent(share: float) -> str:
    """In two digits, and all of them for everything."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def _set(remedy: str, tokenizer: Any) -> bool:
    """Whether all settings that a remedy names are set already, so that something else has cost what is lost."""
    words = [word.partition("=") for word in shlex.split(remedy) if re.match(r"tokenizer\.[\w.]+=", word)]
    return all(_reaches(_held(tokenizer, key.split(".")[1:]), yaml_words.read(value)) for key, _, value in words)


def _held(node: Any, path: Sequence[str]) -> Any:
    """What a setting holds, or a value in a setting that is a map; None where there is none."""
    for part in path:
        node = node.get(part) if isinstance(node, Mapping) else getattr(node, part, None)
    return node


def _reaches(value: Any, wanted: Any) -> bool:
    """Whether a setting goes as far as one that would do: a range that is as wide, a number that is as high."""
    if value is None:
        return False
    if isinstance(wanted, list):
        return bool(value[0] <= wanted[0] and value[-1] >= wanted[-1])
    if isinstance(wanted, Mapping):
        return all(value.get(key) == one for key, one in wanted.items())
    return value is wanted if isinstance(wanted, bool) else bool(value >= wanted)
