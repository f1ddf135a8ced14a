"""How this process was started: alone, or by a launcher as one of several."""

import os

from supervisors.training.ranks import Ranks


def start() -> Ranks:
    """Reads what torchrun, DeepSpeed's launcher or Slurm set; joins the process group when there are several ranks."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Ranks(local=local)
    from supervisors.training.process_group import join  # here: it imports PyTorch

    return join(local)
