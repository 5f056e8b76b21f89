"""The daemon without root, as the units run it: `vc5 netns up` as root, daemon and prober as users of their own.

    with Apart(lab, "name", configuration) as apart:     returns when the daemon says READY=1
        apart.daemon                                     a Daemon as ever
        apart.unit.kill(signal.SIGKILL)                  the prober; its unit starts the next one

Root's part is done by `ground`; both processes get exactly the capabilities that packaging/systemd gives them.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from appliance import paths
from tests.lab.backend import REPOSITORY
from tests.lab.bpffs import ensure_bpffs
from tests.lab.daemon import PROGRAM, Daemon
from tests.lab.namespace import LabError, Namespace
from tests.lab.patience import wait_for
from tests.lab.standing import Standing
from tests.lab.topology import Lab

USER, PROBER = "daemon", "nobody"
"""Accounts that every Debian has, in the places of vc5 and vc5-prober."""
CAPABILITIES = ("bpf", "perfmon", "net_admin", "net_bind_service")
AGAIN = 0.1
"""Seconds from the end of a prober to the next."""


def as_user(user: str, capabilities: Sequence[str], groups: Sequence[int] = ()) -> tuple[str, ...]:
    """Return the command that runs another as a user with these capabilities and no way to any other."""
    account = pwd.getpwnam(user)
    rights = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    return (
        "setpriv",
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups",
        f"--bounding-set={rights}",
        f"--inh-caps={rights}",
        f"--ambient-caps={rights}",
        "--no-new-privs",
    )


class ProberUnit:
    """What vc5-prober.service does: runs the prober in the namespace, again whenever it ends."""

    def __init__(self, places: paths.Root, code: Path) -> None:
        self._command = [
            *("nsenter", f"--net=/run/netns/{places.namespace}", "--", *as_user(PROBER, ("net_raw",))),
            *("/usr/bin/python3", "-PsB", "-m", "appliance.health.prober", "--socket", str(places.prober_socket)),
        ]
        self._environment = {"PYTHONPATH": str(code), "LANG": "C.UTF-8"}
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self.statuses: list[int] = []
        """How those that have ended did."""
        self._thread = threading.Thread(target=self._run, name="prober unit", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.wait(AGAIN if self.statuses else 0):
            process = subprocess.Popen(
                self._command, env=self._environment, cwd="/", stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            self._process = process
            if self._ending.is_set():
                process.kill()
            self.statuses.append(process.wait())

    @property
    def pid(self) -> int:
        """The process id of the prober that was started last."""
        wait_for("a prober", lambda: self._process is not None)
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the prober."""
        os.kill(self.pid, number)

    def close(self) -> None:
        """End it for good."""
        self._ending.set()
        if self._process is not None:
            self._process.kill()
        self._thread.join()


class Apart(Standing):
    """A daemon without root, and all that belongs to it."""

    def __init__(
        self,
        lab: Lab,
        name: str,
        configuration: str,
        environment: dict[str, str] | None = None,
        capabilities: Sequence[str] = CAPABILITIES,
    ) -> None:
        self.lab = lab
        self.root = lab.root(name)
        self.places = paths.root(str(self.root))
        self.code = self.root / "code"
        # A checkout may be for root alone.
        for part in ("appliance", "templates"):
            shutil.copytree(REPOSITORY / part, self.code / part, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chmod", "-R", "a+rX", str(self.root)], check=True)
        self.daemon = Daemon(
            lab.balancer,
            self.root,
            configuration,
            program=(*as_user(USER, capabilities, [pwd.getpwnam(PROBER).pw_gid]), *PROGRAM),
            environment={**(environment or {}), "PYTHONPATH": str(self.code)},
            options=("--prober-user", PROBER),
        )
        (self.root / "notify.sock").chmod(0o777)
        shutil.chown(self.root, USER)
        self.unit: ProberUnit | None = None

    def ground(self, action: str = "up", *options: str) -> str:
        """Do root's part, or take it back; return what is said. Raises LabError."""
        ensure_bpffs()
        words = (*PROGRAM, "--root", str(self.root), "netns", action, *options)
        done = subprocess.run(
            self.lab.balancer.command(*words),
            capture_output=True,
            text=True,
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        if done.returncode:
            raise LabError(f"vc5 netns {action}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self) -> None:
        """Do what systemd does at the start of the three units."""
        self.ground("up", "--user", USER)
        self.daemon.start()
        if self.unit is None:
            self.unit = ProberUnit(self.places, self.code)

    def inside(self) -> Namespace:
        """The probe namespace."""
        return Namespace(self.places.namespace)

    def stand(self) -> None:
        """Start."""
        self.start()

    def close(self) -> None:
        """End whatever still runs."""
        if self.unit is not None:
            self.unit.close()
        self.daemon.close()
        shutil.rmtree(self.places.pins, ignore_errors=True)  # or a test that failed would hold the interfaces
