"""Performance events in 388 tokens, as in Performance RNN and Music Transformer: shifts of 10 ms to 1 s.

128 pitches struck and released, 100 shifts, 32 velocities; notes last as long as the sustain pedal holds them
(Oore et al., arXiv 1808.03715; Huang et al., arXiv 1809.04281).
"""

from collections.abc import Callable
from pathlib import Path

from hparams.tokenizers.performances import Performance388HParams
from plugins import hookimpl
from plugins.tokenizers.performance_tokens.events import OFF, ON, SHIFT, VELOCITY, Events
from plugins.tokenizers.performance_tokens.tokenizer import PerformanceTokenizer

EVENTS = Events(
    order=(ON, OFF, SHIFT, VELOCITY),
    pitches=(0, 127),
    velocities=tuple(range(1, 128, 4)),
    shifts=tuple(range(1, 101)),
    steps_per_second=100,
    pedal=True,
)


def build(hparams: Performance388HParams, folder: Path | None = None) -> PerformanceTokenizer:
    """The tokenizer; HubError when `folder` holds one whose ids mean something else."""
    return PerformanceTokenizer("performance_388", EVENTS, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    """Offers `performance_388`."""
    register(
        "performance_388", Performance388HParams, build, defaults={"dataset": "maestro", "data.augment.transpose": 5}
    )
