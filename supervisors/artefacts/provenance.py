"""Which plugins a run or an artefact is made of."""

from hparams.base import HParams
from hparams.loading import SLOTS
from plugins.manager import Manager


def plugins_of(manager: Manager, hparams: HParams) -> dict[str, dict[str, str]]:
    """Name, distribution and version of the plugins that a run uses."""
    entries = {slot: manager.registry(slot)[getattr(hparams, slot).name] for slot in SLOTS}
    return {
        slot: {"name": entry.name, "distribution": entry.distribution, "version": entry.version}
        for slot, entry in entries.items()
    }
