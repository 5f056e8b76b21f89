"""The BPF file system: fresh machines and containers do not have it mounted."""

from __future__ import annotations

from pathlib import Path

from tests.lab.lock import exclusive
from tests.lab.namespace import run

MOUNT_POINT = Path("/sys/fs/bpf")


def is_mounted(mounts: str) -> bool:
    """Say whether this text of /proc/self/mounts has a bpf file system at /sys/fs/bpf on top."""
    kinds = [line.split()[2] for line in mounts.splitlines() if line.split()[1] == str(MOUNT_POINT)]
    return bool(kinds) and kinds[-1] == "bpf"


def ensure_bpffs() -> None:
    """Mount the BPF file system at /sys/fs/bpf unless it is there.

    Under a lock: two mounts on top of each other would hide the pins in the lower one. Raises LabError.
    """
    with exclusive("bpffs"):
        if not is_mounted(Path("/proc/self/mounts").read_text()):
            run("mount", "-t", "bpf", "bpf", str(MOUNT_POINT))
