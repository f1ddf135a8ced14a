"""What the pictures of an evaluation share: colors, names, frames.

Colors mean the same everywhere: real music gray, the model blue, the n-gram orange, the tokenizer alone green.
"""

from pathlib import Path
from typing import Any

from core.files import atomic

GRAY, BLUE, ORANGE, GREEN = "#8A8A94", "#0072B2", "#D55E00", "#009E73"
ROWS = {"real": GRAY, "tokenizer": GREEN, "generated": BLUE, "ngram": ORANGE, "others": GRAY}
NAMES = {
    "real": "real music",
    "tokenizer": "tokenizer alone",
    "generated": "model",
    "ngram": "n-gram",
    "others": "another piece's",
    "human": "held-out human pieces",
    "continued": "model, from prompts",
}


def draw(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Any, Any]:
    """A figure of panels without frames, and its axes, as a table where there are several rows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return figure, axes if rows > 1 or columns == 1 else axes[0]


def save(figure: Any, path: Path) -> None:
    """Writes a PNG, whole or not at all."""
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png", metadata={"Software": None})
