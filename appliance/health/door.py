"""Where a prober comes by itself: a listening socket in the run directory, and the prober that has come.

Under systemd the prober is a unit of its own: the daemon may not start it, since only who holds CAP_SYS_ADMIN can
enter the probe namespace, and may not end it. So it listens, and hangs up on a prober that is silent or talks nonsense;
the prober ends when that happens (or its watchdog ends it), and its unit starts the next one.

Only the prober's user gets in: the socket is its group's and nobody else's, and the kernel is asked who has come
(SO_PEERCRED, unix(7)), because what comes in decides which backends are alive.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import pwd
import socket
import stat
import struct
from pathlib import Path

from appliance.errors import HostError

MODE = 0o660
BACKLOG = 4
CREDENTIALS = struct.Struct("iII")
"""struct ucred of unix(7): pid, uid, gid."""

log = logging.getLogger(__name__)


class Visitor:
    """A prober that has come. `connection` is our end of the socket to it, non-blocking."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.connection = connection
        self.pid = pid
        """0 where it is of another process namespace."""

    async def end(self, patience: float) -> str:
        """Close the socket, at which a prober ends by itself; return what was done. `patience` is not ours to have."""
        self.connection.close()
        return "its unit starts the next one"


class Door:
    """The socket at `path`, to which probers of one user connect."""

    def __init__(self, path: Path, user: str) -> None:
        """Nothing is made yet. Raises HostError where there is no such user."""
        self.path = path
        try:
            self._account = pwd.getpwnam(user)
        except KeyError:
            raise HostError(
                f"there is no user {user!r} on this host, whom the prober is to run as; the package's sysusers.d has "
                "it (`systemd-sysusers` makes it)"
            ) from None
        self._listener: socket.socket | None = None

    def open(self) -> None:
        """Begin to listen; a socket that a former daemon left is replaced. May be repeated. Raises HostError."""
        if self._listener is not None:
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        # Between bind and chown nobody may slip in: until then the socket is for its owner alone.
        mask = os.umask(0o177)
        try:
            self._make_room()
            listener.bind(os.fspath(self.path))
            self._hand_over()
            listener.listen(BACKLOG)
        except (OSError, HostError) as error:
            if listener.getsockname():
                self.path.unlink(missing_ok=True)
            listener.close()
            if isinstance(error, HostError):
                raise
            raise HostError(f"{self.path}: cannot make the socket for the prober: {error.strerror or error}") from error
        finally:
            os.umask(mask)
        listener.setblocking(False)
        self._listener = listener

    async def visitor(self) -> Visitor:
        """Wait until a prober comes; others are hung up on."""
        assert self._listener is not None, "it is not open"
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
            pid, uid, _ = CREDENTIALS.unpack(credentials)
            if uid == self._account.pw_uid:
                return Visitor(connection, pid)
            connection.close()
            who = f"uid {uid} (pid {pid})"
            log.warning("%s: hung up on %s: only user %s is the prober", self.path, who, self._account.pw_name)

    def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self.path.unlink(missing_ok=True)

    def _make_room(self) -> None:
        try:
            if not stat.S_ISSOCK(self.path.lstat().st_mode):
                raise HostError(f"{self.path}: is in the way of the prober's socket and is no socket; move it away")
        except FileNotFoundError:
            return
        self.path.unlink()  # of a daemon that was killed: whoever holds the lock of this root is alone

    def _hand_over(self) -> None:
        """Let the prober's group connect."""
        try:
            os.chown(self.path, -1, self._account.pw_gid)
        except OSError as error:
            if error.errno != errno.EPERM:
                raise
            raise HostError(
                f"{self.path}: this user may not give the socket to the group of {self._account.pw_name}; make it a "
                "member (in vc5.service: SupplementaryGroups=vc5-prober)"
            ) from error
        self.path.chmod(MODE)
