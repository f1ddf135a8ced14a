"""A learnt unigram vocabulary in an order of its own, since the library's is another in each run.

`tokenizers` (0.23) goes through hash tables whose order is drawn anew for every table, threads or none. Two things
depend on it: base tokens that the model did not keep get the lowest score and a ten-thousandth more each, in that
order, and sums of probabilities are rounded otherwise. Which pieces are kept could depend on it too, where two of them
are worth the same.
"""

from typing import Any

STEP = 1e-4  # between the scores of base tokens that were not kept
DECIMALS = 4  # of a score; rounding of sums is seen from the tenth on


def settled(model: dict[str, Any]) -> dict[str, Any]:
    """A model as `tokenizers` writes it, [piece, score] each, with the same pieces, scores rounded, in a fixed order.

    Specials stay in front, as their ids are those of base tokens.
    """
    front = next(at for at, (_, score) in enumerate(model["vocab"]) if score)  # specials have the score 0
    scores = dict(model["vocab"][front:])
    least = min(scores.values())
    added = sorted(piece for piece, score in scores.items() if len(piece) == 1 and _is_step(score - least))
    scores |= dict(zip(added, sorted(scores[piece] for piece in added), strict=True))
    pieces = [[piece, round(score, DECIMALS)] for piece, score in scores.items()]
    return model | {"vocab": [*model["vocab"][:front], *sorted(pieces, key=lambda pair: (-pair[1], pair[0]))]}


def _is_step(above: float) -> bool:
    return abs(above / STEP - round(above / STEP)) < 1e-5
