"""What a person asks of the pieces to come, as the model takes it."""

import torch

from core.model.conditioning import Known
from hparams.base import HParams
from plugins.manager import Manager
from supervisors.training.data.controls import wishes


def asked_of(manager: Manager, hparams: HParams) -> Known | None:
    """What `generate.controls` asks of every piece (1 1 c); None of a model without controls. HubError as `wishes`."""
    found = wishes(manager, hparams)
    return None if found is None else Known(*(torch.from_numpy(each)[None, None] for each in found))
