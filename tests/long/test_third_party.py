"""Foreign packages, built as wheels and installed in an environment of their own beside the hub."""

import ast
import json
import math
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import pytest

from tests import warm

HERE = Path(__file__).parents[1]
FOREIGN = HERE / "third_party"
PACKAGES = ("mingru_example", "broken_example", "pairs_example", "register_example", "intervals_example")
OURS = {"core", "hparams", "datatools", "plugins", "supervisors", "tests", "swaptunes"}

PROBE = """
import json, sys
from core.errors import HubError
from plugins.manager import describe, load_manager
manager = load_manager()
errors = {}
for registry, name in [("backbones", "broken_at_import"), ("backbones", "halfway"), ("tokenizers", "broken_halfway")]:
    try:
        getattr(manager, registry)[name]
    except HubError as error:
        errors[name] = str(error)
for name in ("halfway_remi", "mingru_remy"):
    try:
        manager.preset(name)
    except HubError as error:
        errors[name] = str(error)
preset = manager.preset("mingru_tiny_notes")
both = [preset.name, preset.backbone.name, preset.tokenizer.name]
json.dump({"rows": describe(manager), "errors": errors, "preset": both}, sys.stdout)
"""

CHECK = """
import json, sys
from plugins.checks import run
from plugins.manager import load_manager
manager = load_manager()
json.dump({name: [[v.law, v.passed, v.detail] for v in run(manager, name)] for name in sys.argv[1:]}, sys.stdout)
"""


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """A new environment that sees ours and holds the foreign packages; gives its interpreter."""
    folder = tmp_path_factory.mktemp("beside")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]
    packages = [str(shutil.copytree(FOREIGN / name, folder / name)) for name in PACKAGES]
    wheels = folder / "wheels"
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), *packages], check=True)
    venv.create(folder / "env", with_pip=False)
    interpreter = folder / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    base = {"base": str(folder / "env"), "platbase": str(folder / "env")}
    site = Path(sysconfig.get_path("purelib", vars=base))
    ours = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (site / "ours.pth").write_text(ours)
    built = [str(wheel) for wheel in sorted(wheels.glob("*.whl"))]
    subprocess.run([*pip, "--python", str(interpreter), "install", "--no-deps", "--no-index", *built], check=True)
    return interpreter


def run(interpreter, *arguments, **environment):
    """Runs the interpreter at the root of the hub, with the entry points that the environment names."""
    clean = {key: value for key, value in os.environ.items() if key != "SWAPTUNES_LOAD_PLUGINS"}
    return warm.run(arguments, cwd=HERE.parent, env=clean | environment, interpreter=str(interpreter))


