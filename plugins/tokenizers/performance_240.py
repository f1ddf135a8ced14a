"""Performance events in 240 tokens, as PerformanceRNN for PyTorch has them: shifts of time that grow by 15 %.

88 pitches struck and released, 32 velocities from 21 to 109, 32 shifts from 15 ms to 1.17 s (github.com/djosix/
Performance-RNN-PyTorch). Unlike there, all 32 velocities are used, a note lasts as long as it did, and errors of
rounding do not add up.
"""

from collections.abc import Callable
from pathlib import Path

from hparams.tokenizers.performances import Performance240HParams
from plugins import hookimpl
from plugins.tokenizers.performance_tokens.events import OFF, ON, SHIFT, VELOCITY, Events
from plugins.tokenizers.performance_tokens.tokenizer import PerformanceTokenizer

EVENTS = Events(
    order=(ON, OFF, VELOCITY, SHIFT),
    pitches=(21, 108),
    velocities=tuple(round(21 + 88 / 31 * step) for step in range(32)),
    shifts=tuple(round(1000 * 1.15**step / 65) for step in range(32)),
    steps_per_second=1000,
    pedal=False,
)


def build(hparams: Performance240HParams, folder: Path | None = None) -> PerformanceTokenizer:
    """The tokenizer; HubError when `folder` holds one whose ids mean something else."""
    return PerformanceTokenizer("performance_240", EVENTS, folder)


@hookimpl
def register_tokenizers(register: Callable[..., None]) -> None:
    """Offers `performance_240`."""
    register(
        "performance_240", Performance240HParams, build, defaults={"dataset": "maestro", "data.augment.transpose": 5}
    )
