"""Prepares a folder of music with the toy tokenizer, and looks at the sides of the store."""

from pathlib import Path

from core.contracts.dataset import SPLITS
from datatools.preparing.cache import TokenStore, prepare
from hparams.base import DataHParams
from plugins.datasets.folder import Folder
from tests.toy_tokenizer import build

DATA = DataHParams(workers=2, seconds_per_file=20, megabytes_per_worker=1024)


def prepared(folder: Path, key: str = "toy") -> TokenStore:
    return prepare(Folder(str(folder)), build, key, DATA, progress=False)


def sides(store: TokenStore) -> dict[str, str]:
    return {piece.source: split for split in SPLITS for piece in store.pieces(split)}
