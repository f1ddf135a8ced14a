"""A run from the command line: its files, its log, what it says, and every wrong word as one line."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import mido
import pytest

from core.errors import HubError
from core.files import checksum
from tests import warm

ROOT = Path(__file__).resolve().parents[1]
TINY = ["train.steps=12", "evaluate.every=4", "generate.count=2", "generate.length=96", "train.engine=torch"]


def command(*words: str, folder: Path, here: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, called from `here`, runs below `folder`."""
    env = {**os.environ, "SWAPTUNES_RUNS": str(folder), "PYTHONPATH": str(ROOT), **environment}
    return warm.run([*warm.COMMAND, *words], cwd=here, env=env)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, music_folder: Path) -> Path:
    """A folder in which `tiny` has been trained on the small music, by DeepSpeed."""
    folder = tmp_path_factory.mktemp("runs")
    words = ["dataset=folder", f"dataset.path={music_folder}", *TINY[:-1]]
    result = command("--hparams", "tiny", *words, folder=folder)
    assert result.returncode == 0, result.stderr
    (folder / "stdout").write_text(result.stdout)
    return folder


def lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_leaves_everything_that_it_promises(runs: Path) -> None:
    run = runs / "tiny"
    for name in ("hparams.yaml", "environment.json", "metrics.jsonl", "evaluation.json", "tensorboard"):
        assert (run / name).exists(), name
    assert {path.name for path in (run / "model").iterdir()} == {
        "model.safetensors",
        "config.json",
        "tokenizer",
        "README.md",
    }
    assert [path.name for path in sorted((run / "checkpoints").iterdir())] == ["step_000008", "step_000012"]
    assert not [path for path in run.rglob("*") if path.suffix in (".pkl", ".pickle")]
    for part in ("config.json", "hparams.yaml"):
        text = (run / "model" / part if part == "config.json" else run / part).read_text()
        assert not re.search(r"\b(core|plugins|hparams|supervisors|datatools)\.\w+", text), part


def test_metrics_have_one_object_a_step_and_validations(runs: Path) -> None:
    entries = lines(runs / "tiny" / "metrics.jsonl")
    steps = [entry for entry in entries if "loss" in entry]
    assert [entry["step"] for entry in steps] == list(range(1, 13))
    assert all({"loss", "lr", "grad_norm", "tokens_per_second"} <= entry.keys() for entry in steps)
    assert [entry["step"] for entry in entries if "valid_loss" in entry] == [4, 8, 12]
    assert steps[-1]["loss"] < steps[0]["loss"]


def test_tensorboard_holds_the_curves_and_a_piano_roll(runs: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(runs / "tiny" / "tensorboard"))
    board.Reload()
    tags = board.Tags()
    assert {"loss", "lr", "grad_norm", "tokens_per_second", "valid_loss"} <= set(tags["scalars"])
    assert tags["images"] == ["sample"]
    assert [event.step for event in board.Scalars("loss")] == list(range(1, 13))


def test_the_summary_compares_with_baselines_and_names_the_samples(runs: Path) -> None:
    text = (runs / "stdout").read_text()
    assert "nats per note" in text and "unigram" in text and "-gram" in text
    files = re.findall(r"\S+\.mid", text)
    assert len(files) == 2
    for file in files:
        messages = [message for track in mido.MidiFile(file).tracks for message in track]
        assert any(message.type == "note_on" and message.velocity for message in messages)
        facts = json.loads(Path(file).with_suffix(".json").read_text())
        assert facts["notes"] > 0 and len(facts["names"]) == len(facts["tokens"]) and facts["settings"]["seed"] == 0
        assert Path(file).with_suffix(".png").stat().st_size > 1000


def test_a_finished_run_says_so(runs: Path, music_folder: Path) -> None:
    before = (runs / "tiny" / "metrics.jsonl").read_bytes()
    result = command("--hparams", "tiny", "dataset=folder", f"dataset.path={music_folder}", *TINY[:-1], folder=runs)
    assert result.returncode == 0 and "is finished" in result.stdout
    assert (runs / "tiny" / "metrics.jsonl").read_bytes() == before


def test_a_replay_learns_the_same(runs: Path) -> None:
    result = command("--hparams", str(runs / "tiny" / "hparams.yaml"), folder=runs)
    assert result.returncode == 0, result.stderr
    old, new = (
        [(entry["step"], entry["loss"]) for entry in lines(runs / name / "metrics.jsonl") if "loss" in entry]
        for name in ("tiny", "tiny-2")
    )
    assert old == new
    weights = [(runs / name / "model" / "model.safetensors").read_bytes() for name in ("tiny", "tiny-2")]
    assert weights[0] == weights[1]


