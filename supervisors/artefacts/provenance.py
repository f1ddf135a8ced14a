"""Which plugins a run or an artefact is made of."""

from hparams.base import HParams
from plugins.manager import Manager


def plugins_of(manager: Manager, hparams: HParams) -> dict[str, dict[str, str]]:
    """Name, distribution and version of the plugins that a run uses."""
    slots = {
        "backbone": manager.backbones[hparams.backbone.name],
        "tokenizer": manager.tokenizers[hparams.tokenizer.name],
        "dataset": manager.datasets[hparams.dataset.name],
    }
    return {
        slot: {"name": entry.name, "distribution": entry.distribution, "version": entry.version}
        for slot, entry in slots.items()
    }
