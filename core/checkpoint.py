"""Weights as safetensors files, whole or absent; the same content gives the same bytes."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from core.errors import HubError
from core.files import atomic

_METADATA = "swaptunes"  # the one key of a file's metadata: safetensors writes more than one in random order


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
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise HubError(
            f"{path} is damaged or no safetensors file ({error}); restore it or use another checkpoint"
        ) from error
    except OSError as error:
        raise HubError(f"cannot read {path}: {error.strerror or error}") from error


def _header(file: Any) -> dict[str, Any]:
    """The hub's own part of a file's metadata."""
    header: dict[str, Any] = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
    return header
