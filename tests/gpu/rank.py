"""One of several ranks on one device: `torchrun ... -m tests.gpu.rank BACKEND --hparams ...`, else as the command."""

import os
import sys

import torch
from torch import distributed

from supervisors.run import main

if __name__ == "__main__":
    os.environ["LOCAL_RANK"] = "0"  # all of them take the first card
    distributed.init_process_group(sys.argv[1])
    # A backend that refuses several ranks on one card does so at the first sum, before a run begins.
    distributed.all_reduce(torch.ones(1, device="cuda" if torch.cuda.is_available() else "cpu"))
    main(sys.argv[2:])
