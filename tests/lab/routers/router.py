"""What all routers have in common: processes in a namespace, a log, the kernel's routes; and when each can be asked."""

from __future__ import annotations

import shutil
import signal
import subprocess
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar

from tests.lab.namespace import LabError, Namespace
from tests.lab.patience import wait_for
from tests.lab.routers.kernel import KernelWatch, forget_routes, kernel_routes
from tests.lab.routers.terms import Change, Learned, Neighbour, Prefix, Session, Setup, prefix_of
from tests.lab.standing import Standing


class Router(Standing):
    """A router that runs for the time of the block, with a directory for its files."""

    name: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    """What has to be installed, as paths."""
    installs = True
    """Whether it puts what it learns into the kernel."""

    def __init__(self, namespace: Namespace, directory: Path, setup: Setup) -> None:
        self.namespace = namespace
        self.directory = directory
        self.setup = setup
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._watch: KernelWatch | None = None

    # ---- what each router does in its own way

    @abstractmethod
    def write_configuration(self) -> None:
        """Write the files that the processes read when they start."""

    @abstractmethod
    def commands(self) -> dict[str, Sequence[str]]:
        """The processes in the order of their start: a name and a command."""

    def ready(self, name: str) -> bool:
        """Whether the next process may be started after this one."""
        return True

    @abstractmethod
    def answers(self) -> bool:
        """Whether it can be asked, and works on its configuration."""

    @abstractmethod
    def neighbour(self, address: str) -> Session:
        """What it knows of a neighbour. Raises LabError if it is none."""

    @abstractmethod
    def routes(self, family: int) -> dict[Prefix, list[Learned]]:
        """Everything that it has learnt from neighbours in a family, 4 or 6."""

    @abstractmethod
    def bfd(self, address: str) -> str:
        """The state of the BFD session with a neighbour: admindown, down, init, up; empty for none."""

    @abstractmethod
    def refresh(self, address: str) -> None:
        """Ask a neighbour for all of its routes again (RFC 2918). Raises LabError if it never does that."""

    @abstractmethod
    def shut(self, address: str, message: str) -> None:
        """End the session with a neighbour for now, and tell it why (RFC 9003)."""

    @abstractmethod
    def unshut(self, address: str) -> None:
        """Take the neighbour back."""

    @abstractmethod
    def reconfigure(self, setup: Setup) -> None:
        """Go over to another configuration without a restart; own AS, router id stay, sessions if nothing changed."""

    # ---- life

    def stand(self) -> None:
        """Start it, and watch the routes of the kernel from then on."""
        missing = [program for program in self.programs if not shutil.which(program)]
        if missing:
            raise LabError(f"there is no {', '.join(missing)} (sh tests/setup.sh routers)")
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        if self.installs:
            self._watch = KernelWatch(self.namespace)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it can be asked."""
        self.write_configuration()
        for name, command in self.commands().items():
            with self._said(name).open("a") as output:
                self._processes[name] = self.namespace.spawn(
                    *command, stdout=output, stderr=output, directory=self.directory
                )
            self.wait(f"{name} to be ready for others", partial(self.ready, name))
        self.wait(f"{self.name} to answer", self.answers)

    def alive(self) -> None:
        """Raise LabError with what was printed if one of its processes has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise LabError(f"{name} ended with {process.returncode}:\n{self._said(name).read_text()}")

    def stop(self) -> None:
        """End it as its service would."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """End it, and start it again."""
        self.stop()
        self.start()

    def kill9(self) -> None:
        """Kill all of its processes: nobody is told."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop all of its processes where they are; the kernel goes on to acknowledge what comes."""
        for process in self._processes.values():
            process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        for name in reversed(self._processes):
            self._processes[name].send_signal(number)
        for process in self._processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def close(self) -> None:
        """Kill it."""
        self._end(signal.SIGKILL)
        if self._watch is not None:
            self._watch.close()
            self._watch = None
            forget_routes(self.namespace)

    # ---- what it says

    def _said(self, name: str) -> Path:
        return self.directory / f"{name}.said"

    @property
    def log(self) -> str:
        """What it has logged since it was first started."""
        files = sorted([*self.directory.glob("*.said"), *self.directory.glob("*.log")])
        return "".join(file.read_text(errors="replace") for file in files)

    def kernel_routes(self) -> dict[Prefix, tuple[str, ...]]:
        """What it forwards by: a prefix and its next hops, sorted."""
        return kernel_routes(self.namespace)

    def changes(self, prefix: object) -> list[Change]:
        """Every change of a route, or of an address's, since the start: of the kernel's, if the router installs."""
        if self._watch is None:
            raise LabError(f"{self.name} does not run")
        return self._watch.of(prefix_of(str(prefix)))

    def of(self, address: str) -> Neighbour:
        """The configuration of a neighbour. Raises LabError."""
        for neighbour in self.setup.neighbours:
            if ip_address(neighbour.address) == ip_address(address):
                return neighbour
        raise LabError(f"{self.name} has no neighbour {address}")

    # ---- waiting

    def wait(self, what: str, look: Callable[[], object], seconds: float = 15.0) -> None:
        """Wait until `look` finds something true; where it does not, the error has the end of the log."""

        def watched() -> object:
            self.alive()
            return look()

        try:
            wait_for(what, watched, seconds)
        except LabError as error:
            raise LabError(f"{error}\n{self.log[-1500:]}") from None

    def wait_established(self, *addresses: str, seconds: float = 15.0) -> None:
        """Wait for the sessions with these neighbours, or with all."""

        def established(address: str) -> bool:
            return self.neighbour(address).established

        for address in addresses or tuple(each.address for each in self.setup.neighbours):
            self.wait(f"{self.name}'s session with {address}", partial(established, address), seconds)

    def wait_down(self, address: str, seconds: float = 15.0) -> None:
        """Wait for the end of a session."""
        self.wait(
            f"the end of {self.name}'s session with {address}",
            lambda: not self.neighbour(address).established,
            seconds,
        )

    def wait_route(self, prefix: object, seconds: float = 15.0) -> list[Learned]:
        """Wait until it knows a route, and return what it knows."""
        wanted = prefix_of(str(prefix))
        self.wait(f"{wanted} in {self.name}", lambda: self.routes(wanted.version).get(wanted), seconds)
        return self.routes(wanted.version)[wanted]

    def wait_no_route(self, prefix: object, seconds: float = 15.0) -> None:
        """Wait until it knows no such route."""
        wanted = prefix_of(str(prefix))
        self.wait(f"{wanted} to go from {self.name}", lambda: wanted not in self.routes(wanted.version), seconds)


def missing_daemons(kinds: Sequence[type[Router]]) -> str:
    """Return why tests with these routers have to be skipped, empty if they need not."""
    missing = [program for kind in kinds for program in kind.programs if not shutil.which(program)]
    return f"there is no {', '.join(missing)} (sh tests/setup.sh routers)" if missing else ""
