"""How fast it is on the device: what the page says of that."""

from typing import Any

from tests.gpu.goals import length_ahead
from tests.gpu.sections.section import Section, of
from tests.gpu.shares import crossover, matrix_share, memory_share, rates
from tests.gpu.words import count, gigabytes, milliseconds, rate, share


def _crossovers(stage: dict[str, Any]) -> list[str]:
    notes = []
    for dim in dict.fromkeys(row["dim"] for row in stage.get("rows", [])):
        for packed in (False, True):
            ahead, other = (
                rates(stage["rows"], name=name, dim=dim, packed=packed) for name in ("mamba", "transformer")
            )
            if told := length_ahead(crossover(ahead, other)):
                where = f"Width {dim:,}, {'packed rows' if packed else 'rows of one piece'}"
                notes.append(f"{where}: Mamba is {told}.")
    return notes


SECTIONS = {
    "scan": Section(
        "The selective scan",
        "What lies between a Mamba block's two projections (convolution, scan, gate), at 4,096 inner channels (d "
        "2,048), 16 states and 8,192 tokens a batch in bf16: milliseconds, and the most memory that forward and "
        "backward hold beyond their inputs. Packed: with resets at the starts of pieces of about 200 tokens.",
        lambda machine: {
            "kernels": of("name"),
            "tokens a row": of("length", count),
            "forward, ms": of("forward", milliseconds),
            "forward and backward, ms": of("both", milliseconds),
            "memory, GB": of("peak", gigabytes),
        },
    ),
    "training": Section(
        "Training against length",
        "A step is forward, loss, backward and AdamW in bf16; the Transformer attends by FlashAttention and has "
        "about Mamba's parameters; rows of all lengths hold as many tokens a step. Packed rows hold pieces of "
        "about 500 tokens, which do not see each other. Memory is what a step holds beyond weights and moments. "
        "The share of products is model FLOP/s over the rate of bf16 products above: 6 FLOPs a parameter and "
        "token, and for attention 12 a layer, channel and token seen; Mamba's scan is not counted. The length "
        "from which on Mamba is ahead is interpolated in the logarithm of the length.",
        lambda machine: {
            "model": of("name"),
            "width": of("dim", count),
            "parameters": of("parameters", count),
            "tokens a row": of("length", count),
            "packed": of("packed"),
            "tokens/s": of("rate", rate),
            "share of products": lambda row: share(matrix_share(row, machine)),
            "memory, GB": of("bytes", gigabytes),
        },
        _crossovers,
    ),
    "decoding": Section(
        "Decoding",
        "Models of the presets' size in fp32, one row and 64 rows at a time; tokens a second of all rows "
        "together. Greedy: the likeliest token after a prompt of 256, by a recorded CUDA graph where it says so, "
        "and step by step. Drawn: pieces from nothing by the hub's sampler, freely and under the grammar of REMI "
        "tokens, whose mask of what may follow the host makes at every step. Share of copies: weights, read once "
        "a token, over the rate of copies above, greedy at batch 1. Same token: rows that decode alike recorded "
        "and not.",
        lambda machine: {
            "backbone": of("name"),
            "batch": of("batch", count),
            "parameters": of("parameters", count),
            "recorded": of("recorded"),
            "greedy, tokens/s": of("greedy", rate),
            "not recorded": of("plain", rate),
            "drawn": of("drawn", rate),
            "drawn under a grammar": of("under_grammar", rate),
            "share of copies": lambda row: (
                share(memory_share(row.get("bytes_of_weights"), row.get("greedy"), machine))
                if row.get("batch") == 1
                else ""
            ),
            "same token": of("same", share),
        },
    ),
    "context": Section(
        "Decoding against context",
        "One row in fp32, greedy, after so many tokens of context. Share of copies: weights, read once a token, "
        "over the rate of copies above; what attention reads of its context comes on top and is not counted.",
        lambda machine: {
            "model": of("name"),
            "width": of("dim", count),
            "parameters": of("parameters", count),
            "context, tokens": of("length", count),
            "recorded": of("recorded"),
            "tokens/s": of("rate", rate),
            "share of copies": lambda row: share(memory_share(row.get("bytes_of_weights"), row.get("rate"), machine)),
        },
    ),
    "peers": Section(
        "Other people's models",
        "`bench` on the same device: models of Mamba's size of several libraries, where they are installed. "
        "Training is forward and backward without the optimizer; decoding is greedy in fp32 after so many tokens, "
        "by steps that are not recorded. A model that would take too long is measured on shorter rows. Shares are "
        "those above (of products for bf16, of copies for batch 1).",
        lambda machine: {
            "figure": lambda row: {"train": "training", "decode": "decoding"}[row["kind"]],
            "model": of("name"),
            "precision": of("precision"),
            "batch": of("batch", count),
            "tokens": of("length", count),
            "tokens/s": of("rate", rate),
            "share of products": lambda row: (
                share(matrix_share(row, machine)) if (row["kind"], row["precision"]) == ("train", "bf16") else ""
            ),
            "share of copies": lambda row: (
                share(memory_share(4 * row["parameters"], row["rate"], machine))
                if (row["kind"], row["batch"]) == ("decode", 1)
                else ""
            ),
            "memory of a step, GB": of("bytes", gigabytes),
            "cut short": of("limited"),
        },
        lambda stage: stage["notes"],
    ),
}
