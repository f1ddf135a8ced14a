"""What was asked of a card, what was found, and whether that is enough."""

from typing import Any

from tests.gpu.shares import Row, crossover, rates
from tests.gpu.words import exact, rate

Found = dict[str, Any]
NOTHING = "–"
_LENGTHS = (2048, 4096, 8192)  # of the scan
_FROM = 4096  # tokens a row from which on Mamba is to train ahead
_ALONE, _MANY = 2000, 100_000  # tokens a second at batch 1 and at batch 64


def goals(found: Found) -> list[list[str]]:
    """Rows of what was asked, what was found, and yes, no or "not measured"."""
    return [*_scans(found), *_ahead(found), *_decoding(found)]


def judged(asked: str, values: dict[str, float | None], least: float = 0.0, most: float = float("inf")) -> list[str]:
    """One row, of values by where they were measured: all must lie between `least` and `most`, and none be missing."""
    measured = [value for value in values.values() if value is not None]
    if any(not least <= value <= most for value in measured):
        met = "no"
    else:
        met = "yes" if measured and len(measured) == len(values) else "not measured"
    told = (f"{'not measured' if value is None else exact(value)} {where}".strip() for where, value in values.items())
    return [asked, ", ".join(told) if measured else NOTHING, met]


def _scans(found: Found) -> list[list[str]]:
    rows = {(row["name"], row["length"]): row for row in found.get("scan", {}).get("rows", [])}

    def ratios(key: str, over: str, under: str) -> dict[str, float | None]:
        pairs = {at: (rows.get((over, at), {}).get(key), rows.get((under, at), {}).get(key)) for at in _LENGTHS}
        return {f"at {at:,}": a / b if a is not None and b else None for at, (a, b) in pairs.items()}

    size = "d 2,048, 16 states, bf16, rows of 2,048 to 8,192"
    return [
        judged(
            f"Mamba's scan trains at 0.9 or more of mamba_ssm's speed ({size})",
            ratios("both", "mamba_ssm", "ours"),
            least=0.9,
        ),
        judged(
            f"The scan with resets, on packed rows, takes at most 1.1 times its time without ({size})",
            ratios("both", "ours, packed", "ours"),
            most=1.1,
        ),
        judged(
            f"The scan takes at most 1.2 times mamba_ssm's memory ({size})",
            ratios("peak", "ours", "mamba_ssm"),
            most=1.2,
        ),
    ]


def _ahead(found: Found) -> list[list[str]]:
    rows: list[Row] = found.get("training", {}).get("rows", [])
    asked = f"Mamba trains faster than FlashAttention's Transformer from rows of {_FROM:,} tokens on, unpacked"
    goals = []
    for dim in dict.fromkeys(row["dim"] for row in rows):
        of = {name: rates(rows, name=name, dim=dim, packed=False) for name in ("mamba", "transformer")}
        lengths = sorted({row["length"] for row in rows if row["dim"] == dim and row["length"] >= _FROM})
        both = {at: (of["mamba"].get(at), of["transformer"].get(at)) for at in lengths}
        ratios = {f"times at {at:,}": a / b if a and b else None for at, (a, b) in both.items()}
        asked_here, told, met = judged(f"{asked} (width {dim:,})", ratios, least=1.0)
        since = crossover(of["mamba"], of["transformer"])
        goals.append([asked_here, told if told == NOTHING else f"{told}; {length_ahead(since)}", met])
    return goals or [[asked, NOTHING, "not measured"]]


def length_ahead(since: float | None) -> str:
    """A crossover in words."""
    if since is None:
        return ""
    ends = {0.0: "ahead at every length measured", float("inf"): "behind at the longest rows measured"}
    return ends.get(since) or f"ahead from about {rate(since)} tokens on"


def _decoding(found: Found) -> list[list[str]]:
    rows: list[Row] = found.get("decoding", {}).get("rows", [])
    goals = []
    for key, how in (("drawn", "drawn"), ("under_grammar", "drawn under REMI's grammar")):
        for batch, least in ((1, _ALONE), (64, _MANY)):
            asked = f"decodes {least:,} tokens/s at batch {batch}, {how} (3 M parameters)"
            got = {row["name"]: row.get(key) for row in rows if row.get("batch", batch) == batch}
            goals.append(judged(f"Mamba {asked}", {"": got.get("mamba")}, least=least))
            whole, met = judged(f"every backbone {asked}", got, least=least)[::2]
            values = {name: value for name, value in got.items() if value is not None}
            told = NOTHING
            if values:
                last = min(values, key=lambda name: values[name])
                enough = sum(value >= least for value in values.values())
                told = f"{enough} of {len(got)} do; the slowest measured is {last} at {exact(values[last])}"
            goals.append([whole, told, met])
    return goals
