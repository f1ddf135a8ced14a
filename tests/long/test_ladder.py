"""A whole climb of the sanity ladder's last rungs."""

from hparams.backbones.gru import GruHParams
from plugins.backbones.gru import build
from plugins.ladder.climb import climb
from plugins.ladder.tasks import TASKS


def test_a_recurrent_backbone_tracks_a_state_for_longer_than_it_was_trained() -> None:
    tasks = tuple(task for task in TASKS if task.name.startswith("parity"))
    assert all(rung.passed for rung in climb(build, GruHParams(), tasks=tasks))
