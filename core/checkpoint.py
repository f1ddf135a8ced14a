"""Files that are complete or absent: weights as safetensors, JSON, text, whole folders.

Everything is written under a temporary name, synced and renamed, so that a kill at any moment leaves the old file or
the new one. The same content gives the same bytes.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from core.errors import HubError

_METADATA = "swaptunes"  # the one key of a file's metadata: safetensors writes more than one in random order
_REMEDIES = {
    errno.ENOSPC: "no space is left on the disk; free some and start again",
    errno.EDQUOT: "the disk quota is used up; free some space and start again",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission is denied; choose a folder that you may write to",
    errno.EPERM: "permission is denied; choose a folder that you may write to",
}


def save_weights(
    model: nn.Module | Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, Any] | None = None
) -> None:
    """Writes a model's weights (or a state dict) to `path`, from any device, in their own dtypes.

    Tensors that share all their memory are written once, under the first of their names; the file remembers the other
    names. `metadata` is anything that JSON can tell.
    """
    from safetensors.torch import save

    tensors = model.state_dict() if isinstance(model, nn.Module) else model
    kept: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    owners: dict[tuple[Any, ...], str] = {}
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        memory = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        owner = owners.setdefault(memory, name) if tensor.numel() else name
        if owner != name:
            tied[name] = owner
            continue
        tensor = tensor.cpu().contiguous()
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        kept[name] = tensor if whole else tensor.clone()  # views of one storage cannot be told apart when saving
    header = {"metadata": dict(metadata or {}), "tied": tied}
    content = save(kept, {_METADATA: json.dumps(header, sort_keys=True, ensure_ascii=False, allow_nan=False)})
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Reads the tensors of a safetensors file, by anybody written, onto the CPU; tied names share one tensor.

    HubError when the file is missing, cut short or no safetensors file.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        for name, owner in _header(file).get("tied", {}).items():
            tensors[name] = tensors[owner]
    return tensors


def load_metadata(path: str | Path) -> dict[str, Any]:
    """What `save_weights` was given as metadata; empty for a file that was written by somebody else."""
    with _opened(path) as file:
        return dict(_header(file).get("metadata", {}))


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    """Opens a safetensors file; what is wrong with it becomes one line."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise HubError(f"there is no file {path}; expected weights as safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise HubError(
            f"{path} is damaged or no safetensors file ({error}); restore it or use another checkpoint"
        ) from error
    except OSError as error:
        raise HubError(f"cannot read {path}: {error.strerror or error}") from error


def _header(file: Any) -> dict[str, Any]:
    """The hub's own part of a file's metadata."""
    header: dict[str, Any] = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
    return header


def write_json(path: str | Path, content: Any) -> None:
    """Writes `content` as indented JSON, keys sorted; NaN and infinity, which JSON has not, are a ValueError."""
    write_text(path, as_json(content))


def as_json(content: Any) -> str:
    """The one text that `write_json` gives `content`."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` in UTF-8 with Unix line ends."""
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode())


def checksum(path: str | Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what is written there is synced and takes the place of `path`.

    Folders on the way are made. When the block raises, the temporary file goes and `path` stays as it was. A full
    disk, a read-only one and missing rights become a HubError.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _explained(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)
        finally:
            if temporary.exists():
                temporary.unlink()


def publish_folder(temporary: str | Path, final: str | Path) -> None:
    """Gives a finished folder its name, in place of an older one; all its files are synced first.

    Both lie on one file system. A kill in the moment between the two renames leaves the older folder under a hidden
    name beside `final`, from where `recover_folder` fetches it.
    """
    temporary, final = Path(temporary), Path(final)
    with _explained(final):
        for path in [*temporary.rglob("*"), temporary]:
            _sync(path)
        recover_folder(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            os.replace(final, _aside(final))
        os.replace(temporary, final)
        _sync(final.parent)
        shutil.rmtree(_aside(final), ignore_errors=True)


def recover_folder(final: str | Path) -> None:
    """Undoes a `publish_folder` that was killed between its two renames; does nothing otherwise."""
    final = Path(final)
    if _aside(final).exists():
        if final.exists():
            shutil.rmtree(_aside(final))
        else:
            os.replace(_aside(final), final)


def _aside(final: Path) -> Path:
    return final.with_name(f".{final.name}.old")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns the system errors that a person can mend into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in _REMEDIES:
            raise HubError(f"cannot write {path}: {_REMEDIES[error.errno]}") from error
        raise


def _sync(path: Path) -> None:
    """Forces a file, or the entries of a folder, to the disk; Windows knows no such thing for folders."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
