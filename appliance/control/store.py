"""What the daemon keeps on disk: the lock, the generated seed, the state file; replaced whole, never edited."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from appliance.errors import AlreadyRunning, HostError
from appliance.paths import Root

SEED_BYTES = 16


class Lock:
    """One instance for each root; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path, inherited: int | None = None) -> None:
        """Raises AlreadyRunning if another process holds it, HostError where there can be no lock.

        An `inherited` descriptor holds it already, if it is of the file at `path`.
        """
        if inherited is not None:
            try:
                if os.path.samestat(os.fstat(inherited), path.stat()):
                    self._fd = inherited
                    return
            except OSError:
                pass
            os.close(inherited)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HostError(f"{path}: cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            text = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise HostError(f"{path}: cannot be locked: {error.strerror}") from error
            raise AlreadyRunning(str(path), int(text) if text.isdigit() else None) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    @property
    def descriptor(self) -> int:
        """The open file that holds it."""
        return self._fd

    def release(self) -> None:
        """Let another instance start."""
        os.close(self._fd)


def make_directories(root: Root) -> None:
    """Make the state and run directories; raises HostError where that is not allowed."""
    for directory, mode in ((root.state, 0o750), (root.run, 0o755)):
        try:
            directory.mkdir(mode=mode, parents=True, exist_ok=True)
        except OSError as error:
            raise HostError(
                f"{directory}: cannot be made: {error.strerror}; start as root, or give --root DIR with a directory "
                "of yours"
            ) from error


def seed(root: Root) -> bytes:
    """Return the generated seed, making it at the first start. Raises HostError if the file holds something else."""
    path = root.seed_file
    try:
        text = path.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        made = secrets.token_bytes(SEED_BYTES)
        replace(path, made.hex() + "\n")
        return made
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != SEED_BYTES:
        raise HostError(
            f"{path}: does not hold 32 hexadecimal digits; restore it, or remove it and lose the affinity of running "
            "flows (or set `hash_seed` in the configuration)"
        )
    return found


def load_state(path: Path) -> tuple[dict[str, Any], str]:
    """Return the state file's content and, where it is unusable, why (the daemon goes on without it)."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"{path}: cannot be used ({error}); drains and verdicts of the last run are unknown"
    if not isinstance(content, dict):
        return {}, f"{path}: holds no object; drains and verdicts of the last run are unknown"
    return content, ""


def set_aside(path: Path) -> str:
    """Keep a copy of a file of which not everything could be used; returns words that say where, empty if it cannot."""
    copy = path.with_name(path.name + ".unusable")
    try:
        shutil.copyfile(path, copy)
        copy.chmod(0o600)
    except OSError:
        return ""
    return f"; a copy is kept as {copy}"


def save_state(path: Path, content: dict[str, Any]) -> None:
    """Replace the state file; raises HostError."""
    replace(path, json.dumps(content, separators=(",", ":")))


def replace(path: Path, *text: str) -> None:
    """Write a file whole or not at all, readable by its owner alone; `text` in pieces. Raises HostError."""
    temporary = path.with_name(path.name + ".new")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.writelines(text)
            file.flush()
            os.fdatasync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise HostError(f"{path}: cannot be written: {error.strerror}") from error
