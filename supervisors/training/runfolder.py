"""Where a run lies on disk: its folder, its checkpoints, and the lock that keeps two processes from sharing it."""

import hashlib
import json
import os
import shutil
import socket
from pathlib import Path
from typing import IO, Any

from core.errors import HubError
from core.files import as_json, checksum, write_json
from core.locks import taken
from core.log import logger

FORMAT = 2  # of a checkpoint; 1 held state that was tied to engine and ranks


class RunFolder:
    """`runs/NAME/` and the names within it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hparams = path / "hparams.yaml"
        self.environment = path / "environment.json"
        self.evaluation = path / "evaluation.json"
        self.report = path / "evaluation"
        self.model = path / "model"
        self.samples = path / "samples"
        self._checkpoints = path / "checkpoints"
        self._lock: IO[str] | None = None

    def lock(self) -> None:
        """Takes the folder for this process until it ends, however it ends; HubError when another has it.

        The system keeps the lock and lets it go with the process; the number in the file is for people only.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = (self.path / "lock").open("a+", encoding="utf-8")
            if not taken(handle):
                handle.seek(0)
                owner = handle.read().strip() or "unknown"
                handle.close()
                raise HubError(f"{self.path} is in use by process {owner}; wait for it, or give another name=")
            handle.truncate(0)
            handle.write(f"{os.getpid()} on {socket.gethostname()}")
            handle.flush()
        except OSError as error:
            raise HubError(f"{self.path} cannot be written ({error.strerror}); give another place or name=") from error
        self._lock = handle

    def unlock(self) -> None:
        """Gives the folder back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def forget(self) -> None:
        """Removes a folder in which nothing was done but to note what was asked for."""
        notes = (self.path / "lock", self.hparams)
        if self.path.is_dir() and not set(self.path.iterdir()) - set(notes):
            for note in notes:
                note.unlink(missing_ok=True)
            self.path.rmdir()

    def checkpoint(self, step: int) -> Path:
        """The folder of the checkpoint after `step` optimizer steps."""
        return self._checkpoints / f"step_{step:06d}"

    def checkpoints(self) -> list[Path]:
        """All finished checkpoints, oldest first."""
        found = [path for path in self._checkpoints.glob("step_*") if path.name.removeprefix("step_").isdecimal()]
        return sorted(found, key=lambda path: int(path.name.removeprefix("step_")))

    def newest_intact(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest checkpoint whose files all match their checksums, with its meta.json; damaged ones are named.

        Raises HubError when there are checkpoints and none is intact: starting from zero would hide the loss.
        """
        damaged = []
        for path in reversed(self.checkpoints()):
            found = fault(path)
            if not found:
                return path, json.loads((path / "meta.json").read_text(encoding="utf-8"))
            logger.warning("%s is damaged (%s); an older checkpoint is used", path, found)
            damaged.append(path.name)
        if damaged:
            raise HubError(
                f"{self._checkpoints} holds no intact checkpoint ({', '.join(damaged)}); remove it to start anew"
            )
        return None

    def set_aside(self, step: int) -> None:
        """Moves a damaged checkpoint out of the way of the one to be written: nothing is overwritten."""
        path = self.checkpoint(step)
        number = 1
        while (aside := path.with_name(f"damaged_{path.name}_{number}")).exists():
            number += 1
        path.rename(aside)
        logger.warning("%s is damaged and was moved to %s", path, aside)

    def drop_old(self, keep: int) -> None:
        """Removes all but the newest `keep` checkpoints, and what killed processes left half written."""
        for path in self.checkpoints()[:-keep]:
            shutil.rmtree(path)
        for path in self._checkpoints.glob(".step_*[0-9]"):
            shutil.rmtree(path)

    def temporary(self, step: int) -> Path:
        """Where a checkpoint is written before it gets its name."""
        return self._checkpoints / f".step_{step:06d}"


def seal(folder: Path, meta: dict[str, Any]) -> None:
    """Writes meta.json with the checksum of every file in the folder, and of itself."""
    files = {str(path.relative_to(folder)): checksum(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    meta = {"format": FORMAT, **meta, "files": files}
    write_json(folder / "meta.json", {**meta, "sha256": _own_checksum(meta)})


def _own_checksum(meta: dict[str, Any]) -> str:
    return hashlib.sha256(as_json({key: meta[key] for key in meta if key != "sha256"}).encode()).hexdigest()


def fault(folder: Path) -> str:
    """What is wrong with a checkpoint; empty when nothing is. HubError for one of another format."""
    try:
        text = (folder / "meta.json").read_bytes()
        meta = json.loads(text)
        if "sha256" not in meta and meta["format"] < FORMAT:
            raise HubError(f"{folder} has format {meta['format']}; this version goes on from {FORMAT} only")
        if meta["sha256"] != _own_checksum(meta) or as_json(meta).encode() != text:
            return "meta.json was changed"
        if meta["format"] != FORMAT:
            raise HubError(f"{folder} has format {meta['format']}, newer than {FORMAT}; update swaptunes to read it")
        if meta["step"] != int(folder.name.removeprefix("step_")):
            return f"meta.json is of step {meta['step']}"
        for name, digest in meta["files"].items():
            if checksum(folder / name) != digest:
                return f"{name} was changed"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except HubError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        return f"meta.json: {error!r}"
    return ""
