"""The notes of the two seconds that begin at each token, as PerformanceRNN's controls look at them.

Where a tokenizer does not say when its tokens stand, the whole piece is one window, brought to two seconds.

Shapes: n tokens, w windows: n of them, or one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contracts.tokenizer import Ids, Tokenizer

SECONDS = 2.0


def counts(ids: Ids, tokenizer: Tokenizer) -> NDArray[np.float64]:
    """Notes of each pitch class that begin in each window: (w 12), over tokens as they decode; ValueError for none."""
    score: Any = tokenizer.decode(ids).score.to("second")
    columns = [track.notes.numpy() for track in score.tracks if not track.is_drum and len(track.notes)]
    if not columns:
        raise ValueError("it has no notes with a pitch")
    onsets = np.concatenate([column["time"] for column in columns]).astype(np.float64)
    pitches = np.concatenate([column["pitch"] for column in columns]).astype(np.int64)
    times = getattr(tokenizer, "times", None)
    if times is None:
        whole = np.bincount(pitches % 12, minlength=12)[None]
        return np.asarray(whole * min(1.0, SECONDS / max(float(score.end()), 1e-3)), dtype=np.float64)
    order = np.argsort(onsets, kind="stable")
    onsets, classes = onsets[order], np.eye(12)[pitches[order] % 12]
    before = np.concatenate([np.zeros((1, 12)), classes.cumsum(axis=0)])  # notes up to each
    begins = np.asarray(times(ids), dtype=np.float64)
    first, last = (np.searchsorted(onsets, begins + shift - 1e-4) for shift in (0.0, SECONDS))
    return before[last] - before[first]
