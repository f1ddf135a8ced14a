"""How surprising piano-roll frames are to one who knows how often each key sounds, and no more.

The floor of polyphonic music modeling (Boulanger-Lewandowski et al. 2012, arXiv 1206.6392, "note 1-gram"): nats a time
step, summed over the keys, each step of all pieces weighing the same.
Shapes: t time steps, k = 88 keys, MIDI 21 to 108.
"""

from collections.abc import Callable, Sequence

import numpy as np
import symusic
from numpy.typing import NDArray

from plugins import hookimpl
from plugins.metrics.parts.intervals import Result, summary
from plugins.metrics.parts.notes import Floats, Integers, Scores, notes_of

KEYS = 88
LOWEST = 21
SIXTEENTHS = 4  # steps a quarter
Roll = NDArray[np.bool_]


def roll_of(score: "symusic.Score | None") -> Roll:
    """The keys that sound at each sixteenth (t k); notes beyond the keyboard are left out."""
    notes = notes_of(score, SIXTEENTHS)
    change: Integers = np.zeros((notes.length + 1, 128), dtype=np.int64)
    np.add.at(change, (notes.onset, notes.pitch), 1)
    np.add.at(change, (notes.end, notes.pitch), -1)
    roll: Roll = (np.cumsum(change, axis=0)[:-1] > 0)[:, LOWEST : LOWEST + KEYS]
    return roll


def key_shares(rolls: Sequence[Roll]) -> Floats:
    """The chance (k,) of each key to sound, (count + 1) / (t + 2): never 0 nor 1."""
    counts = np.sum([roll.sum(axis=0) for roll in rolls], axis=0) if rolls else np.zeros(KEYS)
    return (counts + 1.0) / (sum(len(roll) for roll in rolls) + 2.0)


def key_transitions(rolls: Sequence[Roll]) -> Floats:
    """The chance (2 k) of each key to sound after a step of silence, or of sound: (count + 1/2) / (t + 1)."""
    counts, totals = np.zeros((2, KEYS)), np.zeros((2, KEYS))
    for roll in rolls:
        before, after = roll[:-1], roll[1:]
        kept, sounded = (before & after).sum(axis=0), before.sum(axis=0)
        counts += np.stack([after.sum(axis=0) - kept, kept])
        totals += np.stack([len(before) - sounded, sounded])
    return (counts + 0.5) / (totals + 1.0)


def surprise(roll: Roll, shares: Floats) -> Floats:
    """Nats (t,) of each step under chances (k,) of the keys."""
    silent, sounds = np.log1p(-shares), np.log(shares)
    return -(silent.sum() + roll @ (sounds - silent))


def surprise_of_changes(roll: Roll, transitions: Floats) -> Floats:
    """Nats (t - 1,) of each step but the first, given the one before it."""
    before, after = roll[:-1], roll[1:]
    silent, gain = np.log1p(-transitions), np.log(transitions) - np.log1p(-transitions)  # (2 k) each
    kept = (before & after) @ (gain[1] - gain[0])
    return -(silent[0].sum() + before @ (silent[1] - silent[0]) + after @ gain[0] + kept)


def per_step(values: Sequence[Floats]) -> float:
    """The mean over all steps of all pieces; 0 without any. (A mean of means would weigh short pieces more.)"""
    steps = sum(len(value) for value in values)
    return float(np.sort(np.array([value.sum() for value in values])).sum()) / steps if steps else 0.0


def roll_surprise(generated: Scores, reference: Scores, *, training: Scores) -> Result:
    """Nats a sixteenth of the generated pieces under the key frequencies of `training`; `reference` has the real one.

    The interval is of the mean over pieces, moved to the value, which weighs pieces by length.
    """
    shares = key_shares([roll_of(score) for score in training])

    def figures(scores: Scores) -> Result:
        found = [surprise(roll_of(score), shares) for score in scores]
        value = per_step(found)
        means = summary(float(nats.mean()) if len(nats) else None for nats in found)
        moved = value - means["value"]
        return {**means, "value": value, "low": means["low"] + moved, "high": means["high"] + moved}

    return {**figures(generated), "reference": figures(reference)}


@hookimpl
def register_metrics(register: Callable[..., None]) -> None:
    register("roll_surprise", roll_surprise, unit="nats a sixteenth", higher_is_better=None)
