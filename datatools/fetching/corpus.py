"""The scores that the package music21 brings along, found without importing it."""

import hashlib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from core.errors import HubError

LICENSE = "music in the public domain; encodings distributed with music21 (see corpus/license.txt there)"
URL = "https://github.com/cuthbertLab/music21"


def folder(*names: str) -> Path:
    """The corpus folder, once the collections of these names are in it; HubError with the remedy when they are not."""
    spec = find_spec("music21")
    if spec is None or not spec.submodule_search_locations:
        raise HubError('the package music21, which brings this music, is not installed; run "pip install music21"')
    corpus = Path(spec.submodule_search_locations[0]) / "corpus"
    for name in names:
        if not (corpus / name).is_dir():
            raise HubError(
                f"music21 is installed without its corpus ({corpus / name} is missing);"
                ' run "pip install --force-reinstall --no-deps music21"'
            )
    return corpus


def fingerprint(rule: str, corpus: Path, files: list[Path]) -> str:
    """Of the package's version, the rule that chose the files, and their names and sizes."""
    listing = "\n".join(f"{path.relative_to(corpus).as_posix()} {path.stat().st_size}" for path in files)
    return hashlib.sha256(f"{metadata.version('music21')}\n{rule}\n{listing}".encode()).hexdigest()
