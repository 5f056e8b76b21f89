"""One virtual machine: a QEMU process, its console, its disk.

    with Vm.boot(image, directory) as vm:           some ten seconds
        vm.run("ip", "link")                        standard output, or LabError
        vm.execute("false").status                  1
        saved = vm.save()                           memory and disk, as they are now; the machine ends with it
    with Vm.restore(saved, other_directory) as vm:  less than a second, in a QEMU of its own
        vm.put(data, "/etc/x"); vm.get("/etc/x")
        vm.reboot(); vm.cut_power()

A saved machine is never loaded into a QEMU that runs: the guest's clock would jump by all the time that it has run.
The machine has four network cards, card0 .. card3 (virtio), plugged into one dumb hub that leads nowhere else; or, with
`cables`, into one hub for each of these groups.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.lab.namespace import LabError, run
from tests.lab.standing import Standing
from tests.vm.channel import Agent, Done, Monitor
from tests.vm.image import CARDS, Image

# What is loaded into the guest must not be slower than needed: no mitigations, no audit, no tests of ciphers at boot.
COMMAND_LINE: Final = "root=/dev/vda rw quiet panic=-1 mitigations=off audit=0 no_timer_check cryptomgr.notests"
PORT: Final = "agent"
TAG: Final = "saved"
Cables = Sequence[Sequence[str]]
ONE_HUB: Final[Cables] = (tuple(CARDS.values()),)
BOOT_LIMIT, COMMAND_LIMIT = 180.0, 60.0  # seconds


@dataclass(frozen=True)
class Emulator:
    """What differs between architectures."""

    program: str
    options: tuple[str, ...]
    kernel: str
    """Words of the kernel's command line."""


EMULATORS: Final = {
    "x86_64": Emulator("qemu-system-x86_64", ("-machine", "pc", "-cpu", "max"), "console=ttyS0 tsc=reliable")
}


@dataclass(frozen=True)
class Saved:
    """A machine at rest, to be restored as often as you like."""

    image: Image
    disk: Path


