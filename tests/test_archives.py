"""Archives unpack to what they hold; what leads out, links, repeats itself or swells is refused by name."""

import gzip
import io
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import HubError
from datatools.fetching import archives

FILES = {"set/a.mid": b"one", "set/deep/b.mid": bytes(3000), "set/empty.csv": b""}
MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def packed(path: Path, files: dict[str, bytes]) -> Path:
    """An archive of the kind that its name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
            for name, data in files.items():
                made.writestr(name, data)
        return path
    suffix = next(suffix for suffix in sorted(MODES, key=len, reverse=True) if path.name.endswith(suffix))
    with tarfile.open(path, MODES[suffix]) as made:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return path


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, reason: str) -> None:
    """Unpacking fails in one line that names the archive, and leaves nothing."""
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(HubError, match=reason) as error:
        archives.unpack(archive, archive.parent / "out")
    assert str(archive) in str(error.value) and "\n" not in str(error.value)
    assert sorted(archive.parent.rglob("*")) == before


@pytest.mark.parametrize("suffix", [".zip", *MODES])
def test_what_is_packed_comes_out(suffix: str, tmp_path: Path) -> None:
    archive = packed(tmp_path / f"set{suffix}", FILES)
    assert archives.is_archive(archive)
    assert held(archives.unpack(archive, tmp_path / "out")) == FILES
    archive.unlink()
    assert held(archives.unpack(archive, tmp_path / "out")) == FILES  # what is there is not unpacked again


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
@pytest.mark.parametrize("name", ["../out.mid", "a/../../out.mid", "/out.mid", "C:/out.mid", "a\\..\\..\\out.mid"])
def test_a_path_that_leads_out_is_refused(suffix: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    refused(packed(tmp_path / "in" / f"set{suffix}", {"a.mid": b"x", name: b"y"}), "leads out of its folder")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("name", ["a" * 300 + ".mid", "bell\x07.mid", "a/" * 60 + "b.mid", ("a" * 190 + "/") * 30])
def test_a_name_that_no_file_should_bear_is_refused(suffix: str, name: str, tmp_path: Path) -> None:
    refused(packed(tmp_path / f"set{suffix}", {name: b"y"}), "no file should bear")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_a_name_given_twice_is_refused(suffix: str, tmp_path: Path) -> None:
    archive = tmp_path / f"set{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("a.mid", b"x")
            made.writestr("a.mid", b"y")
    else:
        with tarfile.open(archive, "w") as made_tar:
            made_tar.addfile(tarfile.TarInfo("a.mid"))
            made_tar.addfile(tarfile.TarInfo("a.mid"))
    refused(archive, "'a.mid' twice")


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("second", ["a/b.mid", "a/b/c.mid", "a/"])
def test_a_folder_in_the_place_of_a_file_is_refused(suffix: str, second: str, tmp_path: Path) -> None:
    archive = tmp_path / f"set{suffix}"
    if suffix == ".zip":
        packed(archive, {"a": b"x", second: b""})
    else:
        with tarfile.open(archive, "w") as made:
            for name in ("a", second):
                info = tarfile.TarInfo(name)
                info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                made.addfile(info)
    refused(archive, "a file where it needs a folder")


def test_an_entry_without_a_name_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "set.zip", {"a": b"x"})
    archive.write_bytes(archive.read_bytes().replace(b"a", b"\0"))  # a name ends at its first zero byte
    refused(archive, "holds '', a name that no file should bear")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_of_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "set.tar", "w") as made:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        made.addfile(info)
    refused(tmp_path / "set.tar", "'link', a link or device")


def test_links_of_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as made:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        made.writestr(info, "/etc/passwd")
    refused(tmp_path / "set.zip", "'link', a link or device")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_bombs_are_refused(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(tmp_path / f"set{suffix}", {"a.mid": b"x", "big.mid": bytes(5_000_000), "c.mid": b"z"})
    assert archive.stat().st_size < 20_000
    monkeypatch.setattr(archives, "MOST_BYTES", 4_000_000)
    refused(archive, "more than .* GiB")
    monkeypatch.undo()
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    refused(archive, "more than 2 files")


def test_a_tar_header_that_promises_what_is_not_there_is_refused(tmp_path: Path) -> None:
    for kind, size, reason in (
        (tarfile.XHDTYPE, 2**30, "takes 1,073,741,824 bytes"),
        (tarfile.REGTYPE, 2**40, "is damaged"),
    ):
        info = tarfile.TarInfo("header")
        info.type, info.size = kind, size
        with gzip.open(tmp_path / "set.tar.gz", "wb") as made:
            made.write(info.tobuf(tarfile.GNU_FORMAT) + bytes(100_000))
        refused(tmp_path / "set.tar.gz", reason)


Damage = Callable[[bytes], bytes]


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize("damage", [lambda d: d[: len(d) * 2 // 3], lambda d: b"", lambda d: b"music" + d[5:]])
def test_damaged_archives_are_named(suffix: str, damage: Damage, tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(30_000)
    archive = packed(tmp_path / f"set{suffix}", {"a.mid": noise, "b.mid": noise[::-1]})
    archive.write_bytes(damage(archive.read_bytes()))
    refused(archive, "is damaged|is no zip or tar file|twice")
