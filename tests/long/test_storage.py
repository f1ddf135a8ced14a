"""Storage that fails: disks that fill up, files that rot, kills between any two calls, two runs on one folder."""

import errno
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.errors import HubError
from hparams.base import HParams, TrainHParams
from plugins.manager import load_manager
from supervisors.training import base
from supervisors.training.runfolder import RunFolder
from tests.test_run import ROOT
from tests.toy import Toy, quick, toy

__all__ = ["quick"]  # a fixture that holds for this module as well


def content(folder: Path) -> dict[str, object]:
    """Everything that a run leaves, but for times and what was set aside."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and path.name not in ("meta.json", "metrics.jsonl", "lock") and "damaged_" not in name:
            found[name] = path.read_bytes()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found["curve"] = [{key: line[key] for key in line if key != "tokens_per_second"} for line in lines]
    return found


@pytest.fixture(scope="module")
def whole(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run left alone."""
    folder = tmp_path_factory.mktemp("whole") / "toy"
    toy(folder).train()
    assert [path.name for path in RunFolder(folder).checkpoints()] == [f"step_{step:06d}" for step in (2, 4, 6)]
    return folder


class Killed(BaseException):
    """What stands for SIGKILL: from then on no call reaches the disk."""


WRITES, REMOVALS = ("fsync", "replace", "rename", "mkdir"), ("unlink", "rmdir")


