"""The owners of a run. The hub's packages have generic names, so each must be found beside this one, not elsewhere."""

import os
from importlib.util import find_spec
from pathlib import Path

# Before torch is loaded: threads that wait in a loop for one another lose a tenfold of speed when anything else runs.
# GNU's look round for a tenth of a millisecond before they sleep, since waking them for every step of decoding is dear.
SPINS = "10000"
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)

_HOME = Path(__file__).resolve().parents[1]


def _check_siblings() -> None:
    for name in ("core", "hparams", "datatools", "plugins"):
        spec = find_spec(name)
        found = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if found != _HOME / name:
            raise SystemExit(
                f'swaptunes: the package "{name}" is found at {found}, expected {_HOME / name}; '
                "start from another folder, or remove or rename the foreign one"
            )


_check_siblings()
