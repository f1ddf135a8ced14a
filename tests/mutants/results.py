"""What is remembered of each fault, which survivors are argued to be harmless, and the report of both."""

import json
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from pathlib import Path

from tests.mutants import tree
from tests.mutants.planting import Outcome
from tests.mutants.source import Mutant

_KEPT = tree.KEPT / "outcomes.jsonl"
_ARGUED = Path(__file__).parent / "equivalent.toml"
_PAGE = tree.ROOT / tree.TESTS / "README.md"
MARKS = ("<!-- mutants: made by python -m tests.mutants --write -->", "<!-- end of mutants -->")

Found = list[tuple[Mutant, Outcome]]


def remembered() -> dict[str, Outcome]:
    """By the names of faults: what came of those that were planted before in definitions that are still the same."""
    if not _KEPT.exists():
        return {}
    lines = _KEPT.read_text(encoding="utf-8").splitlines()
    return {told.pop("name"): Outcome(**told) for told in map(json.loads, lines)}


def remember(mutant: Mutant, outcome: Outcome) -> None:
    _KEPT.parent.mkdir(parents=True, exist_ok=True)
    with _KEPT.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"name": mutant.name, **asdict(outcome)}) + "\n")


def argued() -> dict[tuple[str, str, str], str]:
    """Faults that change nothing a caller could see, with the argument why; by definition, line and change."""
    entries = tomllib.loads(_ARGUED.read_text(encoding="utf-8")).get("equivalent", [])
    return {(entry["in"], entry["line"], entry["change"]): entry["because"] for entry in entries}


def survivors(found: Found) -> Found:
    known = argued()
    return [(m, o) for m, o in found if o.state == "survived" and m.key not in known]


def line(mutant: Mutant, outcome: Outcome) -> str:
    """One line about one fault."""
    by = f" by {outcome.by}" if outcome.by else f" {outcome.tests} tests{'' if outcome.whole else ', not all'}"
    return f"{outcome.state}{by}: {mutant.path}:{mutant.lines.start} `{mutant.line}`: {mutant.change}"


def report(found: Found, about: str) -> str:
    """A table by file and the list of survivors, as Markdown."""
    known = argued()
    rows: dict[str, Counter[str]] = {}
    for mutant, outcome in found:
        state = outcome.state
        if state == "survived" and mutant.key in known:
            state = "equivalent"
        rows.setdefault(mutant.path, Counter())[state] += 1
    states = ("killed", "timed out", "equivalent", "survived")
    lines = [f"{about}, {date.today()}: {_sum(sum(rows.values(), Counter()))}", ""]
    lines += ["| file | planted | killed | timed out | equivalent | survived |", "|---|---|---|---|---|---|"]
    for path, counts in sorted(rows.items()):
        lines.append(f"| {path} | {counts.total()} | " + " | ".join(str(counts[state]) for state in states) + " |")
    left = survivors(found)
    if left:
        lines += ["", "Survivors:", ""]
        lines += [f"- {m.path}, `{m.scope or 'module'}`: `{m.line}`, `{m.change}` ({_asked(o)})" for m, o in left]
    return "\n".join(lines)


def _asked(outcome: Outcome) -> str:
    return f"{outcome.tests} tests asked{'' if outcome.whole else ', not all that reach it'}"


def _sum(counts: "Counter[str]") -> str:
    """The share killed, of those that are not argued to be harmless."""
    killed = counts["killed"] + counts["timed out"]
    counted = killed + counts["survived"]
    return f"{killed} of {counted} killed ({killed / max(counted, 1):.1%}), {counts['equivalent']} argued equivalent"


def read(marks: tuple[str, str] = MARKS) -> str:
    """What stands between the marks in the page of the tests."""
    return _PAGE.read_text(encoding="utf-8").split(marks[0])[1].split(marks[1])[0]


def write(text: str, marks: tuple[str, str] = MARKS) -> None:
    """Puts a report between its marks in the page of the tests."""
    page = _PAGE.read_text(encoding="utf-8")
    before, rest = page.split(marks[0])
    _PAGE.write_text(f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{rest.split(marks[1])[1]}", encoding="utf-8")


def summary(outcomes: Iterable[tuple[Mutant, Outcome]]) -> str:
    known = argued()
    states = (
        "equivalent" if outcome.state == "survived" and mutant.key in known else outcome.state
        for mutant, outcome in outcomes
    )
    return _sum(Counter(states))
