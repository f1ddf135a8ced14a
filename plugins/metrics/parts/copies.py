"""Runs of notes that a piece shares with the music of a corpus, and how rare such runs are among people."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import symusic

from core.seeds import derive
from plugins.metrics.parts.embedding import melody
from plugins.metrics.parts.intervals import Result
from plugins.metrics.parts.longest_match import NOWHERE, Matches
from plugins.metrics.parts.notes import STEPS, Floats, Integers, Scores, notes_of

FLAGGED = 0.99  # the share of human excerpts below which a run must not lie to be reported

LEAST_RUN = 8  # steps; a shorter run is nobody's

FEWEST_HUMANS = 20  # excerpts, below which they cannot tell what is rare; then a run is reported by its share

LEAST_HUMANS = 200  # excerpts, if there are so many, to tell what 1 in 100 is

LARGE_SHARE = 0.25  # of the generated piece; people share a tenth with hundreds of chorales

LONGEST_TIME = (1 << 20) - 1


class Melody(NamedTuple):
    """Onsets in steps of the grid, one more than `steps` (s,); `key` is a digest of the piece."""

    onsets: Integers
    steps: Integers
    key: bytes


class Run(NamedTuple):
    """The longest run of a piece that the training pieces hold: `length` steps from step `start` on.

    `piece` and `place` say in which training piece, from which of its steps on; NOWHERE without a run.
    """

    length: int
    start: int
    piece: int
    place: int


def melody_of(score: "symusic.Score | None") -> Melody:
    """A piece in steps of (interval, time to the next note), each as one number."""
    return of_line(*melody(notes_of(score)))


def of_line(onsets: Integers, pitches: Integers) -> Melody:
    """The same from the onsets and pitches (s + 1,) of a line of single notes."""
    key = hashlib.blake2b(np.stack([onsets, pitches]).astype("<i8").tobytes(), digest_size=16).digest()
    if not len(onsets):
        return Melody(onsets, onsets, key)
    steps = (np.diff(pitches) + 256) * (LONGEST_TIME + 1) + np.minimum(np.diff(onsets), LONGEST_TIME)
    return Melody(onsets, steps, key)


class Corpus:
    """Asked, reference and training pieces with the longest match of every place with the training pieces.

    `works` numbers the training pieces' works: two of one work do not count as copies of each other.
    """

    def __init__(
        self, asked: Sequence[Melody], reference: Sequence[Melody], training: Sequence[Melody], works: Integers
    ) -> None:
        self.asked, self.reference, self.training = list(asked), list(reference), list(training)
        everything = [*self.asked, *self.reference, *self.training]
        self._matches = Matches([piece.steps for piece in everything])
        self._first = len(self.asked) + len(self.reference)  # of the training pieces
        sequence = np.arange(len(everything))
        held = sequence >= self._first
        self._lengths, self._places = self._matches.against(~held, held)
        groups = np.concatenate([sequence[: self._first], self._first + works]).astype(np.int64)
        among = self._matches.among(held, groups)
        inside = held[self._matches.owner]
        self._lengths[inside], self._places[inside] = among[0][inside], among[1][inside]
        self._baselines: dict[int, Floats] = {}
        humans = [*self.reference, *self.training] if len(np.unique(groups[held])) > 1 else self.reference
        self.humans = [(len(self.asked) + place, piece) for place, piece in enumerate(humans) if len(piece.steps)]

    def lengths(self, number: int) -> Integers:
        """The longest match (s,) from each step of a piece; asked, reference, training are numbered on."""
        begin, end = self._matches.starts[number : number + 2]
        return self._lengths[begin:end]

    def run(self, number: int) -> Run:
        """The longest run of a piece; of equals the first."""
        lengths = self.lengths(number)
        if not lengths.any():
            return Run(0, 0, NOWHERE, NOWHERE)
        start = int(lengths.argmax())
        place = int(self._places[self._matches.starts[number] + start])
        owner = int(self._matches.owner[place])
        return Run(int(lengths[start]), start, owner - self._first, place - int(self._matches.starts[owner]))

    def baseline(self, size: int) -> Floats:
        """Longest runs, sorted, in one excerpt of `size` steps from each human piece that is so long.

        Where fewer than LEAST_HUMANS are, the longest ones, whole, stand in: their runs are a little short.
        """
        # Sizes a twentieth apart share one baseline.
        size = max(round(1.05 ** round(np.log(max(size, 1)) / np.log(1.05))), 1)
        if size not in self._baselines:
            # From the longest on; of equal ones in an order of content.
            ordered = sorted(self.humans, key=lambda human: (-len(human[1].steps), human[1].key))
            enough = sum(len(piece.steps) >= size for _, piece in ordered)
            runs = [self._excerpt(number, piece, size) for number, piece in ordered[: max(enough, LEAST_HUMANS)]]
            self._baselines[size] = np.sort(np.array(runs, dtype=np.float64))
        return self._baselines[size]

    def _excerpt(self, number: int, piece: Melody, size: int) -> int:
        lengths = self.lengths(number)
        if len(lengths) > size:
            start = derive("excerpt", piece.key.hex(), size) % (len(lengths) - size + 1)
            lengths = lengths[start : start + size]
        return int(np.minimum(lengths, np.arange(len(lengths), 0, -1)).max())


def works(scores: Scores) -> Integers:
    """A number for each piece, the same for pieces that are near-duplicates: they are one work, and share all."""
    from datatools.preparing.duplicates import NearIndex, sketch

    number = np.arange(len(scores))
    told = ((place, score) for place, score in enumerate(scores) if score is not None and len(notes_of(score)))
    sketches = {place: sketch(score) for place, score in told}
    index, places = NearIndex(list(sketches.values())), list(sketches)
    for own, place in enumerate(places):
        for other, _ in index.near(own):
            number[number == number[places[other]]] = number[place]
        index.add(own)
    return number


def percentile(run: int, baseline: Floats) -> float | None:
    """The share of human excerpts with a shorter run, equal ones counted half; None without any."""
    if not len(baseline):
        return None
    below, upto = np.searchsorted(baseline, run, "left"), np.searchsorted(baseline, run, "right")
    return float(below + upto) / 2 / len(baseline)


def copied(run: int, size: int, baseline: Floats) -> bool:
    """Whether a run of a piece of `size` steps is longer than in all but 1 of 100 human pieces.

    With too few human pieces: whether it takes a large share of the piece.
    """
    if run < LEAST_RUN:
        return False
    if len(baseline) < FEWEST_HUMANS:
        return run >= LARGE_SHARE * size
    return run > float(np.quantile(baseline, FLAGGED, method="higher"))


def report(corpus: Corpus, number: int) -> Result | None:
    """What piece `number` of those asked about has copied, and from where; None for one of fewer than LEAST_RUN steps,
    of which nothing can be said."""
    piece = corpus.asked[number]
    size = len(piece.steps)
    if size < LEAST_RUN:
        return None
    run, baseline = corpus.run(number), corpus.baseline(size)
    found = {
        "steps": size,
        "run": run.length,
        "from": float(piece.onsets[run.start]) / STEPS,
        "to": float(piece.onsets[run.start + run.length]) / STEPS,
        "training": None if run.piece == NOWHERE else run.piece,
        "percentile": percentile(run.length, baseline),
        "flagged": copied(run.length, size, baseline),
    }
    if run.piece != NOWHERE:
        source = corpus.training[run.piece].onsets
        found["training_from"] = float(source[run.place]) / STEPS
        found["training_to"] = float(source[run.place + run.length]) / STEPS
    return found
