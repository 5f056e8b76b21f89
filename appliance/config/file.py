"""Reading configuration files, within bounds; the only place of this package that touches the file system."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from appliance.config.compose import MAX_CHARACTERS
from appliance.config.findings import Findings
from appliance.config.nodes import quote

MAX_PARTS = 1000


@dataclass(frozen=True)
class Source:
    """Where a configuration is: a file, and the directory of those that add to it (it need not exist)."""

    file: Path
    directory: Path | None = None

    def __str__(self) -> str:
        """Return the file's path; those that add to it are found beside it."""
        return str(self.file)


def parts_of(directory: Path, findings: Findings) -> tuple[Path, ...]:
    """Return the `*.yaml` of a directory in the order of their names, hidden ones left out."""
    findings.enter(str(directory))
    try:
        found = [path for path in directory.iterdir() if path.suffix == ".yaml" and not path.name.startswith(".")]
    except FileNotFoundError:
        return ()
    except OSError as error:
        findings.refuse(0, 0, "file", f"cannot be read: {error.strerror}", "check the path and its permissions")
        return ()
    if len(found) > MAX_PARTS:
        findings.refuse(0, 0, "limit", f"more than {MAX_PARTS:,} files", "join some of them")
        return ()
    return tuple(sorted(found, key=lambda path: path.name))


def read_text(path: Path, findings: Findings, *, part: bool = False) -> str | None:
    """Return the file's text; None where it cannot be had, which `findings` then tells.

    Only a regular file is opened: a FIFO without a writer would block, a device need not end. A `part` was found in its
    directory, so nobody has named it.
    """
    instead = f"move it away: every *.yaml in {path.parent} is read" if part else "name a configuration file"
    try:
        if what := _no_file(path):
            findings.refuse(0, 0, "file", what, instead)
            return None
        with path.open("rb") as file:
            data = file.read(MAX_CHARACTERS + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        findings.refuse(0, 0, "file", f"cannot be read: {reason}", "check the path and its permissions")
        return None
    if len(data) > MAX_CHARACTERS:
        findings.refuse(0, 0, "limit", f"more than {MAX_CHARACTERS >> 20} MiB; this is no configuration file")
        return None
    if encoding := _encoding(data):
        hint = f"convert the file, for example with `iconv -f {encoding} -t utf-8`"
        findings.refuse(0, 0, "encoding", f"the text is {encoding.upper()}, not UTF-8", hint)
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if b"\0" in data:
            findings.refuse(0, 0, "encoding", "is a binary file, not a text", instead)
        else:
            _refuse_byte(data, error.start, findings)
        return None


def _no_file(path: Path) -> str:
    """Return why there is nothing to read at a path; empty where there is."""
    if path.is_file():
        return ""
    if path.is_dir():
        return "is a directory"
    if path.exists():
        return "is not a regular file"
    if not path.is_symlink():
        return "does not exist"
    return f"is a symbolic link to {quote(str(path.readlink()))}, where there is no file"


_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Those of UTF-32 come first: one of them begins with one of UTF-16."""


def _encoding(data: bytes) -> str:
    """Return in which encoding of Unicode a text is, by its mark or by the zeros beside ASCII; empty for UTF-8."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    head = data[:64]
    if len(head) >= 4:
        for first, name in ((1, "utf-16le"), (0, "utf-16be")):
            if not any(head[first::2]) and all(head[1 - first :: 2]):
                return name
    return ""


def _refuse_byte(data: bytes, at: int, findings: Findings) -> None:
    """Report the first byte that is not UTF-8."""
    line = data.count(b"\n", 0, at) + 1
    # The bytes before the bad one are sound, so the column can be counted in characters.
    column = len(data[data.rfind(b"\n", 0, at) + 1 : at].decode("utf-8")) + 1
    hint = "convert the file, for example with `iconv -f latin1 -t utf-8`"
    findings.refuse(line, column, "encoding", f"the byte {data[at]:#04x} is not UTF-8", hint)
