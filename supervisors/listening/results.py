"""The page of a listening test's results: means, differences that hold, and no ranking beyond them."""

from pathlib import Path
from typing import Any

from core.files import write_json, write_text
from core.words import counted
from datatools.writing.page.page import from_markdown
from supervisors.listening.ratings import collected, preferences_of, ratings_of
from supervisors.listening.statistics import Opinion, opinions, raters_needed, strengths, supported


def report(folder: Path) -> str:
    """Writes results.json, README.md and index.html beside the test's key; returns the text."""
    key, answers = collected(folder)
    lines = ["# Listening test", "", f"{counted(len(answers), 'participant')}."]
    tree: dict[str, Any] = {"participants": len(answers), "kind": key["kind"]}
    if key["kind"] == "pairs":
        found = strengths(preferences_of(key, answers))
        tree["strengths"] = [vars(mean) for mean in found]
        lines += ["", "| system | strength (log-odds) | 95 % interval |", "|---|---:|---|"]
        lines += [
            f"| {mean.name} | {mean.value:.2f} | {mean.low:.2f} to {mean.high:.2f} |"
            for mean in sorted(found, key=lambda mean: -mean.value)
        ]
        lines += ["", "Bradley-Terry; intervals by drawing participants again. Overlapping ones rank nothing."]
    else:
        for scale in key["scales"]:
            opinion = opinions(ratings_of(key, answers, scale))
            tree[scale] = _plain(opinion)
            lines += ["", f"## {scale}", "", *_scale(opinion)]
    text = "\n".join(lines) + "\n"
    write_json(folder / "results.json", tree)
    write_text(folder / "README.md", text)
    write_text(folder / "index.html", from_markdown("Listening test: results", text, folder))
    return text


def _scale(opinion: Opinion) -> list[str]:
    lines = ["| system | mean (1 to 5) | 95 % interval |", "|---|---:|---|"]
    for mean in sorted(opinion.means, key=lambda mean: -mean.value):
        lines.append(f"| {mean.name} | {mean.value:.2f} | {mean.low:.2f} to {mean.high:.2f} |")
    lines.append("")
    better = supported(opinion)
    lines += [f"- {winner} is better than {loser}." for winner, loser in better]
    apart = {frozenset(pair) for pair in better}
    alike = [pair for first, second, _ in opinion.differences if frozenset(pair := (first, second)) not in apart]
    if alike:
        lines.append("- Not told apart: " + "; ".join(" and ".join(pair) for pair in alike) + ".")
    if opinion.friedman is not None:
        lines.append(f"- Friedman: p = {opinion.friedman:.3g} that all systems are alike.")
    lines += [f"- Wilcoxon, {a} and {b}: p = {p:.3g} (Holm)." for (a, b), p in opinion.wilcoxon.items()]
    if opinion.alpha is not None:
        lines.append(f"- Agreement of raters (Krippendorff's alpha): {opinion.alpha:.2f}.")
    for difference in (0.3, 0.5):
        needed = raters_needed(opinion, difference)
        never = "no number of raters, since the pieces differ too much: more pieces"
        told = counted(needed, "rater") if needed else never
        lines.append(f"- To tell {difference} apart with a power of 80 %: {told}.")
    return lines


def _plain(opinion: Opinion) -> dict[str, Any]:
    return {
        "means": [vars(mean) for mean in opinion.means],
        "differences": [[first, second, vars(mean)] for first, second, mean in opinion.differences],
        "better": supported(opinion),
        "friedman": opinion.friedman,
        "wilcoxon": [[*pair, p] for pair, p in opinion.wilcoxon.items()],
        "alpha": opinion.alpha,
        "spread": vars(opinion.spread),
    }
