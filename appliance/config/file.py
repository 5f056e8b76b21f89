"""Reading configuration files, within bounds; the only place of this package that touches the file system."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.config.compose import MAX_CHARACTERS
from appliance.config.findings import Findings

MAX_PARTS = 1000


@dataclass(frozen=True)
class Source:
    """Where a configuration is: a file, and the directory of those that add to it (it need not exist)."""

    file: Path
    directory: Path | None = None


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


def read_text(path: Path, findings: Findings) -> str | None:
    """Return the file's text; None where it cannot be had, which `findings` then tells.

    Only a regular file is opened: a FIFO without a writer would block, a device need not end.
    """
    try:
        if not path.is_file():
            what = "does not exist" if not path.exists() else "is not a regular file"
            findings.refuse(0, 0, "file", what, "name a configuration file")
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
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        # The bytes before the bad one are sound, so the column can be counted in characters.
        begin = data.rfind(b"\n", 0, error.start) + 1
        column = len(data[begin : error.start].decode("utf-8")) + 1
        hint = "convert the file, for example with `iconv -f latin1 -t utf-8`"
        findings.refuse(line, column, "encoding", f"the byte {data[error.start]:#04x} is not UTF-8", hint)
        return None
