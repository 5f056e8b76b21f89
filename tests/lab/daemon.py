"""The daemon under test: `vc5 --root DIR run --config FILE` in the balancer's namespace.

    with Daemon(lab.balancer, lab.root(), configuration) as daemon:   returns when it says READY=1
        daemon.status()                  what the daemon tells of itself; `vc5 status` shows it
        daemon.reload(new_configuration)
        daemon.kill9(); daemon.start()
        daemon.stop()                    a clean end; daemon.leftovers() is then empty

What it says to its service manager (sd_notify) is kept with its time in `notifications`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import paths
from appliance.cli.client import call
from appliance.errors import Vc5Error
from tests.lab import programs
from tests.lab.backend import REPOSITORY
from tests.lab.bpffs import ensure_bpffs
from tests.lab.debris import bfd_processes, leftovers_of
from tests.lab.namespace import LabError, Namespace, inhabitants
from tests.lab.patience import wait_for
from tests.lab.standing import Standing

PROGRAM = ("/usr/bin/python3", "-m", "appliance")
"""Debian's own interpreter: bcc belongs to it."""


SETTLE = b"X_LAB_SETTLE=1"


@dataclass(frozen=True)
class Notification:
    """One assignment that the daemon sent, such as READY=1; `at` is CLOCK_MONOTONIC seconds."""

    at: float
    name: str
    value: str


