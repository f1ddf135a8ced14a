"""The laws over anything registered, and over a plugin author's own backbone, tokenizer or supervisor in a test.

from plugins.checks import backbone_checks

@pytest.mark.parametrize(*backbone_checks(build, MyHParams(), expected_failures={"remembers earlier tokens": "why"}))
def test_law(law):
    law()
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from core.errors import HubError
from core.names import did_you_mean
from core.registry import Entry
from plugins.laws.backbones.judging import backbone_laws
from plugins.laws.controls import control_laws, registered
from plugins.laws.law import Finding, Law, LawBroken, Skipped, Verdict, parameters, table
from plugins.laws.supervisors.all import supervisor_laws
from plugins.laws.tokenizers.judging import tokenizer_laws
from plugins.making import insist_importable
from plugins.manager import Manager, find

__all__ = [
    "Law",
    "LawBroken",
    "Skipped",
    "Verdict",
    "backbone_checks",
    "backbone_laws",
    "control_checks",
    "control_laws",
    "run",
    "supervisor_checks",
    "supervisor_laws",
    "table",
    "tokenizer_checks",
    "tokenizer_laws",
]
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def backbone_checks(
    build: Callable[[Any], Any],
    hparams: Any,
    *,
    expected_failures: Mapping[str, str] | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float64,
) -> tuple[str, list[Any]]:
    """Arguments of `pytest.mark.parametrize` for a test that calls `law()`; `expected_failures` maps a law to a reason.

    A law that is expected to fail and holds is reported, too.
    """
    return parameters(backbone_laws(build, hparams, device, dtype), expected_failures or {})


def tokenizer_checks(
    build: Callable[..., Any], hparams: Any, *, expected_failures: Mapping[str, str] | None = None
) -> tuple[str, list[Any]]:
    """As `backbone_checks`, for `build(hparams, folder=None)` of a tokenizer."""
    return parameters(tokenizer_laws(build, hparams), expected_failures or {})


def control_checks(
    build: Callable[[Any], Any],
    hparams: Any,
    tokenizers: Sequence[Callable[[], Any]],
    *,
    expected_failures: Mapping[str, str] | None = None,
) -> tuple[str, list[Any]]:
    """As `backbone_checks`, for `build(hparams)` of a control, examined with the first `tokenizers` that suit it."""
    return parameters(control_laws(build, hparams, tokenizers), expected_failures or {})


def supervisor_checks(
    build: Callable[..., Any], hparams: Any, *, expected_failures: Mapping[str, str] | None = None
) -> tuple[str, list[Any]]:
    """As `backbone_checks`, for `build(hparams, manager, folder)` of a supervisor; `hparams` is its own section."""
    return parameters(supervisor_laws(build, hparams), expected_failures or {})


def laws_of(manager: Manager, name: str, device: str = "cpu", dtype: str | torch.dtype = "float64") -> list[Law]:
    """The laws of everything registered under `name`; HubError for an unknown name, device or dtype."""
    found = find(manager, name)
    if isinstance(dtype, str):
        if dtype not in DTYPES:
            raise HubError(f'there is no dtype "{dtype}".{did_you_mean(dtype, DTYPES)}')
        dtype = DTYPES[dtype]
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise HubError(f'device "{device}" cannot be used: {str(error).splitlines()[0]}') from error
    laws: list[Law] = []
    for entry in found:
        assert entry.build is not None and entry.hparams is not None
        if entry.kind == "backbone":
            laws += backbone_laws(entry.build, entry.hparams(), device, dtype)
        elif entry.kind == "control":
            laws += control_laws(entry.build, entry.hparams(), registered(manager))
        elif entry.kind == "tokenizer":
            laws += [_importable(entry), *tokenizer_laws(entry.build, entry.hparams())]
        else:
            laws += supervisor_laws(entry.build, entry.hparams())
    return laws


def _importable(entry: Entry) -> Law:
    def measure(case: str) -> list[Finding]:
        insist_importable(entry)
        return [Finding("importable", 0.0)]

    return Law("workers can import what builds it", measure, lambda: [""], lambda case: (), 0.0)


def run(manager: Manager, name: str, device: str = "cpu", dtype: str | torch.dtype = "float64") -> list[Verdict]:
    """Judges all laws of everything registered under `name`."""
    return [law.judge() for law in laws_of(manager, name, device, dtype)]
