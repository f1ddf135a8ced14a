"""The distinct values of an array, and where they change."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)


def changes(values: NDArray[Number]) -> NDArray[np.bool_]:
    """Where (n,) a value is another than the one before; the first always is."""
    new = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return new


def distinct(values: NDArray[Number]) -> NDArray[Number]:
    """As `np.unique` of a row of numbers, which hashes them first and takes three times as long for thousands."""
    values = np.sort(values)
    return values[changes(values)]