def test_generate_from_the_artefact_alone(runs: Path, tmp_path: Path, music_folder: Path) -> None:
    artefact = tmp_path / "shared"
    (runs / "tiny" / "model").rename(artefact)
    try:
        prompt = music_folder / "walk_00.mid"
        words = ["generate.count=2", "generate.seed=3", f"generate.prompt={prompt}", "generate.prompt_beats=8"]
        outs = []
        before = sorted(path.name for path in artefact.iterdir())
        config = json.loads((artefact / "config.json").read_text())
        config["hparams"]["generate"]["out"] = str(tmp_path / "elsewhere")  # not for a shared folder to say
        (artefact / "config.json").write_text(json.dumps(config))
        for out, more in (
            (tmp_path / "a", [f"generate.out={tmp_path / 'a'}"]),
            (tmp_path / "samples/tiny_001", []),  # where one stands: the folder is for sharing
        ):
            result = command("generate", "--run", str(artefact), *words, *more, folder=tmp_path, here=tmp_path)
            assert result.returncode == 0, result.stderr
            outs.append([json.loads((out / f"{row}.json").read_text())["tokens"] for row in range(2)])
        assert outs[0] == outs[1] and outs[0][0] != outs[0][1]
        assert not (tmp_path / "elsewhere").exists()
        assert sorted(path.name for path in artefact.iterdir()) == before
        again = command("generate", "--run", str(artefact), f"generate.out={tmp_path / 'a'}", folder=tmp_path)
        assert again.returncode == 2 and "holds pieces of another call (0." in again.stderr
    finally:
        artefact.rename(runs / "tiny" / "model")


def test_each_call_draws_anew_and_tells_its_seed(runs: Path, tmp_path: Path) -> None:
    def drawn(name: str, *words: str) -> tuple[int, list[int]]:
        words = (f"generate.out={tmp_path / name}", "generate.formats=[]", *words)
        words = ("generate.count=1", "generate.length=60", *words)
        result = command("generate", "--run", str(runs / "tiny"), *words, folder=tmp_path)
        assert result.returncode == 0, result.stderr
        told = json.loads((tmp_path / name / "0.json").read_text())
        seed = told["settings"]["seed"]
        assert f"generate.seed={seed} draws the same again" in result.stderr
        return seed, told["tokens"]

    first, second = drawn("a"), drawn("b")
    assert first[0] != second[0] and first[1] != second[1]
    assert drawn("c", f"generate.seed={first[0]}") == first


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--hparams", "mamba_rimi"], 'Did you mean "mamba_remi"'),
        (["--hparams", "tiny", "backbone=mambo"], 'Did you mean "mamba"'),
        (["--hparams", "tiny", "train.step=3"], 'Did you mean "train.steps"'),
        (["--hparams", "tiny", "train.steps=many"], "train.steps"),
        (["--hparams", "tiny", "dataset=folder"], "dataset.path"),
        (["--hparams", "tiny", "dataset=folder", "dataset.path=EMPTY"], "EMPTY"),
        (["--hparams", "tiny", "dataset=folder", "dataset.path=nowhere"], "nowhere"),
        (["--hparams", "tiny", "dataset=folder", "dataset.path=BAD"], "BAD"),
        (["trian", "--hparams", "tiny"], 'Did you mean "train"'),
        (["--hparams", "tiny", "name=a\x1b[2Jb"], "expected a plain folder name"),
        (["--hparams", "tiny", "a\x1b[2J\nb=1"], r'no key "a\x1b[2J\nb"'),
        (["--hparam", "tiny"], 'no flag "--hparam"'),
        (["--seed", "3", "--hparams", "tiny"], "key=value"),
        (["generate"], "--run FOLDER"),
        (["generate", "--run", "nowhere"], "not a folder"),
        (["generate", "--run", "EMPTY"], "neither a run nor an artefact"),
        (["generate", "--run", "RUNS/tiny", "generate.prompt=BAD/bad.mid"], "bad.mid"),
        (["generate", "--run", "RUNS/tiny", "generate.temprature=2"], 'Did you mean "generate.temperature"'),
        (["generate", "--run", "RUNS/tiny", "generate.prompt_beats=4"], "generate.prompt=FILE beside it"),
        (["generate", "--run", "RUNS/tiny", "generate.prompt_bars=4"], "generate.prompt=FILE beside it"),
        (["generate", "--run", "RUNS/tiny", "train.lr=2"], "cannot be changed here"),
        (["--run", "RUNS/tiny", "backbone.layers=3"], "backbone.layers"),
        (["--run", "RUNS/tiny", "--hparams", "tiny"], "--run"),
        (["--hparams", "tiny", "name=../escape"], "name is"),
        (["check", "mambo"], 'Did you mean "mamba"'),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(
    words: list[str], expected: str, tmp_path: Path, runs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from supervisors.run import main

    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "BAD").mkdir()
    (tmp_path / "BAD" / "bad.mid").write_bytes(b"MThd\0\0")
    filled = [
        word.replace("RUNS", str(runs)).replace("EMPTY", str(tmp_path / "EMPTY")).replace("BAD", str(tmp_path / "BAD"))
        for word in words
    ]
    patch = pytest.MonkeyPatch()
    patch.setenv("SWAPTUNES_RUNS", str(tmp_path))
    with pytest.raises(SystemExit) as caught:
        main(filled)
    patch.undo()
    error = [line for line in capfd.readouterr().err.splitlines() if line.startswith("swaptunes:")]
    assert caught.value.code == 2
    assert (
        len(error) == 1
        and expected.replace("EMPTY", str(tmp_path / "EMPTY")).replace("BAD", str(tmp_path / "BAD")) in error[0]
    )


