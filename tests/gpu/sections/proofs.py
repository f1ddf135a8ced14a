"""Whether it is right on the device: what the page says of that."""

from typing import Any

from tests.gpu.sections.section import Section, of
from tests.gpu.words import count, decimals, difference, rate


def _loss(value: float | None) -> str:
    return decimals(value, 6)


def _apart(stage: dict[str, Any]) -> list[str]:
    refused = [f"{name} refused ({why})." for name, why in stage.get("refused", {}).items()]
    backend = f" The ranks spoke by {stage['backend']}." if "backend" in stage else ""
    return [f"`{stage['preset']}`: the largest difference is {difference(stage['apart'])}.{backend}", *refused]


SECTIONS = {
    "laws": Section(
        "Laws",
        "Every backbone was put to the laws that the hub demands of it (any chunking equals the whole, nothing "
        "leaks into the next piece, gradients agree and so on), on this device. A broken law "
        "is a fault; some do not apply to a backbone or a precision. Largest deviation: of what was found from "
        "what a law expects, relative, among laws that hold.",
        lambda machine: {
            "backbone": of("name"),
            "precision": of("dtype"),
            "laws held": of("held", count),
            "broken": of("broken"),
            "do not apply": lambda row: count(len(row["skipped"])) if "skipped" in row else "",
            "largest deviation": of("worst", difference),
            "seconds": of("seconds_of_laws", rate),
            "said": of("said"),
        },
    ),
    "parity": Section(
        "Kernels beside the plain path",
        "Two blocks of each model, forward and backward over rows of several pieces. Differences are relative, "
        "|found - exact| / |exact|: of outputs and of gradients (the worst parameter) from the plain path in "
        "float64 on the same device, and of the pieces of a packed row from the same pieces one by one.",
        lambda machine: {
            "model": of("name"),
            "precision": of("dtype"),
            "outputs": of("output", difference),
            "gradients": of("gradients", difference),
            "packed beside alone": of("packed", difference),
        },
    ),
    "losses": Section(
        "The first losses",
        "The same run on the CPU and on the device, in fp32 without dropout: nats a token at every step.",
        lambda machine: {
            "step": of("step", count),
            "CPU": of("cpu", _loss),
            "device": of("device", _loss),
        },
        _apart,
    ),
    "ranks": Section(
        "Two ranks",
        "The same run by one process and by two that share the device under torchrun and DeepSpeed, in fp32 "
        "without dropout: nats a token at every step.",
        lambda machine: {
            "step": of("step", count),
            "one rank": of("one", _loss),
            "two ranks": of("two", _loss),
        },
        _apart,
    ),
}
