"""What a plugin's `build` gives, held against its contract before anything takes it, and its failures in one line."""

import pickle
from collections.abc import Iterator
from numbers import Integral
from typing import Any

from core.errors import HubError
from core.registry import Entry
from plugins.faults import place

INT, BOOL, TEXT, CALL = "a whole number", "true or false", "text", "a method"
TYPES: dict[str, type] = {INT: Integral, BOOL: bool, TEXT: str}  # NumPy's numbers are whole ones too
PARTS = {
    "backbone": {"dim": INT, "packs": BOOL, "init_state": CALL, "parameters": CALL},
    "tokenizer": {
        **dict.fromkeys(("vocab_size", "pad_id", "bos_id", "eos_id", "streams"), INT),
        **dict.fromkeys(("encode", "decode", "token", "fingerprint", "save"), CALL),
    },
    "dataset": {"license": TEXT, "url": TEXT, "prepare": CALL, "fingerprint": CALL, "items": CALL},
    "control": {"dim": INT, **dict.fromkeys(("of", "parse", "describe", "transposed"), CALL)},
    "supervisor": dict.fromkeys(("load_data", "build_model", "train", "evaluate", "open", "generate"), CALL),
}


class Unmade(HubError):
    """A plugin's `build` failed, or what it gave does not keep the contract; `__cause__` is its own error, if any."""


def made(entry: Entry, *arguments: Any) -> Any:
    """What the entry's `build` makes of the arguments; Unmade, which names the plugin, where it does not."""
    assert entry.build is not None
    try:
        thing = entry.build(*arguments)
        fault = next(faults(entry.kind, thing), "")
    except HubError:
        raise
    except MemoryError:  # nobody's fault
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or "no message"
        raise Unmade(f"{_named(entry)} cannot be built: {type(error).__name__}: {said}{place(error)}") from error
    if fault:
        raise Unmade(f"{_named(entry)} at {entry.where} is no {entry.kind}: {fault}")
    return thing


def insist_importable(entry: Entry) -> None:
    """HubError unless worker processes can import what builds it."""
    try:
        pickle.dumps(entry.build)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise HubError(
            f"{_named(entry)} at {entry.where} is built by what worker processes cannot import ({error}); "
            "register a function or class that stands at the top level of its module"
        ) from error


def faults(kind: str, thing: Any) -> Iterator[str]:
    """What is wrong with what a plugin of this kind made, as far as looking at it tells."""
    for name, kind_of in PARTS[kind].items():
        found = getattr(thing, name, None)
        if kind_of == CALL:
            if not callable(found):
                yield f"{type(thing).__name__} has no method {name}"
        elif not isinstance(found, TYPES[kind_of]) or (kind_of == INT and isinstance(found, bool)):
            yield f"{type(thing).__name__}.{name} is {found!r}; expected {kind_of}"
    if kind == "tokenizer":
        yield from _tokenizer_faults(thing)


def _tokenizer_faults(tokenizer: Any) -> Iterator[str]:
    size, specials = tokenizer.vocab_size, (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id)
    if len(set(specials)) < 3 or not all(0 <= id < size for id in specials):
        yield f"pad_id, bos_id and eos_id are {specials}; expected three different ids from 0 to {size - 1}"
    sizes = list(getattr(tokenizer, "vocab_sizes", ())) if tokenizer.streams > 1 else [size]
    if tokenizer.streams < 1 or len(sizes) != tokenizer.streams or sizes[0] != size:
        yield f"streams is {tokenizer.streams} and vocab_sizes {sizes}; expected as many, the first {size} (vocab_size)"
    if hasattr(tokenizer, "train"):  # it may have none before it has learnt
        return
    first, again = tokenizer.fingerprint(), tokenizer.fingerprint()
    if not isinstance(first, str) or first != again:
        yield f"fingerprint() gives {first!r} and then {again!r}; expected the same text, for the same tokenizer"


def _named(entry: Entry) -> str:
    origin = f" of {entry.distribution} {entry.version}".rstrip() if entry.distribution else ""
    return f'{entry.kind} "{entry.name}"{origin}'
