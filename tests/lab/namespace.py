"""A network namespace: running commands in it, calling functions in it, finding who lives in it."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

NAMESPACES = Path("/run/netns")
CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h

T = TypeVar("T")


class LabError(Exception):
    """The lab could not do what it was asked to; the message says which command failed and what it printed."""


def run(*argv: str, text: str | None = None, timeout: float = 30.0) -> str:
    """Run a command and return its standard output; `text` is its standard input. Raises LabError on failure."""
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=timeout)
    except FileNotFoundError:
        raise LabError(
            f"{argv[0]} is not installed; the lab needs iproute2, util-linux, ethtool, openssl, nginx"
        ) from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(argv)}: still running after {timeout:g} s") from None
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: exit status {done.returncode}\n{text or ''}{done.stdout}{done.stderr}")
    return done.stdout


@dataclass(frozen=True)
class Namespace:
    """A named network namespace.

    Entered with nsenter rather than `ip netns exec`: the latter mounts a new /sys, and bpffs pins are lost in it.
    The price is that /sys/class/net shows the caller's interfaces; /proc/sys/net shows the namespace's own.
    """

    name: str

    @property
    def path(self) -> Path:
        return NAMESPACES / self.name

    def command(self, *argv: str) -> list[str]:
        """Return the command line that runs `argv` in here; nsenter execs, so the process id is that of `argv`."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def run(self, *argv: str, text: str | None = None, timeout: float = 30.0) -> str:
        """Run a command in here and return its standard output. Raises LabError when it fails."""
        return run(*self.command(*argv), text=text, timeout=timeout)

    def spawn(
        self,
        *argv: str,
        stdin: int = subprocess.DEVNULL,
        stdout: int | IO[str] = subprocess.DEVNULL,
        stderr: int | IO[str] = subprocess.DEVNULL,
        environment: dict[str, str] | None = None,
        directory: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Start a process in here, in a session of its own so that a Ctrl-C reaches only the test."""
        return subprocess.Popen(
            self.command(*argv),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, **(environment or {})},
            cwd=directory,
            text=True,
            start_new_session=True,
        )

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in here and return its result, in a thread of its own: setns(2) moves one thread."""
        results: list[T] = []
        errors: list[BaseException] = []

        def enter_and_call() -> None:
            try:
                enter(self.path)
                results.append(function())
            except BaseException as error:  # handed to the caller below
                errors.append(error)

        thread = threading.Thread(target=enter_and_call, name=f"in {self.name}")
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def statistics(self) -> dict[str, dict[str, int]]:
        """Return the packet and byte counters of every interface: {"eth0": {"rx_packets": 1, ...}}."""
        counters: dict[str, dict[str, int]] = {}
        for link in json.loads(self.run("ip", "-j", "-s", "link")):
            both: dict[str, Any] = link["stats64"]
            counters[link["ifname"]] = {
                f"{direction}_{what}": int(both[direction][what])
                for direction in ("rx", "tx")
                for what in ("packets", "bytes", "errors", "dropped")
            }
        return counters


def enter(path: Path) -> None:
    """Move the calling thread into the network namespace at `path`. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open() as file:
        if libc.setns(file.fileno(), CLONE_NEWNET):
            errno = ctypes.get_errno()
            raise OSError(errno, f"setns: {os.strerror(errno)}", str(path))


def inhabitants(namespaces: Iterable[Namespace]) -> list[int]:
    """Return the process ids of all processes in the namespaces, but never the caller's own."""
    wanted = set()
    for namespace in namespaces:
        try:
            wanted.add(namespace.path.stat().st_ino)
        except FileNotFoundError:
            continue
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if (entry / "ns" / "net").stat().st_ino in wanted:
                found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile
    return found
