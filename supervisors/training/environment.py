"""environment.json: what a run ran on, so that a figure can be traced to it."""

import os
import platform
from importlib import metadata
from pathlib import Path

from core.files import write_json
from hparams.base import HParams
from plugins.manager import Manager, own_version
from supervisors.artefacts.provenance import plugins_of
from supervisors.training.ranks import Ranks

LIBRARIES = ("torch", "deepspeed", "miditok", "symusic", "music21", "mamba-ssm", "causal-conv1d", "numpy")


def write(path: Path, manager: Manager, hparams: HParams, ranks: Ranks) -> None:
    """Writes versions, hardware and plugins."""
    import torch  # here: a supervisor that prepares data and no more writes none of this

    versions: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    device = torch.cuda.get_device_name(ranks.device) if ranks.device.type == "cuda" else platform.processor() or "CPU"
    write_json(
        path,
        {
            "swaptunes": own_version(),
            "python": platform.python_version(),
            "system": platform.platform(),
            "device": device,
            "processors": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "ranks": ranks.world,
            "libraries": versions,
            "plugins": plugins_of(manager, hparams),
        },
    )
