"""What maps, programs and links have in common: a descriptor, a pin, a description, and errors with names."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import ClassVar, Self

from appliance.dataplane.kernel import libbpf
from appliance.errors import KernelError

_RIGHTS = "needs root, or CAP_BPF with CAP_PERFMON (and CAP_NET_ADMIN to attach)"
_HINTS = {
    errno.EPERM: _RIGHTS,
    errno.EACCES: _RIGHTS,
    errno.ENOMEM: "not enough memory for it, or above RLIMIT_MEMLOCK on kernels before 5.11",
}


class Descriptor:
    """One descriptor of the kernel, and the name by which errors call it."""

    kind: ClassVar[str]

    def __init__(self, fd: int, label: str) -> None:
        self._fd = fd
        self.label = label

    @property
    def fd(self) -> int:
        """The descriptor; it stays this object's property."""
        if self._fd < 0:
            raise KernelError("use", self.label, errno.EBADF, "it is closed")
        return self._fd

    def close(self) -> None:
        """Give the descriptor back; what is pinned or attached lives on. May be repeated."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a pin. Raises KernelError when there is none, or when the pin is of another kind."""
        fd = check(libbpf.library().bpf_obj_get(os.fsencode(path)), "open", f"pin {path}")
        opened = cls(fd, f"{cls.kind} {path}")
        if f"{cls.kind}_type" not in fdinfo(fd):
            opened.close()
            raise KernelError("open", f"pin {path}", errno.EINVAL, f"it is no {cls.kind}")
        return opened

    def duplicate(self) -> Self:
        """Return another object with a descriptor of its own for the same kernel object."""
        return type(self)(os.dup(self.fd), self.label)

    def pin(self, path: Path | str) -> None:
        """Give the object a name in bpffs, by which it outlives this process; the file must not exist yet."""
        result = libbpf.library().bpf_obj_pin(self.fd, os.fsencode(path))
        if result == -errno.EINVAL or (result == -errno.EPERM and not is_bpffs(Path(path).parent)):
            raise KernelError("pin", f"{self.label} at {path}", -result, f"{Path(path).parent} is no mounted bpffs")
        check(result, "pin", f"{self.label} at {path}")

    def _info(self, info: ctypes.Structure) -> None:
        length = ctypes.c_uint32(ctypes.sizeof(info))
        result = libbpf.library().bpf_obj_get_info_by_fd(self.fd, ctypes.byref(info), ctypes.byref(length))
        check(result, "describe", self.label)


def check(result: int, operation: str, target: str, hints: dict[int, str] | None = None) -> int:
    """Return a result of libbpf, or raise what its negative errno means."""
    if result >= 0:
        return result
    raise KernelError(operation, target, -result, (hints or {}).get(-result) or _HINTS.get(-result, ""))


def fdinfo(fd: int) -> dict[str, str]:
    """Return what /proc says of a descriptor, by field."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def is_bpffs(path: Path | str) -> bool:
    """Whether a path is on a BPF file system, as this mount namespace sees it; False where nothing is there."""
    try:
        device = os.stat(path).st_dev
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return False
    # proc(5): field 3 is major:minor, the file system type follows the separator.
    wanted = f"{os.major(device)}:{os.minor(device)}"
    rows = (line.partition(" - ") for line in mounts.splitlines())
    return any(left.split()[2] == wanted and right.split()[0] == "bpf" for left, _, right in rows)