class NotifySocket:
    """The service manager's end of sd_notify(3): a datagram socket with a thread that collects."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notifications: list[Notification] = []
        self._settled = threading.Event()
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._collect, name="notify socket", daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        while message := self._socket.recv(1 << 16):
            if message == SETTLE:
                self._settled.set()
                continue
            now = time.monotonic()
            words = [line.partition("=") for line in message.decode(errors="replace").splitlines()]
            self.notifications += [Notification(now, name, value) for name, _, value in words]

    def settle(self) -> None:
        """Return when everything that was sent before is in `notifications`: datagrams keep their order."""
        self._settled.clear()
        self._send(SETTLE)
        self._settled.wait()

    def _send(self, message: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(message, str(self.path))

    def close(self) -> None:
        """Stop collecting: an empty datagram is the signal."""
        self._send(b"")
        self._thread.join()
        self._socket.close()
        self.path.unlink(missing_ok=True)


class Daemon(Standing):
    """One daemon, started as often as the test wants, always with the same root."""

    def __init__(
        self,
        namespace: Namespace,
        root: Path,
        configuration: str,
        *,
        program: Sequence[str] = PROGRAM,
        environment: dict[str, str] | None = None,
        options: Sequence[str] = (),
        compiles: bool = False,
        metrics: bool = False,
    ) -> None:
        """Prepare; `configuration` is the YAML text, `program` the words before `--root`, `options` those for `run`.

        One that `compiles` gets no program that another has compiled in the same test run (programs.py); nor does one
        that is run in another way, whose code may be another, or may not be allowed to read it.

        Without `metrics` it offers none, unless its configuration speaks of them or of who is told: another process
        for each of hundreds of daemons takes minutes.
        """
        self.namespace = namespace
        self.root = root
        self.places = paths.root(str(root))
        self.configuration_file = root / "lab.yaml"
        self._silent = "webserver:" not in configuration and "logging:" not in configuration and not metrics
        self.configuration_file.write_text(self._quiet(configuration))
        self._program = tuple(program)
        self._options = tuple(options)
        self._borrows = not (compiles or options or environment) and self._program == PROGRAM
        self._environment = {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._errors = root / "stderr"
        self._process: subprocess.Popen[str] | None = None
        self._notify = NotifySocket(root / "notify.sock")

    # ---- life

    def start(self, ready_within: float = 90.0) -> None:
        """Start, and wait for READY=1. Raises LabError with the daemon's standard error if it ends or is too slow."""
        ensure_bpffs()
        if self._borrows:
            programs.lend(self.places.state / "programs")
        started = time.monotonic()
        with self._errors.open("a") as errors:
            self._process = self.namespace.spawn(
                *(*self._program, "--root", str(self.root), "run", "--config", str(self.configuration_file)),
                *self._options,
                stdout=errors,
                stderr=errors,
                environment={**self._environment, "NOTIFY_SOCKET": str(self._notify.path)},
                directory=self.root,
            )
        self.wait_notification("READY", "1", started, ready_within)

    def lend_program(self) -> None:
        """Let others have what it has compiled from now on, and not only when it is closed."""
        if self._borrows:
            programs.take(self.places.state / "programs")

    def wait_notification(self, name: str, value: str, since: float, seconds: float = 10.0) -> Notification:
        """Return the first notification NAME=VALUE at or after `since` (time.monotonic)."""

        def look() -> Notification | None:
            for notification in tuple(self.notifications):
                if notification.at >= since and (notification.name, notification.value) == (name, value):
                    return notification
            if not self.running:
                raise LabError(f"the daemon ended ({self.exit_status}) before {name}={value}\n{self.errors}")
            return None

        try:
            found = wait_for(f"{name}={value} from the daemon", look, seconds)
        except LabError as error:
            raise LabError(f"{error}\n{self.errors}") from None
        assert found
        return found

    @property
    def notifications(self) -> list[Notification]:
        """All that the daemon told its service manager, over all its lives."""
        return self._notify.notifications

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the daemon. Raises LabError when it was never started."""
        if self._process is None:
            raise LabError("the daemon was not started")
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """How it ended; None while it runs or before its first start."""
        return self._process.poll() if self._process else None

    @property
    def errors(self) -> str:
        """What the daemon and its children wrote to standard output and error, over all its lives."""
        return self._errors.read_text(errors="replace") if self._errors.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the daemon's main process."""
        os.kill(self.pid, number)

    def stop(self, within: float = 15.0) -> int:
        """End it with SIGTERM and return the exit status. Raises LabError if it does not end in time."""
        self.signal(signal.SIGTERM)
        return self._wait(within)

    def kill9(self) -> None:
        """Kill the main process as the kernel would; its children are left to notice by themselves."""
        self.signal(signal.SIGKILL)
        self._wait(10.0)

    def _wait(self, seconds: float) -> int:
        assert self._process
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise LabError(f"the daemon has not ended within {seconds:g} s\n{self.errors}") from None
        self._notify.settle()
        return status

    def leftovers(self) -> list[str]:
        """Return what this daemon still holds (namespace, pins, its process of BFD); empty after a clean stop."""
        return leftovers_of(self.places)

    # ---- the vc5 command

    def vc5(self, *argv: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run `vc5 --root DIR argv...` in the balancer's namespace, and return its exit status and output."""
        return subprocess.run(
            self.namespace.command(*self._program, "--root", str(self.root), *argv),
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.root,
            env={**os.environ, **self._environment},
        )

    def ask(self, *argv: str) -> Any:
        """Run a verb with --json and return its answer. Raises LabError when it fails."""
        done = self.vc5(*argv, "--json")
        if done.returncode:
            raise LabError(f"vc5 {' '.join(argv)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def status(self) -> Any:
        """Return what the daemon answers to `status`. Raises LabError where it does not."""
        try:
            return call(self.places, "status")
        except Vc5Error as error:
            raise LabError(f"status: {error}") from None

    def _quiet(self, configuration: str) -> str:
        return configuration + "webserver: no\n" if self._silent and configuration.endswith("\n") else configuration

    def reload(self, configuration: str | None = None) -> subprocess.CompletedProcess[str]:
        """Write the configuration, if one is given, and reload; the exit status tells how it went."""
        if configuration is not None:
            self.configuration_file.write_text(self._quiet(configuration))
        return self.vc5("reload")

    # ---- as a context

    def stand(self) -> None:
        """Start."""
        self.start()

    def close(self) -> None:
        """Kill whatever still runs of it; what it pinned is removed with the lab."""
        if self._process:
            for process in inhabitants([self.namespace, Namespace(self.places.namespace)]):
                self._kill_if_mine(process)
            for process in bfd_processes(self.places):
                os.kill(process, signal.SIGKILL)
            self._process.wait()
        self.lend_program()
        self._notify.close()

    def _kill_if_mine(self, process: int) -> None:
        try:
            if os.getpgid(process) == self.pid:  # the daemon was spawned as the leader of a group
                os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it ended meanwhile

    def disown(self) -> None:
        """Let the daemon outlive this process, for a lab that is kept."""
        if self._process:
            self._process.returncode = 0  # so that Popen neither waits for it nor warns
            self._process = None
        self._notify.close()
