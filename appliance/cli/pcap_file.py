"""Where `--pcap` writes to: a new file, or standard output."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a file for packets; - is standard output. Raises FileExistsError: a file of this name is somebody's."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with open(path, "xb") as file:
        yield file