def test_divergence_ends_the_run_in_one_line(tmp_path: Path, music_folder: Path) -> None:
    words = ["dataset=folder", f"dataset.path={music_folder}", *TINY, "train.lr=1e30", "train.clip=0"]
    result = command("--hparams", "tiny", *words, folder=tmp_path)
    said = [line for line in result.stderr.splitlines() if line.startswith("swaptunes:")]
    assert result.returncode == 2 and len(said) == 1 and "training diverged" in said[0] and "train.lr" in said[0]
    assert "Traceback" not in result.stderr


def test_weights_that_were_changed_are_refused(runs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(runs / "tiny" / "model", copy)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    result = command("generate", "--run", str(copy), folder=tmp_path)
    assert result.returncode == 2 and "was changed since it was written" in result.stderr


def test_a_damaged_evaluation_is_made_again(runs: Path, music_folder: Path) -> None:
    path = runs / "tiny" / "evaluation.json"
    whole = path.read_text()
    path.write_text(whole[:40])
    result = command("--hparams", "tiny", "dataset=folder", f"dataset.path={music_folder}", *TINY[:-1], folder=runs)
    assert result.returncode == 0, result.stderr
    assert json.loads(path.read_text()) == json.loads(whole)


def test_a_checkpoint_of_another_tokenizer_is_refused(runs: Path, tmp_path: Path) -> None:
    config = runs / "tiny" / "model" / "config.json"
    text = config.read_text()
    try:
        config.write_text(re.sub(r'("tokenizer_fingerprint": ")[^"]+', r"\g<1>0123", text))
        result = command("generate", "--run", str(runs / "tiny"), folder=tmp_path)
    finally:
        config.write_text(text)
    assert result.returncode == 2 and "is not the tokenizer" in result.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"plugins": []},
        {"plugins": {"backbone": "mamba"}},
        {"plugins": {"engine": {"name": "x", "distribution": "y", "version": "1"}}},
        {"plugins": {"backbone": {"name": [], "distribution": "y", "version": "1"}}},
        {"format": "1"},
        {"hparams": "tiny"},
    ],
)
def test_a_configuration_that_says_nonsense_is_one_line(change: dict[str, Any], tmp_path: Path) -> None:
    from plugins.manager import load_manager
    from supervisors.artefacts import artefact

    config = {"format": 1, "hparams": {}, "tokenizer_fingerprint": 5, "plugins": {}, "sha256": checksum(__file__)}
    shutil.copy(__file__, tmp_path / "model.safetensors")
    for text in (json.dumps(config | change), "[" * 50_000):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(HubError, match=str(tmp_path)):
            artefact.read(tmp_path, load_manager())


def test_a_run_of_a_missing_plugin_is_refused(runs: Path, tmp_path: Path) -> None:
    config = runs / "tiny" / "model" / "config.json"
    text = config.read_text()
    try:
        config.write_text(text.replace('"name": "mamba"', '"name": "mamba9"'))
        result = command("generate", "--run", str(runs / "tiny"), folder=tmp_path)
    finally:
        config.write_text(text)
    assert result.returncode == 2 and 'needs the backbone "mamba9" of swaptunes' in result.stderr


@pytest.mark.parametrize("words", [["--help"], ["list"]])
def test_short_answers_come_quickly(words: list[str], tmp_path: Path) -> None:
    began = time.perf_counter()
    result = command(*words, folder=tmp_path)
    assert result.returncode in (0, 2) and (result.stdout or result.stderr)
    assert time.perf_counter() - began < 30  # a hang or a heavy import, not a benchmark
