"""The certificates by which checks verify servers, read for the prober, which may read no files."""

from __future__ import annotations

import logging
import os
import stat

from appliance.health.messages import MAX_AUTHORITY

log = logging.getLogger(__name__)

_Mark = tuple[int, int, int, int]


class Authorities:
    """The contents of files of certificates, read again when they have changed."""

    def __init__(self) -> None:
        self._texts: dict[str, tuple[_Mark | None, str]] = {}

    def text(self, path: str) -> str:
        """Return what is in a file; empty, with a line in the log, where that cannot be had."""
        before = self._texts.get(path)
        try:
            found = os.stat(path)
            mark = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            if before is None or before[0] != mark:
                self._texts[path] = mark, _read(path, found)
        except (OSError, ValueError) as error:
            if before is None or before[0] is not None:
                why = os.strerror(error.errno or 0).lower() if isinstance(error, OSError) else error
                log.warning("the certificates in %s cannot be used: %s; checks that need them do not run", path, why)
            self._texts[path] = None, ""
        return self._texts[path][1]


def _read(path: str, found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is no regular file")
    if found.st_size > MAX_AUTHORITY:
        raise ValueError(f"it has more than {MAX_AUTHORITY} bytes")
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read(MAX_AUTHORITY)
