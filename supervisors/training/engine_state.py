"""Weights and optimizer state by parameter name, whatever holds them: torch, or DeepSpeed at any ZeRO stage.

A checkpoint of these goes on under another engine, stage or number of ranks. ZeRO's optimizer works on flat pieces of
the parameters, spread over the ranks; DeepSpeed's `safe_get_full_*` and `safe_set_*` reach them by parameter. Its own
checkpoints are tied to stage and ranks, and its universal ones join only stages 1 and 2 on a CPU.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import HubError

_FLAT = ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups", "fp32_groups_flat_partition")


def insist_readable(optimizer: Any) -> None:
    """HubError for one of DeepSpeed's optimizers whose fp32 weights and moments cannot be read by parameter."""
    if hasattr(optimizer, "optimizer") and not _flats(optimizer):
        raise HubError(
            f"DeepSpeed trains with its {type(optimizer).__name__}, which no checkpoint can hold; set "
            "deepspeed.zero_optimization.stage to 1 or more, or train.precision in place of deepspeed.bf16"
        )


def read_weights(model: nn.Module, *, keep: bool = True) -> dict[str, Tensor]:
    """The model's whole state by name, in fp32 where an optimizer keeps such masters of the parameters.

    Every rank must call; those that do not `keep` get nothing and need no memory for it.
    """
    seen: dict[int, Tensor | None] = {}  # tied weights stay one tensor, and are gathered once
    found: dict[str, Tensor] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if id(value) not in seen:
            whole = _whole(value)
            gathered = whole is not value
            seen[id(value)] = (whole.cpu() if gathered else whole).detach() if keep else None
        kept = seen[id(value)]
        if kept is not None:
            found[name] = kept
    return found


def read_optimizer(model: nn.Module, optimizer: Any, *, keep: bool = True) -> dict[str, Tensor]:
    """The optimizer's state as `exp_avg/NAME` and the like, whole, and `step/NAME` as scalars.

    Every rank must call; those that do not `keep` get nothing. HubError for an optimizer whose state is not one value
    a weight, which no other engine could take over.
    """
    inner = getattr(optimizer, "optimizer", optimizer)
    flats = _flats(optimizer)
    _link(optimizer)
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        state: dict[str, Any] = dict(inner.state.get(flats[0] if flats else parameter, {}))
        shape = flats[0].shape if flats else parameter.shape
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == shape:
                value = _get(parameter, key) if flats else value
            elif isinstance(value, Tensor) and value.ndim:
                raise HubError(
                    f"{type(inner).__name__} keeps a {key} that is not one value a weight, so that no checkpoint can "
                    "hold it; choose AdamW in deepspeed.optimizer, or leave that away"
                )
            if keep:
                found[f"{key}/{name}"] = torch.as_tensor(value).detach().cpu().clone()
    return found


