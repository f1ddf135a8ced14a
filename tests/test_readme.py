"""The READMEs' own lines: every command in them parses, names what exists, and sets keys that exist."""

import re
import shlex
from pathlib import Path

import pytest

from hparams.base import HParams
from hparams.loading import load, override
from plugins.manager import load_manager
from supervisors.helping import table
from supervisors.run import USAGE, build_parser, parse
from tests import readme_pages

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
READMES = {path: path.read_text(encoding="utf-8") for path in readme_pages.READMES}
BLOCKS = "".join(
    block for text in READMES.values() for block in re.findall(r"^```\n(.*?)^```$", text, flags=re.M | re.S)
)
COMMANDS = re.findall(r"^(?:python -m|.*-m|.*--module) supervisors\.run(.*?)(?:\s+#.*)?$", BLOCKS, flags=re.M)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_understood(line: str) -> None:
    manager = load_manager()
    options = parse(build_parser(), shlex.split(line))
    words = [word for word in options.words if "=" in word]
    source = options.hparams
    if options.verb in ("train", "generate") and (not source or source.endswith(".yaml")):
        override(manager.preset("mamba_remi"), words, section=manager.section)
    elif source:
        found = load(source, words, preset=manager.preset, section=manager.section)
        assert isinstance(found, HParams) and found.name
    assert f"  {options.verb} " in USAGE


def test_there_are_commands_and_the_two_of_make() -> None:
    assert len(COMMANDS) >= 10
    makefile = (ROOT / "Makefile").read_text()
    for target in ("run", "test"):
        assert f"make {target}" in README and re.search(rf"^{target}:", makefile, flags=re.M)


def test_every_folder_of_the_map_exists() -> None:
    named = re.findall(r"^(\w+)/ ", README, flags=re.M)
    assert set(named) == {"core", "hparams", "datatools", "plugins", "supervisors", "tests"}
    assert all((ROOT / name).is_dir() for name in named)


def test_what_readme_lists_is_what_is_registered() -> None:
    manager = load_manager()
    for registry, row in (
        (manager.backbones, "backbone"),
        (manager.tokenizers, "tokenizer"),
        (manager.datasets, "dataset"),
    ):
        line = re.search(rf"^\| {row} \|(.*)\|$", README, flags=re.M)
        assert line is not None
        for name in registry:
            assert f"`{name}`" in line[1], (row, name)


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_readme_links_to_is_there(path: Path) -> None:
    text = READMES[path]
    assert re.findall(r"^<!-- (\w+): generated -->$", text, flags=re.M) == re.findall(
        r"^<!-- (\w+): end -->$", text, flags=re.M
    )
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (path.parent / picture).read_bytes().startswith(b"\x89PNG")
    links = re.findall(r"(?<!!)\[[^]]*\]\((?!http)([^)#]+)[^)]*\)", text)
    assert not [link for link in links if not (path.parent / link).exists()]


def test_the_root_readme_is_one_screen_and_leads_to_every_other() -> None:
    assert len(README.splitlines()) <= 110
    others = {path.relative_to(ROOT).as_posix() for path in READMES if path.parent != ROOT}
    assert others <= set(re.findall(r"\]\(([^)]+)\)", README))


def test_the_table_of_settings_is_what_the_dataclasses_say() -> None:
    _, found = readme_pages.block("keys")
    assert found[1] == table(load_manager()), "make it anew: python -m tests.readme_keys"
