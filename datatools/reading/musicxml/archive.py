"""Compressed MusicXML (.mxl): the score inside the archive, read in memory; nothing is unpacked to disk."""

import io
import lzma
import zipfile
import zlib
from pathlib import PurePosixPath
from xml.etree import ElementTree

from datatools.reading.repeats import Refused

# What the library raises for damaged archives; UnicodeDecodeError and "negative seek" are ValueErrors.
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError, ValueError)
# Most bytes that a compressed score may unpack to.
MOST_BYTES = 64 * 2**20


def unpacked(data: bytes) -> bytes:
    """The score's bytes; ValueError for what is no archive, leads out of itself or is too large."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            total = sum(info.file_size for info in infos)
            if total > MOST_BYTES:
                raise Refused(f"its archive unpacks to {total >> 20} MB; expected at most {MOST_BYTES >> 20}")
            for info in infos:
                name = PurePosixPath(info.filename.replace("\\", "/"))
                if name.is_absolute() or ".." in name.parts:
                    raise Refused(f'its archive holds the path "{info.filename}", which leads out of it')
            return _member(archive, _root(archive))
    except Refused:
        raise
    except _BROKEN as error:
        raise ValueError(f"it is no readable archive: {' '.join(str(error).split())[:200]}") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        data = file.read(MOST_BYTES + 1)  # the sizes in an archive's index may lie
    if len(data) > MOST_BYTES:
        raise Refused(f"its archive unpacks to more than {MOST_BYTES // 2**20} MB")
    return data


def _root(archive: zipfile.ZipFile) -> str:
    """Name of the score: what META-INF/container.xml says, else the first XML file."""
    names = archive.namelist()
    if "META-INF/container.xml" in names:
        try:
            tree = ElementTree.fromstring(_member(archive, "META-INF/container.xml"))
        except ElementTree.ParseError as error:
            raise Refused(f"its META-INF/container.xml is broken: {error}") from error
        for element in tree.iter():
            path = element.get("full-path", "")
            if element.tag.rpartition("}")[2] == "rootfile" and path in names:
                return path
    for name in names:
        if name.lower().endswith((".xml", ".musicxml")) and not name.startswith(("META-INF", "__MACOSX")):
            return name
    raise Refused("its archive holds no MusicXML")