@contextmanager
def failing(at: int, names: tuple[str, ...], fail: Callable[[], None]) -> Iterator[list[str]]:
    """From call number `at` on, the calls of `os` in `names` fail; yields the calls seen. Whole files fail half way."""
    seen: list[str] = []

    def wrapped(name: str) -> Callable[..., object]:
        real = getattr(os, name)

        def call(*arguments: object, **options: object) -> object:
            seen.append(name)
            if len(seen) > at:
                fail()
            return real(*arguments, **options)

        return call

    def write_bytes(path: Path, data: bytes) -> int:
        seen.append("write")
        with path.open("wb") as file:
            if len(seen) > at:
                file.write(data[: len(data) // 2])
                fail()
            return file.write(data)

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(os, name, wrapped(name))
        patch.setattr(Path, "write_bytes", write_bytes)
        yield seen


def die() -> None:
    raise Killed


def fill_up() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def calls(folder: Path, names: tuple[str, ...]) -> int:
    with failing(10**9, names, die) as seen:
        toy(folder).train()
    return len(seen)


def test_a_kill_between_any_two_calls_loses_nothing(whole: Path, tmp_path: Path, figures: list[str]) -> None:
    names = WRITES + REMOVALS
    count = calls(tmp_path / "counted", names)
    assert count > 60
    for at in range(count):
        run = tmp_path / str(at)
        with pytest.raises(Killed), failing(at, names, die):
            toy(run).train()
        toy(run).train()
        assert content(run) == content(whole), at
        assert not [path for path in run.rglob(".*") if path.suffix != ".tmp"], at
    figures.append(f"a run killed before each of its {count} calls that change the disk: ends bit-equal each time")


def test_a_disk_that_fills_up_at_any_call_is_one_line_and_loses_nothing(
    whole: Path, tmp_path: Path, figures: list[str]
) -> None:
    points = range(random.Random(0).randrange(3), calls(tmp_path / "counted", WRITES), 3)
    for at in points:
        run = tmp_path / str(at)
        with pytest.raises(HubError, match=r"^[^\n]*no space[^\n]*$"), failing(at, WRITES, fill_up):
            toy(run).train()
        assert not list(run.rglob(".*")), at  # half a file would keep the disk full
        toy(run).train()
        assert content(run) == content(whole), at
    figures.append(f"a disk full from any of {len(points)} calls on: one line, and the next start ends bit-equal")


def test_a_full_disk_under_the_curve_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    run = toy(tmp_path / "toy")
    opened = run.open_log

    def open_log() -> None:
        opened()
        assert run.logbook is not None
        run.logbook._lines = open("/dev/full", "w", buffering=1)  # noqa: SIM115

    monkeypatch.setattr(run, "open_log", open_log)
    with pytest.raises(HubError, match=r"metrics\.jsonl: no space is left"):
        run.train()


def damage(path: Path, draw: random.Random) -> str:
    """Flips a bit of a file, or cuts it short; tells which."""
    data = bytearray(path.read_bytes())
    where = draw.randrange(len(data))
    if draw.random() < 0.25:
        path.write_bytes(data[:where])
        return f"{path.name} cut to {where}"
    data[where] ^= 1 << draw.randrange(8)
    path.write_bytes(data)
    return f"{path.name} bit in {where}"


def test_any_damage_to_a_checkpoint_is_found_and_the_one_before_used(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, figures: list[str]
) -> None:
    draw = random.Random(0)
    run = tmp_path / "toy"
    shutil.copytree(whole, run)
    newest = run / "checkpoints" / "step_000006"
    files = sorted(path for path in newest.rglob("*") if path.is_file())
    assert {path.name for path in files} == {"model.safetensors", "optimizer.safetensors", "meta.json"}
    tries = 0
    for path in files:
        intact = path.read_bytes()
        for _ in range(150):
            tries += 1
            path.write_bytes(intact)
            what = damage(path, draw)
            caplog.clear()
            found = RunFolder(run).newest_intact()
            assert found is not None and found[0].name == "step_000004" and found[1]["step"] == 4, what
            assert "step_000006 is damaged" in caplog.text and path.name in caplog.text, what
        path.unlink()
        found = RunFolder(run).newest_intact()
        assert found is not None and found[0].name == "step_000004"
        path.write_bytes(intact)
        found = RunFolder(run).newest_intact()
        assert found is not None and found[0] == newest
    figures.append(f"{tries} flipped bits and cuts in the {len(files)} files of a checkpoint: all found")


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one_and_keeps_that(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "toy"
    shutil.copytree(whole, run)
    weights = run / "checkpoints" / "step_000006" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    damaged = weights.read_bytes()
    toy(run).train()
    assert content(run) == content(whole)
    assert (run / "checkpoints" / "damaged_step_000006_1" / "model.safetensors").read_bytes() == damaged


def test_nothing_intact_is_an_error_and_touches_nothing(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "toy"
    shutil.copytree(whole, run)
    for number, path in enumerate(RunFolder(run).checkpoints()):
        damage(sorted(path.rglob("*.*"))[number], random.Random(number))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(HubError, match=r"no intact checkpoint \(step_000006, step_000004, step_000002\)"):
        toy(run).train()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_the_torch_engine_leaves_a_stage_aside_and_refuses_other_keys_of_deepspeed(
    whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Toy(HParams(train=TrainHParams(engine="torch")), load_manager(), whole)
    run.hparams.deepspeed = {"zero_optimization": {"stage": 2}, "flops_profiler": None}
    with caplog.at_level("WARNING", "swaptunes"):
        run.build_model()
    assert "deepspeed.zero_optimization is left aside" in caplog.text
    run.hparams.deepspeed = {"zero_optimization": {"stage": 2}, "flops_profiler": {"enabled": True}}
    with pytest.raises(HubError, match=r"deepspeed\.flops_profiler, deepspeed\.zero_optimization is set"):
        run.build_model()


def test_a_checkpoint_under_a_wrong_name_or_of_another_format_is_refused(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "toy"
    shutil.copytree(whole, run)
    (run / "checkpoints" / "step_000006").rename(run / "checkpoints" / "step_000008")
    (run / "checkpoints" / "step_12x4").mkdir()  # no checkpoint
    (run / "checkpoints" / "step_000010").mkdir()
    (run / "checkpoints" / "step_000010" / "meta.json").write_text("[" * 50_000)
    found = RunFolder(run).newest_intact()
    assert found is not None and found[0].name == "step_000004"
    old = run / "checkpoints" / "step_000004" / "meta.json"
    meta = json.loads(old.read_text())
    old.write_text(json.dumps({**{key: meta[key] for key in meta if key != "sha256"}, "format": 1}))
    with pytest.raises(HubError, match="format 1; this version goes on from 2 only"):
        RunFolder(run).newest_intact()


def test_damaged_lines_of_the_curve_are_named_and_the_rest_kept(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "toy"
    shutil.copytree(whole, run)
    shutil.rmtree(run / "checkpoints" / "step_000006")
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(lines[0] + b"\0\xff\n" + b"".join(lines[1:-1]) + lines[-1][:7])
    toy(run).train()
    assert "metrics.jsonl: line 2, " in caplog.text
    assert content(run) == content(whole)


def test_a_place_where_nothing_may_be_written_is_one_line() -> None:
    if not Path("/sys").exists():
        pytest.skip("this system has no folder that nobody may write to")
    with pytest.raises(HubError, match=r"/sys/swaptunes cannot be written \([^\n]*\); give another place or name="):
        RunFolder(Path("/sys/swaptunes")).lock()


HOLD = """
import sys, time
from pathlib import Path
from supervisors.training.runfolder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
folder.lock()
print("held", flush=True)
time.sleep(60)
"""


def test_a_lock_names_its_process_and_dies_with_it(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        for _ in range(2):
            with pytest.raises(HubError, match=f"in use by process {process.pid} on {socket.gethostname()}; wait"):
                RunFolder(tmp_path).lock()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert (tmp_path / "lock").read_text().startswith(str(process.pid))
    folder = RunFolder(tmp_path)
    folder.lock()
    assert (tmp_path / "lock").read_text().startswith(f"{os.getpid()} on ")
    with pytest.raises(HubError, match=f"in use by process {os.getpid()} "):
        RunFolder(tmp_path).lock()
    folder.unlock()


def test_a_number_in_the_lock_that_another_process_bears_now_locks_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1 on elsewhere, and some more than a number is long")
    folder = RunFolder(tmp_path)
    folder.lock()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()} on {socket.gethostname()}"
    folder.unlock()


def test_a_second_signal_ends_at_once_unless_a_launcher_passes_the_first_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = toy(tmp_path / "toy")
    step = run.train_step

    def pressed(number: int) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        return step(number)

    monkeypatch.setattr(run, "train_step", pressed)
    with pytest.raises(base.Interrupted) as caught:
        run.train()
    assert (caught.value.step, caught.value.exit_code) == (1, 130)
    assert [path.name for path in RunFolder(run.folder.path).checkpoints()] == ["step_000001"]
    monkeypatch.setattr(base, "ECHO", -1.0)
    with pytest.raises(KeyboardInterrupt):
        run.train()
