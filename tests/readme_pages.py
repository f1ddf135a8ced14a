"""Puts generated pages into README between their markers: `python -m tests.readme_pages NAME=PAGE.md ...`.

A block begins with `<!-- NAME: generated -->` and ends with `<!-- NAME: end -->`. The page loses its title, its
headings go two levels down, and its pictures are copied beside README's others.
"""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURES = Path(".github/pictures")


def block(readme: str, name: str) -> re.Match[str]:
    """The block of README that bears a name; SystemExit when there is none."""
    found = re.search(rf"<!-- {name}: generated -->\n(.*?)<!-- {name}: end -->", readme, re.DOTALL)
    if found is None:
        raise SystemExit(f'README has no block "{name}"; put <!-- {name}: generated --> and <!-- {name}: end --> there')
    return found


def adapted(page: Path, name: str, root: Path = ROOT) -> str:
    """The page as it stands in README; copies the pictures that it shows."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"\A# .*\n+", "", text)
    text = re.sub(r"^(#+) ", r"##\1 ", text, flags=re.MULTILINE)

    def picture(match: re.Match[str]) -> str:
        target = PICTURES / f"{name}_{Path(match[2]).name}"
        (root / PICTURES).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page.parent / match[2], root / target)
        return f"![{match[1]}]({target})"

    return re.sub(r"!\[([^]]*)\]\(([^)]+)\)", picture, text).strip() + "\n"


def main(words: list[str]) -> None:
    """Replaces each named block by its page."""
    path = ROOT / "README.md"
    readme = path.read_text(encoding="utf-8")
    for word in words:
        name, _, page = word.partition("=")
        start, end = block(readme, name).span(1)
        readme = readme[:start] + adapted(Path(page), name) + readme[end:]
    path.write_text(readme, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
