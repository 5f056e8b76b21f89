"""Named network namespaces, kept the way iproute2 keeps them: a bind mount of the namespace on /run/netns/NAME.

A namespace is joined only by a thread that ends afterwards: setns(2) moves the calling thread alone, so the rest of
the process stays where it is, no process is forked, nothing is left to reap, and results and exceptions pass as they
are. Joining and creating need CAP_SYS_ADMIN.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TypeVar

from appliance.errors import HostError, KernelError

DIRECTORY = Path("/run/netns")
"""NETNS_RUN_DIR of iproute2."""

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_MS_BIND = 0x1000  # linux/mount.h
_MS_REC = 0x4000
_MS_SHARED = 0x100000
_MNT_DETACH = 2

_OWN = Path("/proc/thread-self/ns/net")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_void_p)

Result = TypeVar("Result")


def _call(function: Callable[..., int], *arguments: object) -> int:
    """Call a function of libc; return 0 or the errno."""
    return ctypes.get_errno() if function(*arguments) else 0


def _check(status: int, operation: str, target: str) -> None:
    if status:
        hint = "needs CAP_SYS_ADMIN; run it as root, or have vc5-netns.service do it" if status == errno.EPERM else ""
        raise KernelError(operation, target, status, hint)


def path(name: str) -> Path:
    """Return where the namespace `name` is mounted."""
    return DIRECTORY / name


def exists(name: str) -> bool:
    """Tell whether `name` is a mounted namespace; a file that a killed `create` left behind is none.

    All namespaces live on one file system of the kernel (nsfs), so its device number tells them from other files.
    """
    try:
        return path(name).stat().st_dev == _OWN.stat().st_dev
    except FileNotFoundError:
        return False


@contextmanager
def lock() -> Iterator[None]:
    """Make /run/netns if it is missing, and hold the lock on it that iproute2 takes too."""
    try:
        DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("create directory", str(DIRECTORY), error.errno or errno.EIO) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def create(name: str) -> None:
    """Create the namespace `name` if it does not exist; the caller holds `lock()`.

    Raises HostError if `name` stands for the namespace that the caller is in, KernelError if the kernel refuses.
    """
    if exists(name):
        if path(name).stat().st_ino == _OWN.stat().st_ino:
            raise HostError(
                f"{path(name)}: this is the network namespace of the balancer itself, not one for probes; "
                f"remove the name with `ip netns delete {name}`"
            )
        return
    _share_directory()
    path(name).touch(mode=0o444)

    def unshare_and_mount() -> None:
        _check(_call(_libc.unshare, _CLONE_NEWNET), "create network namespace", name)
        source, target = os.fsencode(_OWN), os.fsencode(path(name))
        _check(_call(_libc.mount, source, target, b"none", _MS_BIND, None), "mount network namespace", name)

    _in_thread(unshare_and_mount)


def remove(name: str) -> None:
    """Take the name away; quiet if there is none. The namespace ends with its last process."""
    while exists(name):
        _check(_call(_libc.umount2, os.fsencode(path(name)), _MNT_DETACH), "unmount network namespace", name)
    path(name).unlink(missing_ok=True)


def call_inside(name: str, function: Callable[[], Result]) -> Result:
    """Run `function` inside the namespace `name` and return its result, or raise what it raises.

    It runs in a thread of its own, while the caller waits; sockets that it makes and processes that it starts belong
    to the namespace for good, and can be handed out. Raises HostError if there is no such namespace.
    """
    if not exists(name):
        raise HostError(f"there is no network namespace {name}; start vc5-netns.service, or `vc5 run` as root")

    def join_and_run() -> Result:
        descriptor = os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_call(_libc.setns, descriptor, _CLONE_NEWNET), "enter network namespace", name)
        finally:
            os.close(descriptor)
        return function()

    return _in_thread(join_and_run)


def _in_thread(function: Callable[[], Result]) -> Result:
    outcome: Future[Result] = Future()

    def body() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)

    thread = Thread(target=body, name="netns")
    thread.start()
    thread.join()
    return outcome.result()


def _share_directory() -> None:
    """Make /run/netns a shared mount, so that namespaces mounted there are seen by units with mounts of their own."""
    directory = os.fsencode(DIRECTORY)
    status = _call(_libc.mount, b"", directory, b"none", _MS_SHARED | _MS_REC, None)
    if status == errno.EINVAL:  # not a mount point yet
        _check(_call(_libc.mount, directory, directory, b"none", _MS_BIND | _MS_REC, None), "mount", str(DIRECTORY))
        status = _call(_libc.mount, b"", directory, b"none", _MS_SHARED | _MS_REC, None)
    _check(status, "share mount", str(DIRECTORY))
