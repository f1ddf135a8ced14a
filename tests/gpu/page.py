"""The page about a CUDA machine, from what the stages found."""

from typing import Any


def page(found: dict[str, Any]) -> str:
    """Markdown: a section a stage, a table where there are rows."""
    machine = found.get("machine", {})
    lines = [f"# {machine.get('name', 'A machine')}", ""]
    if "copy" in machine:
        rates = ", ".join(f"{value / 1e12:.0f} TFLOP/s {key}" for key, value in machine["matrix"].items())
        versions = ", ".join(f"{key} {value}" for key, value in machine["versions"].items() if value)
        lines += [f"Copy {machine['copy'] / 1e12:.2f} TB/s, products {rates or 'not measured'}; {versions}.", ""]
    for name, stage in found.items():
        if name == "machine" and "failed" not in stage:
            continue
        lines += [f"## {name}", ""]
        for key in ("failed", "left", "why"):
            if key in stage:
                lines += [f"{key}: {stage[key]}", ""]
        rows = stage.get("rows") or stage.get("verdicts") or []
        if rows:
            lines += table(rows)
        elif not {"failed", "left", "why"} & stage.keys():
            lines += [f"{key}: {_shown(value)}  " for key, value in stage.items() if key != "seconds"] + [""]
    return "\n".join(lines)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows as a Markdown table over all their keys."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(keys) + " |", "|" + "---|" * len(keys)]
    return [*lines, *("| " + " | ".join(_shown(row.get(key)) for key in keys) + " |" for row in rows), ""]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        return "; ".join(_shown(each) for each in value) or "none"
    return "" if value is None else str(value)
