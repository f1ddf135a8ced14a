"""J. S. Bach's chorales as sixteenths of four voices, with the published split of 229, 76 and 77 pieces.

Jsb16thSeparated.json of czhuang/JSB-Chorales-dataset, on which Coconet and Music Transformer report (Huang et al.,
arXiv 1809.04281, table 2). Each chorale becomes a MIDI file with a track a voice, equal pitches in a row joined, since
the data does not tell a held note from a repeated one.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.contracts.dataset import SPLITS, Item, Split
from core.errors import HubError
from core.log import logger
from datatools.fetching import sources
from datatools.fetching.download import Remote
from datatools.reading.four_voices import SILENCE, VOICES, score_of
from hparams.datasets import JsbChoralesHParams
from plugins import hookimpl

PUBLISHED = Remote(
    "https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/9a7f733ddb4ed91f48da64ac7f0f621c34aadd4d/"
    "Jsb16thSeparated.json",
    "Jsb16thSeparated.json",
    1_666_444,
    "79294cc374f9252e95ef4b703161524c1c53dc1f712c236f00f1c1f5d54af5a7",
)
EXPECTED = f"expected {PUBLISHED.name} of {PUBLISHED.address}"


class JsbChorales:
    """A chorale is an item; `root` holds the MIDI files once `prepare` has made them."""

    license = "music in the public domain; the encoding bears no license"
    url = "https://github.com/czhuang/JSB-Chorales-dataset"

    def __init__(self, path: str) -> None:
        self.path = path
        self.identity = f"jsb_chorales {Path(path).expanduser().resolve()}" if path else "jsb_chorales"
        self.root: Path | None = None

    def prepare(self, folder: Path) -> None:
        """Finds or downloads the JSON, and writes a MIDI file a chorale below `folder`."""
        source = sources.file(self.path, PUBLISHED, folder)
        data = source.read_bytes()
        self.sha256 = hashlib.sha256(data).hexdigest()
        if self.sha256 != PUBLISHED.sha256:
            logger.warning("%s is not the published file; figures from it do not compare with published ones", source)
        self.root = folder / f"midi-{self.sha256[:16]}"
        if not self.root.exists():
            part = folder / f"{self.root.name}.{os.getpid()}.part"
            shutil.rmtree(part, ignore_errors=True)
            write_midi(chorales(data, source), part)
            os.replace(part, self.root)

    def fingerprint(self) -> str:
        return f"jsb_chorales 1 {self.sha256}"

    def items(self) -> Iterable[Item]:
        assert self.root is not None, "prepare comes first"
        return [Item(str(path), split=split) for split in SPLITS for path in sorted((self.root / split).glob("*.mid"))]


def chorales(data: bytes, source: Path) -> dict[Split, list[NDArray[np.int64]]]:
    """The pitches (s 4) of every chorale of every split, -1 for silence; HubError when the file holds anything else."""
    try:
        splits = json.loads(data)
        found = {split: [np.array(chorale, dtype=np.int64) for chorale in splits[split]] for split in SPLITS}
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise HubError(f"{source} is not the chorales' JSON ({type(error).__name__}: {error}); {EXPECTED}") from error
    for split, pieces in found.items():
        for number, steps in enumerate(pieces):
            fits = steps.ndim == 2 and steps.shape[1] == len(VOICES) and bool((steps != SILENCE).any())
            if not fits or steps.min() < SILENCE or steps.max() > 127:
                raise HubError(f"{source}: chorale {number} of {split} is not steps of four pitches; {EXPECTED}")
    return found


def write_midi(pieces: dict[Split, list[NDArray[np.int64]]], folder: Path) -> None:
    """Writes train/000.mid and so on."""
    for split, chorales in pieces.items():
        (folder / split).mkdir(parents=True)
        for number, steps in enumerate(chorales):
            score_of(steps).dump_midi(folder / split / f"{number:03d}.mid")


def build(hparams: JsbChoralesHParams) -> JsbChorales:
    return JsbChorales(hparams.path)


@hookimpl
def register_datasets(register: Callable[..., None]) -> None:
    register("jsb_chorales", JsbChoralesHParams, build)
