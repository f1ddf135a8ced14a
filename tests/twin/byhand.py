"""What training, scoring and drawing mean, written out in loops over float64 numbers; nothing here knows the hub.

The toy model: m_t = FADE * m_(t-1) + E[x_t], from nothing where a piece starts; h_t = F tanh(M m_t + c); logits H h_t.
E (rows d) and H (rows d) may be one; AdamW decays M and H, but not c, E and F.
Shapes: d width, v vocabulary, rows those of the vocabulary padded to a multiple of 8.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

FADE = 0.8
UNDECAYED = ("embedding.weight", "backbone.bias", "backbone.exempt")
Weights = dict[str, np.ndarray]
Row = tuple[list[int], list[int], list[bool]]  # ids, targets (-100: not counted), starts


@dataclass
class Toy:
    """The toy model's weights under the hub's names; `vocabulary` ids have logits."""

    weights: Weights
    vocabulary: int
    tied: bool = False
    moments: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def head(self) -> np.ndarray:
        return self.weights["embedding.weight" if self.tied else "head.weight"]

    def logits(self, hidden: np.ndarray) -> np.ndarray:
        return self.head()[: self.vocabulary] @ hidden

    def hidden(self, memory: np.ndarray) -> np.ndarray:
        w = self.weights
        return w["backbone.exempt"] @ np.tanh(w["backbone.mix"] @ memory + w["backbone.bias"])

    def next_logits(self, ids: Sequence[int]) -> np.ndarray:
        """Logits (v,) of what follows ids, from all of them at once and no state."""
        age = np.arange(len(ids))[::-1]
        return self.logits(self.hidden((FADE**age) @ self.weights["embedding.weight"][list(ids)]))

    def costs(self, ids: Sequence[int]) -> list[float]:
        """Nats of each of ids but the first, given those before it."""
        memory, found = np.zeros(len(self.weights["backbone.bias"])), []
        for before, id in pairwise(ids):
            memory = FADE * memory + self.weights["embedding.weight"][before]
            found.append(float(-log_chances(self.logits(self.hidden(memory)))[id]))
        return found

    def loss_and_gradient(self, rows: Sequence[Row]) -> tuple[float, Weights]:
        """Nats per counted target over all rows of a step, and its gradient, by back-propagation token by token."""
        w, head = self.weights, self.head()
        gradient = {name: np.zeros_like(value) for name, value in w.items()}
        of_head = gradient["embedding.weight" if self.tied else "head.weight"]
        counted = sum(target != -100 for _, targets, _ in rows for target in targets)
        total = 0.0
        for ids, targets, starts in rows:
            memory, trace = np.zeros(len(w["backbone.bias"])), []
            for id, start in zip(ids, starts):
                memory = (0 if start else FADE) * memory + w["embedding.weight"][id]
                bent = np.tanh(w["backbone.mix"] @ memory + w["backbone.bias"])
                trace.append((memory, bent, w["backbone.exempt"] @ bent))
            later = np.zeros_like(memory)
            for t in reversed(range(len(ids))):
                memory, bent, hidden = trace[t]
                of_memory = later
                if targets[t] != -100:
                    chances = log_chances(self.logits(hidden))
                    total -= chances[targets[t]]
                    error = np.exp(chances)
                    error[targets[t]] -= 1
                    error /= counted
                    of_head[: self.vocabulary] += np.outer(error, hidden)
                    of_hidden = head[: self.vocabulary].T @ error
                    gradient["backbone.exempt"] += np.outer(of_hidden, bent)
                    of_sum = (w["backbone.exempt"].T @ of_hidden) * (1 - bent**2)
                    gradient["backbone.mix"] += np.outer(of_sum, memory)
                    gradient["backbone.bias"] += of_sum
                    of_memory = later + w["backbone.mix"].T @ of_sum
                gradient["embedding.weight"][ids[t]] += of_memory
                later = (0 if starts[t] else FADE) * of_memory
        return total / counted, gradient

    def adamw(
        self, gradient: Weights, step: int, rate: float, betas: tuple[float, float], decay: float, clip: float
    ) -> float:
        """One step of AdamW (Loshchilov and Hutter 2019), counted from 1; gives the gradient's norm before clipping."""
        norm = math.sqrt(sum(float((value**2).sum()) for value in gradient.values()))
        scale = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
        for name, value in self.weights.items():
            g = gradient[name] * scale
            first, second = self.moments.get(name, (np.zeros_like(g), np.zeros_like(g)))
            first, second = betas[0] * first + (1 - betas[0]) * g, betas[1] * second + (1 - betas[1]) * g * g
            self.moments[name] = first, second
            if name not in UNDECAYED:
                value -= rate * decay * value
            value -= rate * (first / (1 - betas[0] ** step)) / (np.sqrt(second / (1 - betas[1] ** step)) + 1e-8)
        return norm