@pytest.fixture(scope="module")
def probed(beside):
    done = run(beside, "-c", PROBE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_foreign_plugins_are_found_with_their_origin(probed):
    rows = {(row[0], row[1]): row for row in probed[0]["rows"]}
    for kind, name in (("backbone", "mingru"), ("tokenizer", "tiny_notes")):
        _, _, distribution, version, where, error = rows[kind, name]
        assert (distribution, version, error) == ("swaptunes-mingru-example", "0.3.1", "")
        file, _, line = where.rpartition(":")
        assert Path(file).name == f"{name}_plugin.py"
        assert "def build" in (said := Path(file).read_text().splitlines()[int(line) - 1]) or "class MinGru" in said
    assert probed[0]["preset"] == ["mingru_tiny_notes", "mingru", "tiny_notes"]


def test_broken_plugins_are_skipped_and_named(probed):
    result, warnings = probed
    broken = {row[1]: row for row in result["rows"] if row[0] == "broken" and row[2] == "swaptunes-broken-example"}
    assert set(broken) == {"broken_at_import", "broken_halfway"}
    for name, reason in (
        ("broken_at_import", "no kernel for this machine"),
        ("broken_halfway", "second half is missing"),
    ):
        assert reason in broken[name][5]
        assert f"{name}.py:" in broken[name][4]
        assert warnings.count(f'skipped: plugin "{name}" of swaptunes-broken-example 9.9') == 1
    assert not [row for row in result["rows"] if row[1] == "halfway"]


def test_asking_for_a_broken_name_gives_its_error(probed):
    errors = probed[0]["errors"]
    assert "no kernel for this machine" in errors["broken_at_import"]
    for name in ("halfway", "broken_halfway", "halfway_remi"):
        assert "the second half is missing" in errors[name]
    assert 'Did you mean "mingru_remi"?' in errors["mingru_remy"]


def test_foreign_plugins_keep_the_laws(beside):
    names = ("mingru", "tiny_notes", "pairs", "register")
    done = run(beside, "-c", CHECK, *names, SWAPTUNES_LOAD_PLUGINS=",".join(names))
    assert done.returncode == 0, done.stderr
    for name, verdicts in json.loads(done.stdout).items():
        assert [verdict for verdict in verdicts if verdict[1] is False] == [], name
        assert sum(verdict[1] is True for verdict in verdicts) >= (7 if name == "register" else 12)


def test_an_empty_wish_leaves_the_built_in_plugins(beside):
    listing = "from plugins.manager import *; print(*(row.name for row in describe(load_manager())))"
    names = set(run(beside, "-c", listing, SWAPTUNES_LOAD_PLUGINS="").stdout.split())
    assert "transformer" in names
    assert not names & {"mingru", "tiny_notes", "broken_halfway", "broken_at_import"}


def test_foreign_plugins_train_under_their_composed_name_with_every_optional_part(beside, music_folder, tmp_path):
    words = ["dataset=folder", f"dataset.path={music_folder}", "backbone.dim=32", "backbone.layers=2", "train.steps=3"]
    words += ["data.length=64", "data.batch_size=2", "evaluate.every=3", "generate.count=1", "generate.length=32"]
    words += ["train.engine=torch", "data.workers=1"]
    folders = {"SWAPTUNES_RUNS": str(tmp_path / "runs"), "SWAPTUNES_CACHE": str(tmp_path / "cache")}
    words += ["data.augment.transpose=2", "data.augment.velocity=1", "data.augment.tempo=0.1"]
    words += [f"generate.prompt={next(music_folder.iterdir())}", "generate.prompt_beats=4", "generate.bars=2"]
    done = run(beside, "-m", "supervisors.run", "--hparams", "mingru_tiny_notes", *words, **folders)
    assert done.returncode == 0, done.stderr
    made = tmp_path / "runs" / "mingru_tiny_notes"
    assert "generating without a grammar: this grammar does not count bars" in done.stderr
    assert len(list(made.glob("samples/*/*.mid"))) == len(list(made.glob("samples/*/*.musicxml"))) == 1
    lines = (made / "metrics.jsonl").read_text().splitlines()
    steps = [entry for entry in map(json.loads, lines) if "loss" in entry]
    assert [entry["step"] for entry in steps] == [1, 2, 3]
    assert all(0 < entry["loss"] < 10 for entry in steps)


# The rest of a run that was killed, and its artefact in a folder of its own.
AFTERWARDS = """
import shutil, sys
from pathlib import Path
from supervisors.run import main
def command(*words):
    try:
        main(list(words))
    except SystemExit as end:
        assert end.code == 0, words
runs = Path(sys.argv[1])
command("--run", str(runs / "killed"))
shutil.copytree(runs / "killed" / "model", runs / "shared")
for folder in ("whole", "shared"):
    command("generate", "--run", str(runs / folder), "generate.seed=9", f"generate.out={runs / folder}-played")
command("evaluate", "--run", str(runs / "killed"))
"""


def test_a_foreign_supervisor_keeps_the_laws(beside):
    done = run(beside, "-c", CHECK, "interval_bags", SWAPTUNES_LOAD_PLUGINS="interval_bags")
    assert done.returncode == 0, done.stderr
    (verdicts,) = json.loads(done.stdout).values()
    assert [verdict[1] for verdict in verdicts] == [True] * 4, verdicts


def test_a_foreign_supervisor_owns_a_run_that_is_killed_resumed_and_shared(beside, music_folder, tmp_path):
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
    words = ["supervisor=interval_bags", "supervisor.latent=3", "backbone=lstm", "backbone.dim=24", "backbone.layers=1"]
    words += ["dataset=folder", f"dataset.path={music_folder}", "train.engine=deepspeed", "train.steps=60"]
    words += ["evaluate.every=20", "checkpoint.every=10", "data.workers=1", "generate.count=1"]
    folders = {"SWAPTUNES_RUNS": str(tmp_path), "SWAPTUNES_CACHE": str(tmp_path / "cache")}
    environment = {**os.environ, **folders, "SWAPTUNES_LOAD_PLUGINS": "interval_bags"}
    with (tmp_path / "output").open("wb") as output:
        place = {"cwd": HERE.parent, "env": environment, "stdout": output, "stderr": output}
        command = [*warm.COMMAND, "--hparams", "tiny", *words]
        whole = warm.start([*command, "name=whole"], **place, interpreter=str(beside))
        killed = warm.start([*command, "name=killed"], **place, interpreter=str(beside))
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob("killed/checkpoints/step_*/meta.json")):
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    killed.kill()
    assert killed.wait(60) != 0
    assert whole.wait(240) == 0, (tmp_path / "output").read_text()
    done = run(beside, "-c", AFTERWARDS, str(tmp_path), SWAPTUNES_LOAD_PLUGINS="interval_bags", **folders)
    assert done.returncode == 0, done.stderr
    for name in ("checkpoints/step_000060/model.safetensors", "model/model.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 60 and sum(losses[-10:]) < 0.95 * sum(losses[:10])
    played = [(tmp_path / f"{folder}-played" / "0.mid").read_bytes() for folder in ("whole", "shared")]
    assert played[0] == played[1]
    assert json.loads((tmp_path / "shared" / "config.json").read_text())["plugins"]["supervisor"] == {
        "name": "interval_bags", "distribution": "swaptunes-intervals-example", "version": "0.1.0",
    }  # fmt: skip


def test_a_foreign_tokenizer_of_two_streams_trains_under_a_foreign_control(beside, music_folder, tmp_path):
    words = ["dataset=folder", f"dataset.path={music_folder}", "backbone.dim=32", "backbone.layers=1", "train.steps=12"]
    words += ["data.length=64", "data.batch_size=4", "evaluate.every=12", "generate.count=1", "generate.length=32"]
    words += ["train.engine=torch", "data.workers=1", "data.augment.transpose=3", "train.lr=0.01"]
    words += ["model.controls=[register,density]"]
    folders = {"SWAPTUNES_RUNS": str(tmp_path / "runs"), "SWAPTUNES_CACHE": str(tmp_path / "cache")}
    done = run(beside, "-m", "supervisors.run", "--hparams", "mingru_pairs", *words, **folders)
    assert done.returncode == 0, done.stderr
    made = tmp_path / "runs" / "mingru_pairs"
    lines = [json.loads(line) for line in (made / "metrics.jsonl").open()]
    assert [entry for entry in lines if entry.get("valid_loss_given_controls", 0) > 0]
    losses = [entry["loss"] for entry in lines if "loss" in entry]
    assert losses[0] == pytest.approx(math.log(36) + math.log(129), rel=0.1), "joint nats of a token, not of an id"
    assert losses[-1] < 0.9 * losses[0]
    out = [
        "generate.controls.register=72",
        "generate.guidance=1.5",
        "generate.count=2",
        f"generate.out={tmp_path / 'alone'}",
        f"generate.prompt={next(music_folder.iterdir())}",
    ]
    done = run(beside, "-m", "supervisors.run", "generate", "--run", str(made / "model"), *out, **folders)
    assert done.returncode == 0, done.stderr
    (said,) = [json.loads(path.read_text()) for path in (tmp_path / "alone").glob("0.json")]
    assert (
        said["settings"]["controls"] == {"register": 72}
        and said["notes"]
        and all(len(token) == 2 for token in said["tokens"])
    )
    assert said["names"][0].split()[0].startswith("timeshift") and " pitch_" in said["names"][0]


def test_foreign_package_imports_nothing_of_ours():
    files = sorted([*(FOREIGN / "mingru_example").glob("*.py"), *(FOREIGN / "pairs_example").glob("*.py")])
    files += sorted((FOREIGN / "register_example").glob("*.py"))
    assert len(files) == 4
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & OURS, file
