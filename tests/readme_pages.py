"""Puts generated pages into the READMEs between their markers: `python -m tests.readme_pages NAME=PAGE.md ...`.

A block begins with `<!-- NAME: generated -->` and ends with `<!-- NAME: end -->`. The page loses its title, its
headings go two levels down, and its pictures are copied beside README's others.
"""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", *sorted(ROOT.glob("[a-z]*/README.md")), ROOT / "plugins/backbones/README.md"]
PICTURES = Path(".github/pictures")


def block(name: str) -> tuple[Path, re.Match[str]]:
    """The README that has the block of a name, and the block; SystemExit when there is none."""
    for path in READMES:
        text = path.read_text(encoding="utf-8")
        found = re.search(rf"<!-- {name}: generated -->\n(.*?)<!-- {name}: end -->", text, re.DOTALL)
        if found is not None:
            return path, found
    raise SystemExit(f'no README has a block "{name}"; put <!-- {name}: generated --> and <!-- {name}: end --> in one')


def adapted(page: Path, name: str, readme: Path) -> str:
    """The page as it stands in `readme`; copies the pictures that it shows."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"\A# .*\n+", "", text)
    text = re.sub(r"^(#+) ", r"##\1 ", text, flags=re.MULTILINE)
    up = "../" * (len(readme.relative_to(ROOT).parts) - 1)

    def picture(match: re.Match[str]) -> str:
        target = PICTURES / f"{name}_{Path(match[2]).name}"
        (ROOT / PICTURES).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page.parent / match[2], ROOT / target)
        return f"![{match[1]}]({up}{target})"

    return re.sub(r"!\[([^]]*)\]\(([^)]+)\)", picture, text).strip() + "\n"


def main(words: list[str]) -> None:
    """Replaces each named block by its page."""
    for word in words:
        name, _, page = word.partition("=")
        path, found = block(name)
        start, end = found.span(1)
        path.write_text(found.string[:start] + adapted(Path(page), name, path) + found.string[end:], encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
