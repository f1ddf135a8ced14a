"""Laws, parity, golden files, plugins, documentation and packaging."""

import supervisors  # noqa: F401  sets how threads wait, before anything loads torch
