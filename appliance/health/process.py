"""One prober process: started inside the probe namespace, as nobody, with CAP_NET_RAW and nothing else.

nsenter(1) joins the network namespace (setns(2) needs CAP_SYS_ADMIN), setpriv(1) then gives everything away, and the
last exec is Python itself, so the process id is the prober's from the beginning. The child inherits one end of a socket
pair, so nobody else can ever talk to it, and the environment holds nothing but the path of this package.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from appliance.errors import HostError
from appliance.health.code import handed_over
from appliance.health.diagnostic import printable
from appliance.paths import Root

USER = "nobody"
TOOLS = "/usr/bin:/bin:/usr/sbin:/sbin"
NAMESPACES = Path("/run/netns")
LOG_LINES = 100
"""Lines of stderr that are logged for one process."""

log = logging.getLogger(__name__)


def command(root: Root, descriptor: int) -> list[str]:
    """Return the command line of the prober; raises HostError that says what this host lacks."""
    if os.geteuid() != 0:
        raise HostError(
            f"cannot start the prober in network namespace {root.namespace}: entering it needs root; "
            "run vc5 as root, or as the package's units do"
        )
    namespace = NAMESPACES / root.namespace
    if not namespace.exists():
        raise HostError(
            f"cannot start the prober: there is no network namespace {namespace}; vc5 makes it at its start"
        )
    try:
        account = pwd.getpwnam(USER)
    except KeyError:
        raise HostError(f"cannot start the prober: there is no user {USER!r} on this host; create it") from None
    return [
        _tool("nsenter"),
        f"--net={namespace}",
        _tool("setpriv"),
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
        "--bounding-set=-all,+net_raw",
        "--inh-caps=-all,+net_raw",
        "--ambient-caps=-all,+net_raw",
        "--no-new-privs",
        "--pdeathsig=KILL",
        sys.executable,
        # -P: the working directory is not searched for modules; -s: nor the user's; -B: nothing is written.
        "-PsB",
        "-m",
        "appliance.health.prober",
        "--fd",
        str(descriptor),
    ]


class ProberProcess:
    """A running prober. `connection` is our end of the socket to it, non-blocking; what it writes to stderr is logged.

    Must be made in the thread that lives as long as the daemon: the kernel kills the prober when that thread ends
    (prctl(2), PR_SET_PDEATHSIG), and on a running event loop. Raises HostError.
    """

    def __init__(self, root: Root) -> None:
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with handed_over() as (path, descriptors):
                self._process = subprocess.Popen(
                    command(root, theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=(theirs.fileno(), *descriptors),
                    cwd="/",
                    env={"PYTHONPATH": path, "LANG": "C.UTF-8"},
                )
        except OSError as error:
            self.connection.close()
            raise HostError(f"cannot start the prober: {error}") from None
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
        """The process id; nsenter and setpriv have become the prober by exec."""
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
            self._rest = self._rest[-4096:]
            for line in lines:
                self._log(line)
        elif data is not None:
            self._loop.remove_reader(self._stderr.fileno())

    def _log(self, line: bytes) -> None:
        self._last = printable(line.decode(errors="replace"))
        self._lines += 1
        if self._lines <= LOG_LINES:
            log.warning("prober %d: %s", self.pid, self._last)


def _tool(name: str) -> str:
    path = shutil.which(name, path=TOOLS)
    if path is None:
        raise HostError(f"cannot start the prober: there is no {name} in {TOOLS}; install util-linux")
    return path
