"""The disk image of the virtual machine: Debian as this machine's own archive has it, its kernel, its initial RAM disk.

    python3 -m tests.vm.image          builds it where it is not built yet, and prints where it is

No boot loader and no partitions: QEMU gets the kernel and the RAM disk as files. What the guest has is listed in
tests/setup.sh (runtime, lab, guest). An image lies in build/vm/DIGEST, where DIGEST follows from that list and from
this file, so that a change of either makes a new one; the old one is removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lab.backend import REPOSITORY
from tests.lab.namespace import LabError, run

PLACE: Final = REPOSITORY / "build" / "vm"
ARCHITECTURES: Final = frozenset({"x86_64"})
"""As uname names them. Another one needs its kernel and emulator in tests/setup.sh, and its row in machine.py."""
SOURCES: Final = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
MARK: Final = "/etc/vc5-guest"
"""A file by which tests know that they run inside the machine."""

DISK: Final = "3G"  # sparse; 0.6 GB are used
# Their MACs and names. Not eth0: a namespace's first interface is usually made with that name from outside of it.
CARDS: Final = {f"02:00:00:00:00:0{number}": f"card{number}" for number in range(4)}
LEFT_OUT: Final = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
# Options of this machine's apt without which its archive may not be reachable or not be accepted.
APT_OPTIONS: Final = re.compile(r"Acquire::(?:\S*[Pp]roxy\S*|Check-\S+|Retries|https?::\S+) ")
# The disk is a virtio one, because only such a machine can be saved; Debian's RAM disk with nothing else is small.
RAM_DISK: Final = (
    'mkdir -p "$1/etc/initramfs-tools/conf.d"',
    'echo "MODULES=list" >"$1/etc/initramfs-tools/conf.d/vm"',
    'printf "virtio_pci\\nvirtio_blk\\n" >"$1/etc/initramfs-tools/modules"',
)
FILES: Final = {
    "/etc/fstab": "/dev/vda / ext4 noatime,errors=remount-ro 0 0\n",
    "/etc/hostname": "guest\n",
    "/etc/hosts": "127.0.0.1 localhost guest\n::1 localhost\n",
    "/etc/resolv.conf": "",
    MARK: "the virtual machine of tests/vm\n",
    **{
        f"/etc/systemd/network/10-{name}.link": f"[Match]\nMACAddress={mac}\n[Link]\nName={name}\n"
        for mac, name in CARDS.items()
    },
}
# Nothing may start by itself that a test would have to reckon with.
QUIET: Final = (
    *("nginx.service", "getty@tty1.service", "serial-getty@ttyS0.service", "systemd-timesyncd.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "systemd-tmpfiles-clean.timer"),
)

Say = Callable[[str], None]


class ImageError(LabError):
    """There is no image, and none can be built here; the message says why."""


@dataclass(frozen=True)
class Image:
    """A built image. Machines write to layers above the disk, never to it."""

    directory: Path

    @property
    def disk(self) -> Path:
        return self.directory / "disk.raw"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def ram_disk(self) -> Path:
        return self.directory / "initrd.img"


def ready(say: Say) -> Image:
    """Return the image, building it first (about a minute, some 200 MB to load) where that is needed.

    `say` gets a line for each step. Raises ImageError.
    """
    packages, suite = packages_of_guest(), debian_suite()
    digest = hashlib.sha256("\n".join([suite, *packages]).encode() + Path(__file__).read_bytes()).hexdigest()[:16]
    image = Image(PLACE / digest)
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.directory.is_dir():
            new = PLACE / "new"
            _remove(new)
            try:
                _build(new, suite, packages, say)
                new.rename(image.directory)
            except LabError as error:
                raise ImageError(f"the image of the virtual machine cannot be built: {error}") from None
            finally:
                _remove(new)
            for old in PLACE.iterdir():
                if re.fullmatch(r"[0-9a-f]{16}", old.name) and old != image.directory:
                    _remove(old)
    return image


def debian_suite() -> str:
    """Return the name of the Debian release that this machine runs. Raises ImageError where the image is not for it."""
    machine, release = platform.machine(), platform.freedesktop_os_release()
    if machine not in ARCHITECTURES:
        raise ImageError(f"no virtual machine is described for {machine}, only for {', '.join(ARCHITECTURES)}")
    if release.get("ID") != "debian" or "VERSION_CODENAME" not in release:
        raise ImageError(f"the image is made from this machine's release of Debian; this is {release.get('NAME')}")
    if os.geteuid():
        raise ImageError("building the image needs root")
    return release["VERSION_CODENAME"]


def packages_of_guest() -> list[str]:
    """Return the Debian packages of the guest. Raises LabError."""
    return run("sh", str(REPOSITORY / "tests/setup.sh"), "--packages", "runtime", "lab", "guest").split()


def _build(new: Path, suite: str, packages: list[str], say: Say) -> None:
    root = new / "root"
    new.mkdir()
    say(f"building the image (Debian {suite}, {len(packages)} packages and what they need)")
    _install(root, suite, packages, new / "mmdebstrap.log", say)
    for name, text in FILES.items():
        file = root / name[1:]
        file.unlink(missing_ok=True)  # resolv.conf may be a link to somewhere
        file.write_text(text)
    run("chroot", str(root), "passwd", "--quiet", "--delete", "root")
    run("chroot", str(root), "systemctl", "--quiet", "mask", *QUIET)
    image = Image(new)
    for pattern, target in (("vmlinuz-*", image.kernel), ("initrd.img-*", image.ram_disk)):
        [file] = (root / "boot").glob(pattern)
        shutil.move(file, target)
    say("making the file system")
    run("truncate", "-s", DISK, str(image.disk))
    run("mke2fs", "-q", "-t", "ext4", "-J", "size=16", "-d", str(root), str(image.disk), timeout=300)
    _remove(root)


def _install(root: Path, suite: str, packages: list[str], log: Path, say: Say) -> None:
    sources = next((file for file in SOURCES if file.is_file()), None)
    if sources is None:
        raise ImageError(f"none of {', '.join(map(str, SOURCES))} says where Debian's archive is")
    options = [line for line in run("apt-config", "dump").splitlines() if APT_OPTIONS.match(line)]
    options.append('APT::Install-Recommends "false";')
    # With a mount namespace of its own, so that a killed build leaves nothing mounted below its tree.
    command = ["unshare", "--mount", "--propagation=private", "mmdebstrap", "--mode=root", "--variant=minbase"]
    command += ["--skip=check/qemu", f"--include={','.join(packages)}"]
    command += [f"--essential-hook={' && '.join(RAM_DISK)}"]
    command += [f"--aptopt={option}" for option in options]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    try:
        process = subprocess.Popen(
            [*command, suite, str(root), str(sources)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        )
    except FileNotFoundError as error:
        raise ImageError(f"{error.filename} is not installed; `sh tests/setup.sh vm` installs what is needed") from None
    with process, log.open("w") as file:
        assert process.stderr
        for line in process.stderr:
            file.write(line)
            if line.startswith("I: ") and line.rstrip().endswith("..."):
                say(line.removeprefix("I: ").rstrip())
    if process.returncode:
        last = "".join(log.read_text().splitlines(keepends=True)[-15:])
        raise ImageError(f"mmdebstrap failed ({process.returncode}); its last lines:\n{last}")


def _remove(directory: Path) -> None:
    run("rm", "-rf", "--one-file-system", str(directory), timeout=120)


def main() -> None:
    try:
        print(ready(lambda line: print(f"vm: {line}", file=sys.stderr, flush=True)).directory)
    except LabError as error:
        sys.exit(f"vm: {error}")


if __name__ == "__main__":
    main()
