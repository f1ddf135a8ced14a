"""Files that are complete or absent, and always the same bytes."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core import files
from core.checkpoint import load_metadata, load_weights, save_weights
from core.errors import HubError
from core.files import atomic, checksum, publish_folder, recover_folder, write_json, write_text
from core.model.language_model import LanguageModel
from tests.test_model import Memory

METADATA = {"z": [1, 2.5, None], "a": {"ü": "♯", "b": True}}


def tensors() -> dict[str, torch.Tensor]:
    return {
        "b.half": torch.arange(6, dtype=torch.bfloat16).view(2, 3),
        "a.count": torch.tensor(7),
        "c.mask": torch.tensor([True, False]),
        "a.double": torch.arange(4, dtype=torch.float64) / 3,
        "z.ids": torch.arange(5, dtype=torch.int32),
        "y.empty": torch.zeros(0, 3),
    }


def test_every_dtype_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "w.safetensors"
    save_weights(tensors(), path, METADATA)
    found = load_weights(path)
    assert found.keys() == tensors().keys() and load_metadata(path) == METADATA
    for name, tensor in tensors().items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


def test_the_same_content_is_the_same_bytes_in_any_order_and_process(tmp_path: Path) -> None:
    save_weights(tensors(), tmp_path / "a", METADATA)
    save_weights(dict(reversed(tensors().items())), tmp_path / "b", dict(reversed(METADATA.items())))
    code = (
        "from tests.test_checkpoint import METADATA, save_weights, tensors\n"
        f"save_weights(tensors(), {str(tmp_path / 'c')!r}, METADATA)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(files.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert checksum(tmp_path / "a") == checksum(tmp_path / "b") == checksum(tmp_path / "c")


def test_the_file_is_plain_safetensors_with_one_metadata_key(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(LanguageModel(Memory(), 11), path, METADATA)
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header.pop("__metadata__")) == ["swaptunes"]
    assert header.keys() == {"embedding.weight", "backbone.mix.weight", "backbone.mix.bias"}
    assert header["embedding.weight"]["shape"] == [16, 8] and header["embedding.weight"]["dtype"] == "F32"


def test_tied_weights_are_written_once_and_read_under_all_names(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    model, other = LanguageModel(Memory(), 11), LanguageModel(Memory(), 11)
    save_weights(model, path)
    found = load_weights(path)
    assert found["head.weight"] is found["embedding.weight"] and load_metadata(path) == {}
    other.load_state_dict(found)
    ids = torch.randint(0, 11, (1, 9))
    assert torch.equal(model(ids)[0], other(ids)[0]) and other.head.weight is other.embedding.weight
    untied = LanguageModel(Memory(), 11, tie=False)
    save_weights(untied, path)
    assert not torch.equal(load_weights(path)["head.weight"], load_weights(path)["embedding.weight"])


def test_views_of_one_memory_are_not_taken_for_tied(tmp_path: Path) -> None:
    flat = torch.arange(12.0)
    views = {"a": flat[:6].view(2, 3), "b": flat[6:], "c": flat.view(3, 4).t(), "d": flat[:6], "e": flat[:3]}
    save_weights(views, tmp_path / "w")
    for name, tensor in load_weights(tmp_path / "w").items():
        assert torch.equal(tensor, views[name])


def test_files_of_others_are_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.ones(3)}, tmp_path / "w", {"format": "pt"})
    assert load_weights(tmp_path / "w")["x"].sum() == 3 and load_metadata(tmp_path / "w") == {}


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(tensors(), path)
    whole = path.read_bytes()
    for content in (b"", whole[:5], whole[:40], whole[:-1], b"\xff" * 8 + whole[8:], b"<html>not found</html>" * 9):
        path.write_bytes(content)
        with pytest.raises(HubError, match=r"w\.safetensors is damaged") as caught:
            load_weights(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(HubError, match=r"there is no file .*absent"):
        load_weights(tmp_path / "absent")


@pytest.mark.parametrize(
    "own", ["[]", "null", "{", "[" * 50_000, '{"tied": "x"}', '{"tied": {"a": {}}}', '{"tied": {"a": "b"}}']
)
def test_a_header_that_says_nonsense_is_one_line(own: str, tmp_path: Path) -> None:
    from safetensors.torch import save

    path = tmp_path / "w.safetensors"
    path.write_bytes(save({"w": torch.zeros(2)}, {"swaptunes": own}))
    with pytest.raises(HubError, match=r"w\.safetensors is damaged") as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "t", "old\n")
    with pytest.raises(RuntimeError), atomic(tmp_path / "t") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("t", b"old\n")]


def test_json_is_sorted_and_strict(tmp_path: Path) -> None:
    write_json(tmp_path / "j", {"b": "♯", "a": [1.5]})
    assert (tmp_path / "j").read_bytes() == '{\n  "a": [\n    1.5\n  ],\n  "b": "♯"\n}\n'.encode()
    with pytest.raises(ValueError):
        write_json(tmp_path / "j", {"loss": float("nan")})
    assert json.loads((tmp_path / "j").read_text())["b"] == "♯"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_system_errors_become_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    write_text(tmp_path / "t", "old")

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    for write in (
        lambda: write_text(tmp_path / "t", "new"),
        lambda: save_weights(tensors(), tmp_path / "t"),
        lambda: publish_folder(tmp_path, tmp_path.with_name("final")),
    ):
        with pytest.raises(HubError, match=r"^cannot write .*/(t|final): .*; (free|choose) [^\n]*$"):
            write()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("t", "old")]


def test_a_full_disk_for_real() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(HubError, match="no space is left"), files.explained(Path("x")):
        Path("/dev/full").write_bytes(b"1")


def test_other_errors_pass(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as caught:
        write_text(tmp_path / "file" / "below", "x")
    assert not isinstance(caught.value, HubError)


def fill(folder: Path, text: str) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text(text)
    return folder


def test_publish_replaces_a_folder_whole(tmp_path: Path) -> None:
    final = tmp_path / "all" / "runs" / "model"
    publish_folder(fill(tmp_path / ".new", "one"), final)
    fill(tmp_path / ".next", "two")
    (tmp_path / ".next" / "more").write_text("")
    publish_folder(tmp_path / ".next", final)
    assert (final / "deep" / "file").read_text() == "two" and (final / "more").exists()
    assert [path.name for path in final.parent.iterdir()] == ["model"]


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    final = fill(tmp_path / "model", "one")
    replace = os.replace

    class Killed(BaseException):
        pass

    def kill_at_second(source: Path, target: Path) -> None:
        if target == final:
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", kill_at_second)
        with pytest.raises(Killed):
            publish_folder(fill(tmp_path / ".new", "two"), final)
    assert not final.exists()
    recover_folder(final)
    assert (final / "deep" / "file").read_text() == "one"
    publish_folder(tmp_path / ".new", final)
    recover_folder(final)
    assert (final / "deep" / "file").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_kill_left_beside_is_no_obstacle(tmp_path: Path) -> None:
    """Killed after the second rename: the older folder was not yet gone. And folders on the way are made."""
    final = fill(tmp_path / "a" / "b" / "model", "one")
    fill(final.with_name(".model.old"), "older")
    publish_folder(fill(tmp_path / ".new", "two"), final)
    assert (final / "deep" / "file").read_text() == "two"
    assert [path.name for path in final.parent.iterdir()] == ["model"]
    publish_folder(fill(tmp_path / ".new", "three"), tmp_path / "c" / "d" / "model")
    assert (tmp_path / "c" / "d" / "model" / "deep" / "file").read_text() == "three"


def test_everything_is_synced_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_sync(descriptor: int) -> None:
        events.append(f"sync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        events.append(f"rename {Path(target).name}")
        replace(source, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not tell the names of open files")
    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    folder = fill(tmp_path / ".new", "x")
    publish_folder(folder, tmp_path / "final")
    assert sorted(events[:3]) == ["sync .new", "sync deep", "sync file"]
    assert events[3:] == ["rename final", f"sync {tmp_path.name}"]
    events.clear()
    write_text(tmp_path / "t", "x")
    assert [event.split()[0] for event in events] == ["sync", "rename", "sync"]
    assert events[1:] == ["rename t", f"sync {tmp_path.name}"]
