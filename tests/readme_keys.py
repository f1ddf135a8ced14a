"""Writes the table of all settings into hparams/README.md: `python -m tests.readme_keys`."""

from pathlib import Path

from plugins.manager import load_manager
from supervisors.helping import table
from tests.readme_pages import block

README = Path(__file__).parents[1] / "hparams" / "README.md"


def main() -> None:
    """Replaces the block `keys`."""
    path, found = block("keys")
    start, end = found.span(1)
    path.write_text(found.string[:start] + table(load_manager()) + found.string[end:], encoding="utf-8")


if __name__ == "__main__":
    main()
