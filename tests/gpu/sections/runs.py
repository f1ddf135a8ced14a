"""Whole runs on the device: what the page says of them."""

from typing import Any

from tests.gpu.sections.section import Section, of
from tests.gpu.words import count, decimals, rate


def _whole(stage: dict[str, Any]) -> list[str]:
    return [
        f"`{stage['preset']}`, {count(stage['parameters'])} parameters in {stage['precision']}: best validation loss "
        f"{decimals(stage['valid_loss'])} nats a token, {rate(stage['rate'])} tokens/s (the median of its steps), "
        f"{60 * stage['minutes']:.0f} s of training, {stage['wall']:.0f} s in all."
    ]


SECTIONS = {
    "whole": Section(
        "A whole run",
        "A preset trained to its end on Bach's chorales, and evaluated: its loss in nats a token at some steps.",
        lambda machine: {"step": of("step", count), "loss": of("loss", decimals)},
        _whole,
    ),
    "every": Section(
        "A run of every backbone",
        "The settings of `mamba_remi` with another backbone of its default size: Bach's chorales in REMI tokens, "
        "the same rows in the same order, seed 0. Validation loss is the best one in nats a token. Runs share the "
        "device, so that tokens a second (the median of the steps) and seconds of training are no measure of a "
        "backbone alone.",
        lambda machine: {
            "backbone": of("name"),
            "parameters": of("parameters", count),
            "learning rate": of("lr"),
            "precision": of("precision"),
            "steps": of("steps", count),
            "validation loss": of("valid_loss", decimals),
            "tokens/s": of("rate", rate),
            "training, s": lambda row: count(60 * row["minutes"]) if "minutes" in row else "",
        },
        lambda stage: [f"At most {stage['at_once']} ran at once."],
    ),
}
