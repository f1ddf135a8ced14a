"""Where a call of `generate` writes: never into a folder that is meant for sharing, nor among files of another call."""

import re
from pathlib import Path

from core.errors import HubError
from hparams.base import HParams
from supervisors.asking import fresh

_OURS = re.compile(r"\d+\.[a-z.]+|index\.html")


def place(folder: Path, hparams: HParams) -> Path:
    """`generate.out`, else a fresh folder: in samples/ of the run `folder`, or of where one stands for an artefact.

    HubError when `generate.out` holds pieces already: those of two calls would look like one set.
    """
    if not hparams.generate.out:
        return beside(folder, hparams, "generated")
    out = Path(hparams.generate.out)
    there = sorted(path.name for path in out.iterdir() if _OURS.fullmatch(path.name)) if out.is_dir() else []
    if there:
        raise HubError(f"generate.out: {out} holds pieces of another call ({there[0]}); give a new folder, or empty it")
    return out


def beside(folder: Path, hparams: HParams, stem: str) -> Path:
    """A fresh folder: in samples/ of the run `folder`, called by `stem`, or of where one stands for an artefact."""
    run = (folder / "hparams.yaml").exists()
    return fresh(folder / "samples", stem) if run else fresh(Path("samples"), hparams.name)
