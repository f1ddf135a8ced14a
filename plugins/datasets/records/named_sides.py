"""The sides that the names of files tell: train, valid or validation, test."""

import re
from collections.abc import Sequence

from core.contracts.dataset import SPLITS, Split
from core.errors import HubError
from core.log import logger

WORDS: dict[Split, frozenset[str]] = {
    "train": frozenset({"train"}),
    "valid": frozenset({"valid", "validation"}),
    "test": frozenset({"test"}),
}


def side_of(path: str) -> Split | None:
    """The side that a file's name tells."""
    words = set(re.split(r"[^a-z]+", path.lower()))
    told: list[Split] = [side for side, names in WORDS.items() if names & words]
    return told[0] if len(told) == 1 else None


def one_side(files: Sequence[str]) -> Split | None:
    """The side that the names of all files tell; None where some tell another or nothing."""
    sides = {side_of(file) for file in files}
    return sides.pop() if len(sides) == 1 else None


def sides_of(name: str, files: Sequence[str], otherwise: str = "the hub makes one") -> list[Split | None]:
    """The side of each file of the set `name`; of none where all are for the same one, which is no split.

    That is said, and what holds `otherwise`. HubError where they are for two sides, and none trains or validates.
    """
    sides = [side_of(file) for file in files]
    told = [side for side in SPLITS if side in sides]
    if None in sides or not told or {"train", "valid"} <= set(told):
        return sides
    if one_side(files):
        files_of = "the only file" if len(files) == 1 else "every file"
        logger.info("%s of %s is for %s by its name, which is no split; %s", files_of, name, told[0], otherwise)
        return [None] * len(files)
    lacking = next(side for side in SPLITS if side not in told)
    raise HubError(
        f"the files of {name} are for {' and '.join(told)} by their names, and none for {lacking}, which training"
        f" needs; add it, or rename them, so that {otherwise}"
    )
