"""What needs more rights than the daemon has, done before it starts: the probe namespace, its veth, a place for pins.

`vc5 netns up` makes all of it, or repairs what is missing or different, and ends; so no process that lives longer than
a second holds CAP_SYS_ADMIN. The far end of the veth gets a program that passes every frame (passing.py), since the
daemon may not enter the namespace to attach its own.
"""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from appliance.control import store
from appliance.dataplane.kernel import is_bpffs
from appliance.dataplane.passing import pass_all
from appliance.errors import HostError
from appliance.net import namespace
from appliance.paths import BPFFS, Root

TOOLS = "/usr/bin:/bin:/usr/sbin:/sbin"
SEARCH = 0o111


def lay(root: Root, user: str | None) -> str:
    """Make or repair everything; returns what there is now, in a sentence. Safe to repeat, also while a daemon runs.

    `user` is to own the directory for pins; without one, who runs this. Raises HostError, KernelError.
    """
    owner = account(user) if user is not None else None
    namespace.ensure(root)
    namespace.run_in_namespace(root, lambda: pass_all(socket.if_nametoindex(root.veth_peer)))
    _make_pins(root.pins, owner)
    whose = f", of user {user}" if user is not None else ""
    return f"network namespace {root.namespace}, interface {root.veth} and {root.pins}{whose} are ready"


def clear(root: Root) -> str:
    """Take everything away again, but for pins: what is pinned forwards packets. Returns what was done.

    Quiet about what is not there. Raises AlreadyRunning where a daemon stands on it; HostError, KernelError.
    """
    if root.lock.exists():
        store.Lock(root.lock).release()
    namespace.remove(root)
    try:
        root.pins.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EPERM):  # bpffs says EPERM of a directory that is not empty
            raise HostError(f"{root.pins}: cannot be removed: {error.strerror}") from error
        return (
            f"network namespace {root.namespace} and interface {root.veth} are gone; {root.pins} stays, since a "
            "daemon that did not end by itself left a working data plane there: the next one goes on with it"
        )
    return f"network namespace {root.namespace}, interface {root.veth} and {root.pins} are gone"


def account(user: str) -> pwd.struct_passwd:
    """Return the account of a user; raises HostError where there is none."""
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise HostError(
            f"there is no user {user!r} on this host; the package's sysusers.d has it (`systemd-sysusers` makes it)"
        ) from None


def _make_pins(pins: Path, owner: pwd.struct_passwd | None) -> None:
    """Have a directory on the BPF file system that the owner can pin in, and reach."""
    if not is_bpffs(pins.parent):
        _mount(pins.parent)
    try:
        pins.mkdir(mode=0o700, exist_ok=True)
        if owner is None:
            return
        for place in (pins, *pins.rglob("*")):  # an earlier daemon may have been another user's
            if place.stat().st_uid != owner.pw_uid:
                os.chown(place, owner.pw_uid, owner.pw_gid)
        # systemd mounts the file system for root alone. Who may search a directory cannot list it yet, and every pin
        # in it keeps its own permissions.
        mode = pins.parent.stat().st_mode & 0o7777
        if mode & SEARCH != SEARCH:
            os.chmod(pins.parent, mode | SEARCH)
    except OSError as error:
        raise HostError(f"{pins}: cannot be given to the daemon: {error.strerror}") from error


def _mount(place: Path) -> None:
    tool = shutil.which("mount", path=TOOLS)
    if tool is None:
        raise HostError(
            f"{place} is no BPF file system, and there is no mount(8) in {TOOLS}; install the package mount"
        )
    with suppress(OSError):
        place.mkdir(exist_ok=True)
    done = subprocess.run([tool, "-t", "bpf", "bpf", str(place)], capture_output=True, text=True, check=False)
    if done.returncode and not is_bpffs(BPFFS):  # two may mount at the same time
        raise HostError(f"{place} is no BPF file system and cannot be made one: {done.stderr.strip()}")
