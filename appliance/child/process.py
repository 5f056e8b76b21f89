"""One child process: started with one end of a socket pair and nothing else that it does not need.

The child inherits its end of the pair, so nobody else can ever talk to it, and the environment holds nothing but the
path of this package. What it writes to stderr is logged.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

from appliance.child.code import handed_over
from appliance.errors import HostError
from appliance.health.diagnostic import printable

TOOLS = "/usr/bin:/bin:/usr/sbin:/sbin"
LOG_LINES = 100
"""Lines of stderr that are logged for one process."""
LINE = 4096

log = logging.getLogger(__name__)


class Child:
    """A running process. `connection` is our end of the socket to it, non-blocking.

    Must be made in the thread that lives as long as the daemon: the kernel kills the child when that thread ends
    (prctl(2), PR_SET_PDEATHSIG), and on a running event loop.
    """

    def __init__(self, name: str, command: Callable[[int], list[str]], also: Sequence[int] = ()) -> None:
        """Start it. `command` returns its command line for the number of its end of the socket.

        It inherits the descriptors in `also`, under the same numbers. Raises HostError.
        """
        self._name = name
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with handed_over() as (path, descriptors):
                self._process = subprocess.Popen(
                    command(theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=(theirs.fileno(), *descriptors, *also),
                    cwd="/",
                    env={"PYTHONPATH": path, "LANG": "C.UTF-8"},
                )
        except OSError as error:
            self.connection.close()
            raise HostError(f"cannot start the {name}: {error}") from None
        except HostError:
            self.connection.close()
            raise
        finally:
            theirs.close()
        assert self._process.stderr is not None
        self._stderr = self._process.stderr
        self._lines = 0
        self._rest = b""
        self._last = ""
        self.connection.setblocking(False)
        os.set_blocking(self._stderr.fileno(), False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._stderr.fileno(), self._read_stderr)

    @property
    def pid(self) -> int:
        """The process id; tools that give privileges away have become the child by exec."""
        return self._process.pid

    async def end(self, patience: float) -> str:
        """Close the socket, wait `patience` seconds for the process to end, then kill it; return how it ended."""
        self.connection.close()
        kill_at = self._loop.time() + patience
        while self._process.poll() is None:
            if self._loop.time() >= kill_at:
                self._process.kill()
            await asyncio.sleep(0.005)
        self._read_stderr()
        if self._rest:
            self._log(self._rest)
        self._loop.remove_reader(self._stderr.fileno())
        self._stderr.close()
        code = self._process.returncode
        how = f"ended by signal {-code}" if code < 0 else f"ended with status {code}"
        return f"{how}: {self._last}" if self._last else how

    def _read_stderr(self) -> None:
        data = self._stderr.read(1 << 16)
        if data:
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._rest = self._rest[-LINE:]
            for line in lines:
                self._log(line)
        elif data is not None:
            self._loop.remove_reader(self._stderr.fileno())

    def _log(self, line: bytes) -> None:
        self._last = printable(line.decode(errors="replace"))
        self._lines += 1
        if self._lines <= LOG_LINES:
            log.warning("%s %d: %s", self._name, self.pid, self._last)


def python(module: str, *arguments: str) -> list[str]:
    """Return the command line of a module of this package."""
    # -P: the working directory is not searched for modules; -s: nor the user's; -B: nothing is written.
    return [sys.executable, "-PsB", "-m", module, *arguments]


def tool(name: str, what: str) -> str:
    """Return the path of a tool of util-linux that starts a child; raises HostError."""
    path = shutil.which(name, path=TOOLS)
    if path is None:
        raise HostError(f"cannot start the {what}: there is no {name} in {TOOLS}; install util-linux")
    return path
