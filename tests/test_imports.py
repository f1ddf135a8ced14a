"""The house stands: imports point one way, hyper-parameters need no torch, and no hook goes undocumented."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from plugins.manager import load_manager
from plugins.registration import HOOKS

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["core", "hparams", "datatools", "plugins", "supervisors", "tests"]
FILES = sorted(file for package in PACKAGES[:-1] for file in (ROOT / package).rglob("*.py"))
README = ROOT / "plugins" / "README.md"
EXAMPLE = ROOT / "tests" / "third_party" / "mingru_example"


def imported(file):
    """Top-level names of all that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively"
            found.add(str(node.module).partition(".")[0])
    return found


@pytest.mark.parametrize("package", PACKAGES[:-1])
def test_imports_point_one_way(package):
    later = set(PACKAGES[PACKAGES.index(package) + 1 :])
    wrong = {str(file): imported(file) & later for file in FILES if file.is_relative_to(ROOT / package)}
    assert {file: names for file, names in wrong.items() if names} == {}


def module(file):
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(file): file for file in FILES}


def imported_modules(file):
    """Modules of ours that a file imports, inside functions too; not those that only a type checker reads."""
    found, waiting = set(), [ast.parse(file.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (whole & MODULES.keys()) or {str(node.module)}
    return (found & MODULES.keys()) - {module(file)}


def circle(graph):
    """What is left of a graph when all that leads nowhere else has been taken away: empty without a circle."""
    graph = {node: set(others) for node, others in graph.items()}
    while ends := {node for node, others in graph.items() if not others & graph.keys()}:
        graph = {node: others for node, others in graph.items() if node not in ends}
    return graph


def test_a_planted_circle_is_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}).keys() == {"a", "b", "c"}
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {}


def test_no_circle_of_files():
    assert circle({name: imported_modules(file) for name, file in MODULES.items()}) == {}


def test_no_circle_of_rooms():
    """Of the folders that stand beside each other in one folder, each may use only such as do not use it."""
    for parent in {file.parent for file in FILES} | {ROOT / package for package in PACKAGES[:-1]}:
        rooms = [path for path in parent.iterdir() if path.is_dir()]
        graph = {room.name: set() for room in rooms}
        for file in MODULES.values():
            mine = [room.name for room in rooms if file.is_relative_to(room)]
            used = [MODULES[other] for other in imported_modules(file)] if mine else []
            for room in rooms:
                if mine and room.name not in mine and any(other.is_relative_to(room) for other in used):
                    graph[mine[0]].add(room.name)
        assert circle(graph) == {}, parent


def test_no_folder_is_too_full_to_look_at():
    folders = {path for package in PACKAGES[:-1] for path in (ROOT / package).rglob("*") if path.is_dir()}
    counts = {
        folder: len([path for path in folder.iterdir() if path.is_file()])
        for folder in folders
        if not {"native", "__pycache__"} & set(folder.parts)
    }
    assert {folder: count for folder, count in counts.items() if count > 15} == {}


# What may name plugins: what stands beside other libraries, in speed or in weights, says which of ours they are like.
NAMING = ("plugins/built_in.py", "hparams/", "supervisors/bench/", "supervisors/artefacts/")
# Names that are words of their own as well: endings of files, terms of music, kinds of place, a section of a page.
WORDS = {"abc", "density", "folder", "grid", "key", "label", "originality", "text"}


def names_in(text, names):
    """Plugins that a string constant of a source names, as a whole or as `slot=name`; docstrings may give examples."""
    tree, found = ast.parse(text), set()
    told = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in told:
            found |= {node.value} & names
            found |= set(re.findall(r"(?:supervisor|backbone|tokenizer|dataset)=(\w+)", node.value)) & names
    return found - WORDS


def test_the_hub_names_no_plugin():
    manager = load_manager()
    entries = [entry for registry in manager.registries for entry in registry.values()]
    names = {entry.name for entry in entries}
    homes = {Path(entry.file).relative_to(ROOT).parts[:2] for entry in entries}  # plugins may name one another
    wrong = {}
    for file in FILES:
        place = file.relative_to(ROOT)
        if place.parts[:2] not in homes and not str(place).startswith(NAMING):
            wrong[str(place)] = names_in(file.read_text(), names)
    assert {place: found for place, found in wrong.items() if found} == {}


def test_a_name_in_the_hub_is_seen():
    names = {"mamba", "remi", "abc"}
    assert names_in('if hparams.name == "mamba": pass', names) == {"mamba"}
    assert names_in('REMEDY = "use tokenizer=remi, or quantise"', names) == {"remi"}
    assert names_in('"""A mamba of tokens."""\nformats = ("abc",)', names) == set()


def test_hparams_import_no_torch():
    found = set().union(*(imported(file) for file in FILES if file.is_relative_to(ROOT / "hparams")))
    assert "dataclasses" in found and "torch" not in found


def test_whoever_only_encodes_imports_no_torch():
    """A worker is a fresh interpreter: PyTorch, which it never calls, would be most of a small preparation's time."""
    manager = load_manager()
    homes = [f"plugins.tokenizers.{Path(entry.file).stem}" for entry in manager.tokenizers.values()]
    code = f"import sys, datatools.preparing.encoding, {', '.join(homes)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_miditok_comes_without_a_client_of_the_web():
    """Which is there for whoever imports it afterwards, and for whoever had it before."""
    code = """
import sys
from plugins.tokenizers.note_tokens.options import library
if sys.argv[1:]:
    import huggingface_hub
miditok = library()
assert ("huggingface_hub" in sys.modules) == bool(sys.argv[1:])
assert hasattr(miditok.REMI, "from_pretrained") == bool(sys.argv[1:])
import huggingface_hub
assert huggingface_hub.ModelHubMixin.from_pretrained and huggingface_hub.hf_hub_download
"""
    for before in ([], ["before"]):
        assert subprocess.run([sys.executable, "-c", code, *before], cwd=ROOT).returncode == 0


def test_no_sixth_package_and_no_catch_all():
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")}
    assert packages == set(PACKAGES)
    assert not [file for file in FILES if file.stem in ("utils", "common", "helpers", "misc")]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.S)


def test_readme_holds_the_very_files_that_are_tested():
    assert blocks("python")[0] == (EXAMPLE / "mingru_plugin.py").read_text()
    assert blocks("toml") == [(EXAMPLE / "pyproject.toml").read_text()]


def test_readme_lists_every_hook_and_no_other():
    listed = re.findall(r"^\| `(register_\w+)\(register\)`", README.read_text(), re.M)
    assert sorted(listed) == sorted(HOOKS)


def test_readme_names_laws_that_exist():
    from plugins.laws.backbones.measures import MEASURES

    __import__("plugins.laws.backbones.judging")
    (named,) = re.findall(r'expected_failures=\{"([^"]+)"', README.read_text())
    assert named in {marked.name for marked in MEASURES}


def test_models_lines_are_as_few_as_the_readme_says():
    source = (EXAMPLE / "mingru_plugin.py").read_text()
    (model,) = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "MinGru"]
    lines = source.splitlines()[model.lineno - 1 : model.end_lineno]
    assert len([line for line in lines if line.strip()]) <= 30
