"""Starting the process of BFD where systemd does not: detached, without a privilege, with the socket it listens on.

It is in a session of its own and nothing ties its life to the daemon's: it is to outlive it. The socket is made here,
so that whoever connects next is heard even before the process has begun to listen.
"""

from __future__ import annotations

import os
import pwd
import socket
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

from appliance.child.code import handed_over
from appliance.child.process import python, tool
from appliance.errors import HostError

MODULE = "appliance.routing.bfd"
USER = "nobody"
BACKLOG = 4
NICE = -10
"""It works 50 us at a time, and a packet that is late costs a path."""
LAST_WORDS = 2000

_stderr = -1
"""A file in memory that what the process writes at its start ends up in; the last one."""


def start(place: Path) -> int:
    """Start a process that listens at `place`; returns its process id. Raises HostError."""
    listener = _listener(place)
    try:
        return _spawn(place, listener)
    except OSError as error:
        place.unlink(missing_ok=True)
        raise HostError(f"cannot start the process of BFD: {error}") from None
    except HostError:
        place.unlink(missing_ok=True)
        raise
    finally:
        listener.close()


def _spawn(place: Path, listener: socket.socket) -> int:
    global _stderr
    if _stderr >= 0:
        os.close(_stderr)
    _stderr = os.memfd_create("vc5-bfd-stderr", os.MFD_CLOEXEC)
    with handed_over() as (path, descriptors):
        process = subprocess.Popen(
            [
                *_without_privileges(),
                *python(MODULE, "--fd", str(listener.fileno()), "--at", os.fspath(place)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=_stderr,
            pass_fds=(listener.fileno(), *descriptors),
            cwd="/",
            env={"PYTHONPATH": path, "LANG": "C.UTF-8"},
            start_new_session=True,
        )
    process.returncode = 0  # it outlives us; `reaped` asks for it by its number
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
    return process.pid


def _without_privileges() -> list[str]:
    away = ["--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs"]
    if os.geteuid() == 0:
        try:
            account = pwd.getpwnam(USER)
        except KeyError:
            raise HostError(f"cannot start the process of BFD: there is no user {USER!r}; create it") from None
        identity = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--bounding-set=-all"]
        away = [*identity, *away]
    return [tool("setpriv", "process of BFD"), *away]


def _listener(place: Path) -> socket.socket:
    """Listen at `place`, which only this user may use; a socket that nobody listens on is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    mask = os.umask(0o177)
    try:
        os.umask(0o077)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.umask(0o177)
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(place.lstat().st_mode):
                raise HostError(f"{place}: is in the way of the socket of BFD and is no socket; move it away")
            place.unlink()
        listener.bind(os.fspath(place))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise HostError(f"{place}: cannot make the socket of BFD: {error.strerror or error}") from None
    except HostError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def last_words() -> str:
    """Return the last line that the process which was started last wrote to its standard error."""
    if _stderr < 0:
        return ""
    size = os.fstat(_stderr).st_size
    lines = os.pread(_stderr, LAST_WORDS, max(0, size - LAST_WORDS)).decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def reaped(number: int) -> bool:
    """Whether this process has ended, if it is a child of ours; of others, True."""
    try:
        return os.waitpid(number, os.WNOHANG)[0] == number
    except ChildProcessError:
        return True


def is_ours(number: int) -> bool:
    """Whether a process of this number is one of BFD: it may have ended, and the number be another's."""
    try:
        return MODULE.encode() in Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