def write(model: nn.Module, optimizer: Any, weights: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> None:
    """Puts what `read_weights` and `read_optimizer` gave into any engine's model and optimizer; every rank calls."""
    inner = getattr(optimizer, "optimizer", optimizer)
    flats = _flats(optimizer)
    of_name: dict[str, dict[str, Tensor]] = {name: {} for name, _ in model.named_parameters()}
    for label, value in moments.items():
        key, _, name = label.partition("/")
        if name not in of_name:
            raise HubError(f"the optimizer's state of {name} has no parameter in this model; train under another name=")
        of_name[name][key] = value
    counts = {key for state in of_name.values() for key in state}
    counts -= {key for state in of_name.values() for key, value in state.items() if value.ndim}
    _write_weights(model, weights)
    if flats:
        _write_flat(model, optimizer, flats, of_name, counts)
        return
    for name, parameter in model.named_parameters():
        if of_name[name]:
            inner.state[parameter] = {
                key: _count(inner, value, parameter) if key in counts else value.to(parameter.device, copy=True)
                for key, value in of_name[name].items()
            }


def _write_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    if not any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        model.load_state_dict(weights)
        _write_masters(model, weights)
        return
    import deepspeed

    buffers = dict(model.named_buffers())
    for name, value in model.state_dict(keep_vars=True).items():
        if name in buffers:
            value.copy_(weights[name])
            continue
        with deepspeed.zero.GatheredParameters([value], modifier_rank=0):
            value.data.copy_(weights[name])
    _write_masters(model, weights)


def _write_masters(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            _set(parameter, weights[name], None)


def _write_flat(
    model: nn.Module, optimizer: Any, flats: list[Tensor], of_name: dict[str, dict[str, Tensor]], counts: set[str]
) -> None:
    """Makes the state of ZeRO's flat pieces, which a fresh optimizer has not, and fills it parameter by parameter."""
    inner = optimizer.optimizer
    example: dict[str, Tensor] = next((state for state in of_name.values() if state), {})
    for flat in flats:
        inner.state[flat] = {
            key: _count(inner, value, flat) if key in counts else torch.zeros_like(flat)
            for key, value in example.items()
        }
    _link(optimizer)
    for name, parameter in model.named_parameters():
        for key, value in of_name[name].items():
            if key not in counts:
                _set(parameter, value, key)


def _flats(optimizer: Any) -> list[Tensor]:
    """What a ZeRO optimizer's inner one really works on in this rank; nothing for a plain optimizer."""
    return next((list(getattr(optimizer, name)) for name in _FLAT if hasattr(optimizer, name)), [])


def _link(optimizer: Any) -> None:
    """Shows stages 1 and 2 the state of every flat piece.

    DeepSpeed does so after the step of the first group of parameters, when the others' state does not exist yet.
    """
    if hasattr(optimizer, "_lazy_init_hp_params_optimizer_state"):
        optimizer._hp_optimizer_states_linked = False
        optimizer._lazy_init_hp_params_optimizer_state()


def _whole(value: Tensor) -> Tensor:
    """A parameter gathered from the ranks or from its fp32 master; anything else as it is."""
    if hasattr(value, "ds_id") or (hasattr(value, "_hp_mapping") and value.dtype != torch.float32):
        if value.requires_grad:
            return _get(value, None)
        import deepspeed

        with deepspeed.zero.GatheredParameters([value]):  # frozen: it has no master
            return value.detach().clone()
    return value


def _get(parameter: Tensor, key: str | None) -> Tensor:
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    whole: Tensor = safe_get_full_optimizer_state(parameter, key) if key else safe_get_full_fp32_param(parameter)
    return whole


def _set(parameter: Any, value: Tensor, key: str | None) -> None:
    """Sets this rank's part of a parameter's master, or of one of its moments; a plain parameter has neither."""
    if not hasattr(parameter, "ds_id") and not hasattr(parameter, "_hp_mapping"):
        return
    from deepspeed import utils as access

    value = value.to(device=parameter.device, dtype=torch.float32)
    write: Callable[..., None]
    if hasattr(parameter, "ds_id"):  # the setter of whole values fails on a parameter that the ranks divide unevenly
        part = parameter.ds_tensor.numel()
        rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        padded = nn.functional.pad(value.flatten(), (0, part * world - value.numel()))
        value = padded[rank * part : (rank + 1) * part]
        write = access.safe_set_local_optimizer_state if key else access.safe_set_local_fp32_param
    else:
        write = access.safe_set_full_optimizer_state if key else access.safe_set_full_fp32_param
    write(parameter, value, key) if key else write(parameter, value)


def _count(inner: Any, value: Tensor, of: Tensor) -> Any:
    """A number of steps as this optimizer keeps it: torch's as float32 tensors, beside the weights where it is fused;
    DeepSpeed's as integers."""
    if not type(inner).__module__.startswith("torch."):
        return int(value)
    fused = any(group.get("fused") for group in inner.param_groups)
    return value.clone().to(torch.float32).to(of.device if fused else "cpu")
