"""The page of a benchmark: machine, comparisons and full tables, in Markdown; figures and no verdicts."""

from collections.abc import Iterator
from typing import Any

from core.words import counted
from hparams.bench import BenchHParams
from supervisors.bench.cells import Cell
from supervisors.bench.page.rows import Row
from supervisors.bench.worker import MATRIX
from supervisors.evaluation.tables import table

# What an operator of this name says about the path that was taken.
_TELLING = (
    ("swaptunes_native::", "fused C++"),
    ("_scaled_dot_product_flash_attention", "SDPA, flash"),
    ("_scaled_dot_product_efficient_attention", "SDPA, memory-efficient"),
    ("_scaled_dot_product_cudnn_attention", "SDPA, cuDNN"),
    ("_scaled_dot_product_attention_math", "SDPA, math"),
    ("mkldnn_rnn_layer", "oneDNN LSTM"),
    ("_cudnn_rnn", "cuDNN LSTM"),
    ("selective_scan", "CUDA scan"),
    ("PScan", "parallel scan in PyTorch"),
)


def page(
    settings: BenchHParams,
    facts: dict[str, Any],
    titles: dict[str, str],
    parameters: dict[str, int],
    shapes: dict[str, str],
    rows: list[Row],
    cells: list[Cell],
    notes: list[str],
) -> str:
    """The whole text."""
    lines = [
        *_head(settings, facts),
        "",
        *_compared(rows, titles),
        "",
        "![tokens per second against length](bench.png)",
    ]
    lines += ["", "### Models", "", *_models(titles, parameters, shapes)]
    lines += ["", "### Training", "", *_training(cells, titles, settings, parameters)]
    lines += ["", "### Training against length", "", *_curve(cells, titles, "train")]
    lines += ["", "### Decoding against context", "", *_curve(cells, titles, "decode")]
    lines += ["", "### Where the time goes", "", *_operators(cells, titles, settings)]
    if notes:
        lines += ["", "### Remarks", "", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def kernel(cell: Cell) -> str:
    """The path that was taken: the backbone's own word, else what the profiled operators tell."""
    if cell.kernel:
        return cell.kernel
    told = dict.fromkeys(word for mark, word in _TELLING for name, _ in cell.operators if mark in name)
    return ", ".join(told) or ("plain PyTorch" if cell.operators else "")


def _head(settings: BenchHParams, facts: dict[str, Any]) -> Iterator[str]:
    versions = [f"{name} {version}" for name, version in facts["versions"].items() if version]
    where = facts["cpu"] if facts["device"] == "cpu" else facts["device"]
    wide = [flag for flag in facts["flags"] if "bf16" in flag or flag in ("avx2", "avx512f", "amx_tile", "sve")]
    load = "" if facts["load"] is None else f"; load when it began {facts['load']:.1f}"
    yield (
        f"Measured on {facts['when']} by `{facts['command']}` in {facts['seconds']:.0f} s on {where} "
        f"({counted(facts['cores'], 'core')}, {counted(facts['threads'], 'thread')} used, "
        f"{', '.join(wide) or facts['vectors']}, {facts['memory_gib']} GiB{load}), "
        f"with swaptunes {facts['swaptunes']}, Python {facts['python']}, "
        f"{', '.join(versions)}."
    )
    yield ""
    yield (
        f"Every model has the parameters of Mamba at d_model {settings.dim}, {settings.layers} layers, vocabulary "
        f"{settings.vocabulary}, embedding included, within 2 %. Training is forward and backward over "
        f"{counted(settings.batch, 'row')} of {settings.length} tokens, without the optimizer. Every figure is the "
        f"median of {settings.repeats} samples (least to most in brackets), fewer where one takes long, after a "
        "warm-up and in rounds over all models; each model has a process of its own. Precision that training chooses "
        f"here: {facts['best_precision']}."
    )


def _compared(rows: list[Row], titles: dict[str, str]) -> Iterator[str]:
    yield table(
        ("figure", "ours", "peer", "of", "ratio"),
        (
            (
                row.figure,
                quantity(row.ours, row.unit),
                quantity(row.peer, row.unit) + (f" ({row.bound})" if row.bound else ""),
                titles.get(row.peer_name, row.peer_name),
                f"**{'≥ ' if row.bound and row.unit == 'tokens/s' else ''}{row.ratio:.2f}**",
            )
            for row in rows
        ),
        ruler="---",
    )


def _models(titles: dict[str, str], parameters: dict[str, int], shapes: dict[str, str]) -> Iterator[str]:
    yield table(
        ("model", "parameters", "shape"),
        ((title, f"{parameters[name]:,}", shapes[name]) for name, title in titles.items() if name in parameters),
        ruler="---",
    )


def _training(
    cells: list[Cell], titles: dict[str, str], settings: BenchHParams, parameters: dict[str, int]
) -> Iterator[str]:
    def cell_rows() -> Iterator[tuple[str, ...]]:
        for cell in cells:
            if cell.kind != "train" or cell.length != settings.length:
                continue
            rate = next((c for c in cells if c.subject == MATRIX and c.precision == cell.precision and c.samples), None)
            share = (
                f"{6 * parameters[cell.subject] * cell.median / rate.median:.2f}"
                if rate and rate.median and cell.median and cell.subject in parameters
                else ""
            )
            memory = "" if cell.peak_bytes is None else quantity(cell.peak_bytes, "bytes")
            at = "" if cell.whole or not cell.measured else f", at length {cell.measured}"
            yield (
                titles[cell.subject],
                cell.precision,
                spread(cell) + at,
                share,
                memory + at,
                kernel(cell),
                cell.limited,
            )

    yield table(
        ("model", "precision", "tokens/s", "of the matrix rate", "peak memory", "kernel", "why not as asked"),
        cell_rows(),
        ruler="---",
    )
    for cell in cells:
        if cell.kind == "matrix" and cell.median:
            yield ""
            yield (
                f"Matrix rate, {cell.precision}: {cell.median / 1e9:,.0f} GFLOP/s ({min(cell.samples) / 1e9:,.0f}–"
                f"{max(cell.samples) / 1e9:,.0f}), the median of {counted(len(cell.samples), 'round')}, in each the "
                f"best of several sizes and libraries (in the best round {cell.best_by}); the share counts 6 FLOPs a "
                "parameter and token."
            )
    yield ""
    yield (
        "Peak memory is the highest resident memory during a step, less what the process held after a first step of 16 "
        "tokens: weights and libraries are left out, gradients and activations counted."
    )


def _curve(cells: list[Cell], titles: dict[str, str], kind: str) -> Iterator[str]:
    chosen = [cell for cell in cells if cell.kind == kind and (cell.samples or cell.limited)]
    lengths = sorted({cell.length for cell in chosen})

    def lines() -> Iterator[tuple[str, ...]]:
        groups = dict.fromkeys((c.subject, c.precision if kind == "train" else str(c.batch)) for c in chosen)
        for subject, other in groups:
            mine = [c for c in chosen if c.subject == subject and other in (c.precision, str(c.batch))]
            by = {c.length: c for c in mine if c.whole and (kind == "train" or str(c.batch) == other)}
            if by:
                yield titles[subject], other, *(spread(by[at]) if at in by else "" for at in lengths)

    if kind == "train":
        yield "Tokens per second; rows of each length, as many as make equal tokens a batch (one row at least)."
    else:
        yield (
            "Tokens per second of all rows together, greedy, fp32: a prompt of so many tokens, then up to 64 steps "
            "from it, again and again."
        )
    yield ""
    yield table(
        ("model", "precision" if kind == "train" else "batch", *(f"{length:,}" for length in lengths)),
        lines(),
        ruler="---",
    )


def _operators(cells: list[Cell], titles: dict[str, str], settings: BenchHParams) -> Iterator[str]:
    yield table(
        ("model", "figure", "largest shares of the time, by the profiler"),
        (
            (
                titles[cell.subject],
                f"{cell.kind}, {cell.precision}, batch {cell.batch}",
                ", ".join(f"{name.removeprefix('aten::')} {share:.0%}" for name, share in cell.operators[:4]),
            )
            for cell in cells
            if cell.operators
        ),
        ruler="---",
    )


def spread(cell: Cell) -> str:
    """The median and the extremes."""
    if not cell.samples or cell.median is None:
        return ""
    return f"{cell.median:,.0f} ({min(cell.samples):,.0f}–{max(cell.samples):,.0f})"


def quantity(value: float, unit: str) -> str:
    """A figure with its unit, as people say it."""
    if unit == "FLOP/s":
        return f"{value / 1e9:,.0f} GFLOP/s"
    if unit == "bytes":
        return f"{value / 2**20:,.0f} MiB"
    if unit == "s":
        return f"{value * 1e6:,.0f} µs"
    return f"{value:,.0f}"
