"""The files of the spool: `000001.ndjson.gz`, `000002.ndjson` ...; records of two lines (documents.py), oldest first.

A segment that has been followed by another is compressed after a while, to about a tenth. While that is under way there
are both forms, with the same content; then only one. Offsets are always those of the uncompressed form.

A record is complete when both of its lines end with a newline, and the second parses and has a sequence number. What a
crash leaves behind the last complete record (half a line, or the zeros of a file system that had recorded the size but
not yet the data) is cut off when the store is opened for writing, and stepped over by readers until then.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from appliance.telemetry.record import ACTION, name_of

NAME = re.compile(r"([0-9]{6,})\.ndjson(\.gz)?")
LEVEL = 1


def segment(directory: Path, number: int) -> Path:
    """Return the path of one segment as it is written; numbers count from 1 and may outgrow six digits."""
    return directory / f"{number:06}.ndjson"


def compressed(directory: Path, number: int) -> Path:
    """Return the path of the compressed form of a segment."""
    return directory / f"{number:06}.ndjson.gz"


def opened(directory: Path, number: int) -> BinaryIO:
    """Open a segment for reading, in either form; raises FileNotFoundError where it has been removed, or OSError."""
    try:
        return segment(directory, number).open("rb")
    except FileNotFoundError:
        return cast("BinaryIO", gzip.open(compressed(directory, number), "rb"))


def forms(directory: Path, number: int) -> list[Path]:
    """Return the files that there are of a segment."""
    return [path for path in (segment(directory, number), compressed(directory, number)) if path.exists()]


def read(file: BinaryIO, size: int, offset: int) -> bytes:
    """Return at most `size` bytes from `offset` on; raises OSError, also where a compressed file is damaged."""
    try:
        file.seek(offset)
        return file.read(size)
    except (EOFError, zlib.error) as error:
        raise OSError(0, f"{type(error).__name__}: {error}") from None


def compress(directory: Path, number: int) -> None:
    """Put the compressed form of a segment in place of the other; raises OSError, with the segment as it was."""
    path, new = segment(directory, number), compressed(directory, number).with_suffix(".new")
    state = path.stat()
    try:
        with path.open("rb") as source, new.open("wb") as file:
            os.fchmod(file.fileno(), 0o640)
            with gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as packed:
                shutil.copyfileobj(source, packed, 1 << 20)
            file.flush()
            os.fdatasync(file.fileno())
        os.utime(new, (state.st_atime, state.st_mtime))
        new.replace(compressed(directory, number))
    except OSError:
        new.unlink(missing_ok=True)
        raise
    path.unlink()


def listing(directory: Path) -> list[int]:
    """Return the numbers of the segments in `directory`, ascending; none where it does not exist. Raises OSError."""
    return sorted({int(found[1]) for found in _names(directory)})


def plain(directory: Path) -> list[int]:
    """Return the numbers of the segments that are not compressed, ascending. Raises OSError."""
    return sorted(int(found[1]) for found in _names(directory) if not found[2])


def _names(directory: Path) -> list[re.Match[str]]:
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return [found for name in names if (found := NAME.fullmatch(name))]


def repair(path: Path) -> tuple[int, int]:
    """Cut what follows the last complete record; return its sequence number (0 for none) and how many bytes were cut.

    Raises OSError.
    """
    with path.open("r+b") as file:
        data = file.read()
        end = data.rfind(b"\n") + 1
        last = 0
        while end and not last:
            start = data.rfind(b"\n", 0, end - 1) + 1
            action = data.rfind(b"\n", 0, start - 1) + 1 if start else 0
            if data.startswith(ACTION, action, start):
                name = name_of(data[start:end])
                last = name.sequence if name else 0
            if not last:
                end = start
        if end < len(data):
            file.truncate(end)
    return last, len(data) - end