def log_chances(logits: np.ndarray) -> np.ndarray:
    """Log of the softmax (v,)."""
    return logits - logits.max() - math.log(sum(math.exp(x - logits.max()) for x in logits.tolist()))


def rate(step: int, highest: float, steps: int, warmup: int, floor: float) -> float:
    """The learning rate of step 1, 2, ...: `warmup` equal parts up to the highest, half a cosine to its `floor`."""
    if step <= warmup:
        return highest / warmup * step
    fallen = math.sin(math.pi / 2 * (step - warmup) / (steps - warmup)) ** 2
    return highest * (1 - fallen * (1 - floor))


@dataclass(frozen=True)
class Way:
    """How tokens are drawn, in the order in which each acts."""

    penalty: float = 1.0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


def point(seed: int, row: int, step: int) -> float:
    """A number in [0, 1) of these three: splitmix64 (Steele, Lea, Flood 2014) over one after the other."""

    def mixed(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    return (mixed((mixed((mixed(seed) + row) % 2**64) + step) % 2**64) >> 11) / 2**53


def choose(logits: Sequence[float], forbidden: set[int], held: set[int], way: Way, at: float) -> int:
    """The id at the share `at` of what is left, in the order of ids."""
    scores = dict(enumerate(logits))
    for id in held:
        scores[id] = scores[id] / way.penalty if scores[id] > 0 else scores[id] * way.penalty
    left = sorted((id for id in scores if id not in forbidden), key=lambda id: (-scores[id], id))
    best = scores[left[0]]
    weight = {id: math.exp((scores[id] - best) / way.temperature) for id in left}
    if way.top_k:
        left = left[: way.top_k]
    if way.top_p < 1:
        total, reached, kept = sum(weight[id] for id in left), 0.0, []
        for id in left:
            if reached >= way.top_p * total:
                break
            kept.append(id)
            reached += weight[id]
        left = kept
    left = sorted(id for id in left if weight[id] >= way.min_p)
    goal, passed = at * sum(weight[id] for id in left), 0.0
    for id in left:
        passed += weight[id]
        if passed > goal:
            return id
    return left[-1]


def continued(
    model: Toy,
    prompt: Sequence[int],
    special: tuple[int, int, int],
    length: int,
    way: Way,
    seed: int,
    row: int,
    over: Callable[[list[int]], bool] = lambda ids: False,
) -> tuple[list[int], bool]:
    """A prompt with at most `length` more ids, and whether it ended by itself; `special` is (pad, bos, eos).

    Each id is drawn from the whole prefix read anew. The end is not drawn first.
    """
    pad, bos, eos = special
    ids = list(prompt)
    for step in range(length):
        forbidden = {pad, bos, eos} if step == 0 else {pad, bos}
        id = choose(model.next_logits([bos, *ids]).tolist(), forbidden, set(ids), way, point(seed, row, step))
        if id == eos:
            return ids, True
        ids.append(id)
        if over(ids):
            return ids, True
    return ids, False