class Vm(Standing):
    """A running machine. A context manager: leaving it ends the QEMU process, at once and whatever the guest does."""

    def __init__(self, image: Image, directory: Path, disk: Path, load: bool, cables: Cables = ONE_HUB) -> None:
        """Start QEMU with this disk; see `boot` and `restore`. Console and messages of QEMU go to `directory`."""
        self.image = image
        self._hubs = {name: hub for hub, group in enumerate(cables) for name in group}
        self.directory = directory
        self.console = directory / "console.log"
        self._disk = disk
        self._messages = directory / "qemu.log"
        self._monitor = Monitor()
        self._agent = Agent()
        ends = self._monitor.other_end, self._agent.other_end
        try:
            with self._messages.open("w") as messages:
                self._process = subprocess.Popen(
                    # The machine does not outlive a test run that was killed.
                    ["setpriv", "--pdeathsig", "KILL", *self._command(), *(("-loadvm", TAG) if load else ())],
                    stdin=subprocess.DEVNULL,
                    stdout=messages,
                    stderr=messages,
                    pass_fds=[end.fileno() for end in ends],
                )
        except FileNotFoundError as error:
            raise LabError(f"{error.filename} is not installed; `sh tests/setup.sh vm` installs it") from None
        for end in ends:
            end.close()
        try:
            self._monitor.greet()
            self._greet_agent(opened=load)
        except LabError as error:
            self.close()
            raise LabError(f"{error}\n{self.told()}") from None

    @classmethod
    def boot(cls, image: Image, directory: Path) -> Self:
        """Boot the image, and return when all that starts by itself runs. Raises LabError."""
        disk = directory / "disk.qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image.disk.resolve()), str(disk))
        vm = cls(image, directory, disk, load=False)
        try:
            vm.wait_running()
        except LabError as error:
            vm.close()
            raise LabError(f"{error}\n{vm.told()}") from None
        return vm

    @classmethod
    def restore(cls, saved: Saved, directory: Path, cables: Cables = ONE_HUB) -> Self:
        """Return a machine that goes on where `saved` was, its clock set to the time. Raises LabError."""
        disk = directory / "disk.qcow2"
        shutil.copyfile(saved.disk, disk)
        vm = cls(saved.image, directory, disk, load=True, cables=cables)
        vm.run("date", "--set", f"@{time.time():.3f}")
        return vm

    def _command(self) -> list[str]:
        emulator = EMULATORS[platform.machine()]
        command = [emulator.program, *emulator.options, "-accel", "tcg,thread=multi,tb-size=256", "-smp", "2"]
        command += ["-m", "1024", "-nodefaults", "-no-user-config", "-display", "none"]
        command += ["-kernel", str(self.image.kernel), "-initrd", str(self.image.ram_disk)]
        command += ["-append", f"{COMMAND_LINE} {emulator.kernel}", "-serial", f"file:{self.console}"]
        # The disk need not survive the machine that QEMU runs on, so nothing is flushed to it.
        command += ["-drive", f"if=virtio,file={self._disk},format=qcow2,cache=unsafe,discard=unmap"]
        command += [
            "-chardev",
            f"socket,id=qmp,fd={self._monitor.other_end.fileno()}",
            "-mon",
            "chardev=qmp,mode=control",
        ]
        command += ["-device", "virtio-serial-pci", "-device", "virtio-rng-pci"]
        command += ["-chardev", f"socket,id=ga,fd={self._agent.other_end.fileno()}"]
        command += ["-device", f"virtserialport,id={PORT},chardev=ga,name=org.qemu.guest_agent.0"]
        for mac, name in CARDS.items():
            command += ["-netdev", f"hubport,id={name},hubid={self._hubs[name]}"]
            command += ["-device", f"virtio-net-pci,netdev={name},mac={mac},romfile="]
        return command

    # ---- the life of the machine

    def close(self) -> None:
        """End QEMU; fine to call twice."""
        self._process.kill()
        self._process.wait()
        self._monitor.close()
        self._agent.close()

    def save(self) -> Saved:
        """Save memory and disk, and end this machine, so that the disk with the state can be copied."""
        self._monitor.line(f"savevm {TAG}")
        self._monitor.send("quit")
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            raise LabError("QEMU does not end after saving the machine") from None
        return Saved(self.image, self._disk)

    def reboot(self) -> None:
        """Reboot as an operator does, and return when the guest runs again."""
        self._monitor.forget_events()
        # Nobody asks how the command ended: the agent that could answer ends with the guest.
        self._agent.begin(("systemctl", "--no-block", "reboot"))
        self._wait_restart()

    def cut_power(self) -> None:
        """Take the power away and give it back at once: what the guest has not written to its disk is lost."""
        self._monitor.forget_events()
        self._monitor.command("system_reset")
        self._wait_restart()

    def _wait_restart(self) -> None:
        self._monitor.wait_event("RESET", BOOT_LIMIT)
        self._greet_agent(opened=False)
        self.wait_running()

    def _greet_agent(self, opened: bool) -> None:
        if not opened:
            self._monitor.wait_event("VSERPORT_CHANGE", BOOT_LIMIT, id=PORT, open=True)
        self._agent.synchronise(COMMAND_LIMIT)

    def wait_running(self) -> None:
        """Wait until everything that starts at boot runs, and the network cards are there. Raises LabError."""
        state = self.execute("systemctl", "is-system-running", "--wait", limit=BOOT_LIMIT)
        if state.output.strip() != "running":
            failed = self.execute("systemctl", "--failed", "--plain", "--no-legend")
            raise LabError(f"the guest is {state.output.strip()!r} after boot: {failed.output}")
        self.run("udevadm", "settle", limit=BOOT_LIMIT)
        # From here on the console tells everything that the kernel says.
        self.run("dmesg", "--console-level", "debug")

    # ---- what it can be asked

    def execute(self, *argv: str, text: str = "", limit: float = COMMAND_LIMIT) -> Done:
        """Run a command as root, within `limit` seconds, and return how it ended; `text` is its input."""
        return self._agent.execute(argv, text, limit)

    def run(self, *argv: str, text: str = "", limit: float = COMMAND_LIMIT) -> str:
        """Run a command and return its standard output. Raises LabError with all that it printed when it fails."""
        done = self.execute(*argv, text=text, limit=limit)
        if done.status:
            raise LabError(f"in the guest: {' '.join(argv)}: exit status {done.status}\n{done.output}{done.errors}")
        return done.output

    def put(self, data: bytes, path: str) -> None:
        """Write a file in the guest (5 MB a second). Raises LabError."""
        self._agent.put(data, path)

    def get(self, path: str) -> bytes:
        """Read a file in the guest. Raises LabError."""
        return self._agent.get(path)

    @property
    def process(self) -> int:
        """The process id of QEMU."""
        return self._process.pid

    def told(self) -> str:
        """Return the last lines of the console and of QEMU itself."""
        texts = [file.read_text(errors="replace") for file in (self.console, self._messages) if file.exists()]
        return "".join("".join(text.splitlines(keepends=True)[-30:]) for text in texts)

    def keep_logs(self, directory: Path) -> None:
        """Copy the console, QEMU's messages and, if the guest still answers, its journal to `directory`."""
        directory.mkdir(parents=True)
        for file in (self.console, self._messages):
            shutil.copy(file, directory)
        try:
            journal = self.run("journalctl", "--boot", "--no-pager", "--output", "short-monotonic", limit=30)
        except LabError as error:
            journal = f"{error}\n"
        (directory / "journal.txt").write_text(journal)
