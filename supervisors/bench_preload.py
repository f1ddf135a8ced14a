"""What the processes of `bench` have in common, imported once in the server that they are forked from.

Nothing here starts a thread or touches a tensor: each process does that for itself.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # nobody looks for kernels on the network while others are timed
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import supervisors.bench_decoding
import supervisors.bench_subjects
import supervisors.bench_training  # noqa: F401
