"""A run that was stopped by a signal or damaged goes on; killed ones are in test_storage and test_soak."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import warm
from tests.test_run import ROOT, command

STEPS = 40
WORDS = [
    f"train.steps={STEPS}",
    "evaluate.every=8",
    "checkpoint.every=4",
    "backbone.dropout=0.1",
    "data.augment.transpose=3",
    "generate.count=1",
    "generate.length=48",
]


def start(folder: Path, *words: str) -> "warm.Child | subprocess.Popen[bytes]":
    """The command in the background, its output in `folder`/output."""
    with (folder / "output").open("ab") as output:
        env = {**os.environ, "SWAPTUNES_RUNS": str(folder)}
        return warm.start([*warm.COMMAND, *words], cwd=ROOT, env=env, stdout=output, stderr=output)


def wait_for(path: Path, lines: int, process: "warm.Child | subprocess.Popen[bytes]") -> None:
    """Waits until the metrics have that many lines; fails when the process ends before."""
    deadline = time.monotonic() + 120
    while not path.exists() or len(path.read_bytes().splitlines()) < lines:
        assert process.poll() is None, (path.parents[1] / "output").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def fingerprint(run: Path) -> tuple[bytes, bytes, list[tuple[int, float]]]:
    """Last weights, best weights and the curve of losses."""
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    curve = [(entry["step"], entry.get("loss", entry.get("valid_loss"))) for entry in entries]
    last = run / "checkpoints" / f"step_{STEPS:06d}" / "model.safetensors"
    return last.read_bytes(), (run / "model" / "model.safetensors").read_bytes(), curve


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, music_folder: Path) -> tuple[list[str], Path]:
    folder = tmp_path_factory.mktemp("undisturbed")
    words = ["--hparams", "tiny", "dataset=folder", f"dataset.path={music_folder}", *WORDS]
    result = command(*words, folder=folder)
    assert result.returncode == 0, result.stderr
    return words, folder / "tiny"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(
    number: signal.Signals, code: int, undisturbed: tuple[list[str], Path], tmp_path: Path
) -> None:
    words, reference = undisturbed
    process = start(tmp_path, *words)
    wait_for(tmp_path / "tiny" / "metrics.jsonl", 6, process)
    process.send_signal(number)
    assert process.wait(timeout=30) == code
    said = (tmp_path / "output").read_text()
    run = tmp_path / "tiny"
    assert f"go on with: python -m supervisors.run --run {run}" in said
    assert "Traceback" not in said
    result = command("--run", str(run), folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert fingerprint(run) == fingerprint(reference)


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    undisturbed: tuple[list[str], Path], tmp_path: Path
) -> None:
    words, reference = undisturbed
    run = tmp_path / "tiny"
    shutil.copytree(reference, run)
    weights = run / "checkpoints" / f"step_{STEPS:06d}" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    result = command(*words, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"step_{STEPS:06d} is damaged (model.safetensors was changed)" in result.stderr
    assert fingerprint(run)[1:] == fingerprint(reference)[1:]


def test_no_intact_checkpoint_is_never_a_silent_restart(undisturbed: tuple[list[str], Path], tmp_path: Path) -> None:
    words, reference = undisturbed
    run = tmp_path / "tiny"
    shutil.copytree(reference, run)
    for path in (run / "checkpoints").glob("*/meta.json"):
        path.write_text("{")
    before = (run / "metrics.jsonl").read_bytes()
    result = command(*words, folder=tmp_path)
    assert result.returncode == 2 and "no intact checkpoint" in result.stderr
    assert (run / "metrics.jsonl").read_bytes() == before


def test_two_processes_do_not_share_a_folder(undisturbed: tuple[list[str], Path], tmp_path: Path) -> None:
    words, _ = undisturbed
    process = start(tmp_path, *words)
    try:
        wait_for(tmp_path / "tiny" / "metrics.jsonl", 2, process)
        process.send_signal(signal.SIGSTOP)
        result = command(*words, folder=tmp_path)
        assert result.returncode == 2 and f"in use by process {process.pid}" in result.stderr
    finally:
        process.kill()
        process.wait()


def test_more_steps_go_on_and_other_keys_are_refused(undisturbed: tuple[list[str], Path], tmp_path: Path) -> None:
    words, reference = undisturbed
    run = tmp_path / "tiny"
    shutil.copytree(reference, run)
    result = command(*words, "train.lr=1", folder=tmp_path)
    assert result.returncode == 2 and "train.lr" in result.stderr
    result = command("--run", str(run), f"train.steps={STEPS + 4}", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (run / "checkpoints" / f"step_{STEPS + 4:06d}").exists()
