"""Debian systems to install packages into.

Of each release there is one tree below build/debian, built once from this machine's own archive: Debian's smallest
system with systemd and what the package depends on. A test works in a layer above it, which it throws away. Each
command runs in a mount, process and network namespace of its own, so nothing stays mounted, and none reaches a network.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lab.backend import REPOSITORY
from tests.lab.namespace import LabError, run
from tests.vm.image import APT_OPTIONS, SOURCES

PLACE: Final = REPOSITORY / "build" / "debian"
SUITES: Final = ("bookworm", "trixie")
"""Debian 12 and 13."""
MORE: Final = ("systemd-sysv", "dbus", "man-db", "iproute2")
ENTER: Final = """
set -eu
layer=$1 lower=$2
shift 2
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$layer/upper,workdir=$layer/work" "$layer/root"
mount -t proc proc "$layer/root/proc"
mount -t sysfs sysfs "$layer/root/sys"
mount -t tmpfs tmpfs "$layer/root/dev/shm"
exec chroot "$layer/root" "$@"
"""
TIMEOUT: Final = 200
"""Seconds for a command."""
FREE: Final = ("/etc/fstab", "/etc/hostname", "/etc/resolv.conf")


class DebianError(LabError):
    """There is no such system, and none can be built here; the message says why."""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said on both outputs."""

    status: int
    text: str


@dataclass(frozen=True)
class Debian:
    """A layer above a tree, or above other layers of one: the uppermost first. `directory` is this layer's own."""

    below: tuple[Path, ...]
    directory: Path

    def __post_init__(self) -> None:
        for name in ("upper", "work", "root"):
            self.directory.joinpath(name).mkdir(parents=True)

    def above(self, directory: Path) -> Debian:
        """Return a system that has all of this one; this one must not change any more."""
        return Debian((self.directory / "upper", *self.below), directory)

    def call(self, *argv: str, **environment: str) -> Done:
        """Run a command as root of this system, without a network and without systemd, and say how it ended."""
        command = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--net", "sh", "-c", ENTER, "sh"]
        clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            [*command, str(self.directory), ":".join(map(str, self.below)), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            env={**clean, "DEBIAN_FRONTEND": "noninteractive", **environment},
        )
        return Done(done.returncode, done.stdout)

    def run(self, *argv: str, **environment: str) -> str:
        """The same, and return what it said. Raises LabError when it fails."""
        done = self.call(*argv, **environment)
        if done.status:
            raise LabError(f"{' '.join(argv)}: exit status {done.status}\n{done.text}")
        return done.text

    def put(self, file: Path, place: str) -> None:
        """Copy a file into the system."""
        target = self.directory / "upper" / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())

    def install(self, package: Path) -> str:
        """Install a package file with apt, whose dependencies are all there. Raises LabError."""
        self.put(package, f"/var/cache/packages/{package.name}")
        command = ["apt-get", "install", "--yes", "--no-install-recommends", "--allow-downgrades"]
        return self.run(*command, f"/var/cache/packages/{package.name}")

    def files(self) -> set[str]:
        """Return the names of everything on its disk."""
        return set(
            self.run("find", "/", "-xdev", "-path", "/var/cache/packages", "-prune", "-o", "-print").splitlines()
        )


def ready(suite: str, say: Callable[[str], None]) -> Path:
    """Return the tree of a release, building it first (half a minute) where that is needed. Raises DebianError."""
    packages = [*run("sh", str(REPOSITORY / "tests/setup.sh"), "--packages", "runtime").split(), *MORE]
    text = "\n".join([suite, *packages, Path(__file__).read_text("utf-8")])
    tree = PLACE / f"{suite}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.is_dir():
            for old in PLACE.glob(f"{suite}-*"):
                _remove(old)
            say(f"building a system of Debian {suite}")
            new = PLACE / f"{suite}-new"
            try:
                _build(new, suite, packages)
                new.rename(tree)
            finally:
                _remove(new)
    return tree


def _build(new: Path, suite: str, packages: list[str]) -> None:
    here = platform.freedesktop_os_release()
    sources = next((file for file in SOURCES if file.is_file()), None)
    if here.get("ID") != "debian" or "VERSION_CODENAME" not in here or sources is None:
        raise DebianError(f"systems are built from this machine's own Debian archive; this is {here.get('NAME')}")
    options = [line for line in run("apt-config", "dump").splitlines() if APT_OPTIONS.match(line)]
    # The same archive, but that release.
    listed = new.with_name(f"{suite}.sources" if sources.suffix == ".sources" else f"{suite}.list")
    listed.write_text(sources.read_text("utf-8").replace(here["VERSION_CODENAME"], suite))
    command = ["unshare", "--mount", "--propagation=private", "mmdebstrap", "--quiet", "--mode=root"]
    command += ["--variant=minbase", "--skip=check/qemu", f"--include={','.join(packages)}"]
    command += [f"--aptopt={option}" for option in (*options, 'APT::Install-Recommends "false";')]
    done = subprocess.run(
        [*command, suite, str(new), str(listed)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    if done.returncode:
        last = "\n".join(done.stderr.splitlines()[-15:])
        raise DebianError(f"Debian {suite} cannot be built ({done.returncode}); the last that mmdebstrap said:\n{last}")
    for name in FREE:
        new.joinpath(name[1:]).write_text("package\n" if name == "/etc/hostname" else "")


def _remove(directory: Path) -> None:
    run("rm", "-rf", "--one-file-system", str(directory), timeout=120)
