"""What the processes of `bench` have in common, imported once in the server that they are forked from.

Nothing here starts a thread or touches a tensor: each process does that for itself.
"""

import supervisors.bench.decoding
import supervisors.bench.subjects
import supervisors.bench.training  # noqa: F401
