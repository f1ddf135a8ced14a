"""What a data set answers, held against its contract; what it raises is told in one line that names it."""

import traceback
from collections import Counter
from collections.abc import Callable
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from core.contracts.dataset import SPLITS, Dataset, Item
from core.errors import HubError
from core.files import REMEDIES


def identity(dataset: Dataset) -> str:
    """What a dataset is called, whatever is in it today; its ledger is kept under this name."""
    return str(getattr(dataset, "identity", None) or f"{type(dataset).__name__} {dataset.url}".strip())


def prepared(dataset: Dataset, folder: Path) -> str:
    """Lets the data set fetch what it needs into `folder`; its fingerprint."""
    name = identity(dataset)
    _answer(name, "be prepared", lambda: dataset.prepare(folder))
    found = _answer(name, "tell its fingerprint", dataset.fingerprint)
    if not isinstance(found, str):
        raise HubError(f"{name} has the fingerprint {found!r}; expected text that changes with its items")
    return found


def items_of(dataset: Dataset) -> list[Item]:
    """Its items, each an Item of a split that there is and none of them twice."""
    name = identity(dataset)
    items = [_item(name, each) for each in _answer(name, "list its items", lambda: list(dataset.items()))]
    for item in items:
        if item.split is not None and item.split not in SPLITS:
            raise HubError(f"{name} puts {item.path} into {item.split!r}; expected {', '.join(SPLITS)} or None")
    for (path, index), times in Counter((item.path, item.index) for item in items).most_common(1):
        if times > 1:
            raise HubError(f"{name} lists {path} (index {index}) {times} times; expected each piece once")
    return items


def _item(name: str, given: Any) -> Item:
    """What has the parts of an Item as one: a plugin need not import the hub's."""
    if isinstance(given, Item):
        return given
    path, index = getattr(given, "path", None), getattr(given, "index", 0)
    group, split = getattr(given, "group", ""), getattr(given, "split", None)
    if not isinstance(path, str | PathLike) or not isinstance(index, int) or not isinstance(group, str):
        raise HubError(f"{name} has the item {given!r}; expected path, index, group and split (Item)")
    return Item(fspath(path), index, group, split)


def _answer(name: str, what: str, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except HubError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in REMEDIES:  # of the disk, which has words of its own
            raise
        at = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(str(error).split()) or "no message"
        raise HubError(f"{name} cannot {what}: {type(error).__name__}: {said} ({at.filename}:{at.lineno})") from error
