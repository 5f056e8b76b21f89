"""A booted Debian with systemd as its first process, in the balancer's network namespace of a lab, without emulation.

    with Booted(image, lab.balancer, directory) as system:
        system.install(configuration)          this tree as the package would lie there
        system.run("systemctl", "start", "vc5")

systemd-nspawn runs the image of tests/vm, or a tree of tests/package/debian.py, under an overlay, so nothing is left
of what a test does. The kernel is this machine's. Entered with nsenter and not with `ip netns exec`, the container sees
the interfaces of the namespace.

Without a service manager on this machine the container's control groups lie below those of the caller; each container
gets groups of its own, so that two of them never end each other's processes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.lab.backend import REPOSITORY
from tests.lab.namespace import LabError, Namespace, run
from tests.lab.patience import wait_for
from tests.lab.standing import Standing
from tests.unit.house import tree
from tests.vm.image import Image

GROUPS: Final = Path("/sys/fs/cgroup")
CODE: Final = "usr/share/vc5-appliance"
LAUNCHER: Final = """\
#!/usr/bin/python3 -PsB
import sys
sys.path.insert(0, "/usr/share/vc5-appliance")
from appliance.cli.main import main
sys.exit(main())
"""
OPTIONS: Final = (
    *("--quiet", "--boot", "--register=no", "--keep-unit", "--console=read-only", "--resolv-conf=off"),
    *("--timezone=off", "--link-journal=no", "--capability=all"),
    "--system-call-filter=bpf perf_event_open add_key keyctl",
)


class Booted(Standing):
    """One running system."""

    def __init__(self, below: Image | Path, namespace: Namespace, directory: Path) -> None:
        """Prepare. `below` is an image or a tree; `directory` is empty, where an overlay can be written to."""
        self._below = below
        self._namespace = namespace
        self._directory = directory
        self.root = directory / "root"
        self._group = f"vc5-{os.getpid()}-{directory.name}"
        self._container: subprocess.Popen[bytes] | None = None
        self._init = 0

    def stand(self) -> None:
        """Boot."""
        self._mount()
        self.boot()

    # ---- its life

    def _mount(self) -> None:
        lower, upper, work, pins = (self._directory / name for name in ("lower", "upper", "work", "bpf"))
        for place in (lower, upper, work, pins, self.root):
            place.mkdir()
        if isinstance(self._below, Image):
            run("mount", "-o", "loop,ro,noload", str(self._below.disk), str(lower))
        else:
            lower = self._below
        # As systemd mounts it at the start of a machine: for root alone. A container gets none by itself.
        run("mount", "-t", "bpf", "-o", "nosuid,nodev,noexec,mode=0700", "bpf", str(pins))
        run("mount", "-t", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", "vc5", str(self.root))
        (self.root / "etc/fstab").write_text("")  # its root is mounted already
        (self.root / "etc/machine-id").write_text("")
        machine_wide = self.root / "etc/systemd/system"
        for name in ("systemd-networkd.service", "systemd-udevd.service", "qemu-guest-agent.service"):
            (machine_wide / name).unlink(missing_ok=True)
            (machine_wide / name).symlink_to("/dev/null")

    def boot(self) -> None:
        """Boot what is mounted, and wait until that is done. Raises LabError."""
        joining = "".join(
            f"mkdir -p '{group}' && echo $$ > '{group}/cgroup.procs' && " for group in self._groups(self._group)
        )
        command = [
            *("nsenter", f"--net={self._namespace.path}", "env", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network"),
            *("systemd-nspawn", *OPTIONS, f"--directory={self.root}"),
            f"--bind={self._directory / 'bpf'}:/sys/fs/bpf",
        ]
        with (self._directory / "console").open("wb") as console:
            self._container = subprocess.Popen(
                ["sh", "-c", f'{joining}exec "$@"', "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        wait_for("the container's systemd", self._find_init, 20)
        wait_for("the system to have booted", lambda: self.state() in ("running", "degraded"), 60)

    def _find_init(self) -> bool:
        assert self._container is not None
        if self._container.poll() is not None:
            raise LabError(f"systemd-nspawn ended: {self.console()}")
        children = Path(f"/proc/{self._container.pid}/task/{self._container.pid}/children").read_text().split()
        for child in children:
            with suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    self._init = int(child)
        return self._init != 0

    def close(self) -> None:
        """Power it off and remove everything."""
        self.power_off()
        for place in (self.root, self._directory / "lower", self._directory / "bpf"):
            subprocess.run(["umount", "--lazy", str(place)], stderr=subprocess.DEVNULL)
        for group in self._groups(self._group):
            for directory, _, _ in os.walk(group, topdown=False):
                with suppress(OSError):
                    os.rmdir(directory)
        shutil.rmtree(self._directory, ignore_errors=True)

    def power_off(self) -> None:
        """Power it off: what is on its disk stays, and `boot` finds it."""
        if self._container is not None:
            if self._init:
                with suppress(ProcessLookupError):
                    os.kill(self._init, signal.SIGRTMIN + 4)  # systemd(1): poweroff.target
            try:
                self._container.wait(15)
            except subprocess.TimeoutExpired:
                if self._init:
                    os.kill(self._init, signal.SIGKILL)
                self._container.kill()
                self._container.wait()
            self._container, self._init = None, 0

    @staticmethod
    def _groups(name: str) -> list[Path]:
        found = [GROUPS / hierarchy for hierarchy in ("systemd", "unified") if (GROUPS / hierarchy).is_dir()]
        return [hierarchy / name for hierarchy in found or [GROUPS]]

    # ---- what can be done in it

    @property
    def init(self) -> int:
        """The process id of its systemd, outside."""
        return self._init

    def state(self) -> str:
        """Return what systemd says of itself."""
        return self.attempt("systemctl", "is-system-running").stdout.strip()

    def console(self) -> str:
        """Return what was said on the console."""
        return (self._directory / "console").read_text(errors="replace")

    def attempt(self, *argv: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run a command inside; return its exit status and output."""
        enter = ["nsenter", "-t", str(self._init), *("-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"), "--"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        return subprocess.run(
            [*enter, *argv], capture_output=True, text=True, timeout=timeout, env=environment, stdin=subprocess.DEVNULL
        )

    def run(self, *argv: str) -> str:
        """Run a command inside and return its standard output. Raises LabError."""
        done = self.attempt(*argv)
        if done.returncode:
            raise LabError(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def journal(self, unit: str) -> str:
        """Return what a unit has said."""
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def file(self, path: str) -> Path:
        """Return where a file of the system lies outside."""
        return self.root / path.lstrip("/")

    def apt(self, *words: str) -> str:
        """Run apt-get, and return all it said. Raises LabError."""
        script = 'DEBIAN_FRONTEND=noninteractive exec apt-get --yes --no-install-recommends "$@" 2>&1'
        return self.run("sh", "-c", script, "apt-get", *words)

    def bring(self, package: Path, *words: str) -> str:
        """Install a package file with apt, and return all that was said. Raises LabError."""
        target = self.file(f"/var/cache/packages/{package.name}")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(package.read_bytes())
        return self.apt("install", *words, f"/var/cache/packages/{package.name}")

    def install(self, configuration: str) -> None:
        """Put this tree where the package puts it, with a configuration. Nothing is started."""
        for path in tree.files():
            name = path.relative_to(tree.ROOT)
            if name.parts[0] in ("appliance", "templates"):
                target = self.root / CODE / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        subprocess.run(["chmod", "-R", "a+rX", str(self.root / CODE)], check=True)
        launcher = self.file("/usr/bin/vc5")
        launcher.write_text(LAUNCHER)
        launcher.chmod(0o755)
        units = REPOSITORY / "packaging" / "systemd"
        for unit in (*units.glob("*.service"), *units.glob("*.socket")):
            shutil.copyfile(unit, self.root / "usr/lib/systemd/system" / unit.name)
        shutil.copyfile(units / "vc5.sysusers", self.file("/usr/lib/sysusers.d/vc5.conf"))
        self.file("/etc/vc5/conf.d").mkdir(parents=True, exist_ok=True)
        self.configure(configuration)
        self.run("systemd-sysusers")
        self.run("systemctl", "daemon-reload")

    def configure(self, configuration: str) -> None:
        """Replace the configuration."""
        self.file("/etc/vc5/config.yaml").write_text(configuration)
