"""The page about a CUDA machine, from what the stages found."""

from tests.gpu.goals import Found, goals
from tests.gpu.sections import proofs, runs, speed
from tests.gpu.words import rate, tabulated

_ABOUT = (
    "swaptunes trains sequence models of music, written as tokens; what lies between their embedding and their head is "
    "a backbone, and `mamba` is the first of them. `python -m tests.gpu` ran on this machine what follows."
)
_REHEARSED = "**This is a rehearsal on a CPU: everything is smaller than said below, and speeds mean nothing.**"
_GOALS = (
    "Computed from the tables below. A goal is met where every value is on the right side, and not measured where one "
    "is missing and no other fails it. Values are the ratio, or the tokens a second of all rows together, that is "
    "asked for."
)


def page(found: Found) -> str:
    """Markdown: the machine, the goals, and a section a stage."""
    machine = found.get("machine", {})
    lines = [f"# {machine.get('name', 'A machine')}", "", _ABOUT, "", *_machine(machine)]
    lines += ["## Goals", "", _GOALS, "", *tabulated(["asked", "found", "met"], goals(found))]
    for name, section in (proofs.SECTIONS | speed.SECTIONS | runs.SECTIONS).items():
        stage = found.get(name, {"left": "it was not asked for"})
        lines += [f"## {section.title}", "", section.text, ""]
        for key in ("failed", "left", "why"):
            lines += [f"**Not measured: {stage[key]}.**", ""] if key in stage else []
        rows = stage.get("rows")
        if not rows:
            continue
        columns = {**section.columns(machine), "not measured": _missing}
        lines += tabulated(list(columns), ([shown(row) for shown in columns.values()] for row in rows))
        for note in section.notes(stage):
            lines += [note, ""]
        lines += [f"This took {rate(stage['seconds'])} s.", ""]
    return "\n".join(lines)


def _machine(machine: Found) -> list[str]:
    """What it is, and the two rates that shares are of."""
    if "copy" not in machine:
        return [f"**The machine was not measured: {machine.get('failed', 'it was not asked for')}.**", ""]
    versions = ", ".join(f"{key} {value}" for key, value in machine["versions"].items() if value)
    memory = f", {machine['memory'] / 1e9:.0f} GB" if machine["memory"] else ""
    products = " and ".join(f"{value / 1e12:.3g} TFLOP/s in {key}" for key, value in machine["matrix"].items())
    copies = f"{machine['copy'] / 1e12:.3g} TB/s, read and written"
    return [
        *(() if machine["memory"] else (_REHEARSED, "")),
        f"{machine['name']}{memory}; Python {machine['python']}, {versions}. Large matrix products run at {products}; "
        f"a copy moves {copies}. Shares below are of these rates.",
        "",
    ]


def _missing(row: Found) -> str:
    return str(row.get("failed") or row.get("left") or "")
