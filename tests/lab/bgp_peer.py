"""A BGP peer that does as a test tells it, well or badly: plain sockets, the octets that it is given, what it hears.

    with BgpPeer(lab.router, "10.1.10.1") as peer:
        with peer.accept() as connection:       or peer.connect("10.1.10.5")
            connection.send(open_message(65000, "10.1.10.1"), keepalive())
            connection.expect(Kind.UPDATE).update.announced
            connection.expect(Kind.NOTIFICATION).error
            connection.keep_up()                a thread reads on and sends KEEPALIVE; `heard` has everything

Nothing is read unless the test asks for it, so a peer that does not read is one with which nobody does. A peer that is
made with `listens=False` refuses connections until `listen` is called.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from ipaddress import ip_address

from tests.lab.bgp_message import HEADER_SIZE, Heard, Kind, keepalive, open_message
from tests.lab.namespace import LabError, Namespace
from tests.lab.patience import SLOWNESS
from tests.lab.standing import Standing

PORT = 179
TCP_MD5SIG = 14  # linux/tcp.h


class Connection(Standing):
    """One connection, whoever opened it."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._data = b""
        self._ended = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.heard: list[Heard] = []
        """Every message so far."""
        self.failure = ""
        """How the connection ended, where it was not with an orderly end."""

    # ---- saying

    def send(self, *octets: bytes) -> None:
        """Say these octets. Raises OSError where the other side is gone."""
        self._socket.sendall(b"".join(octets))

    def close(self) -> None:
        """Hang up, in an orderly way."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self._socket.close()

    def reset(self) -> None:
        """Hang up with an RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def fall_silent(self) -> None:
        """Say no more, and listen on: a FIN."""
        self._socket.shutdown(socket.SHUT_WR)

    # ---- hearing

    def receive(self, seconds: float = 10.0) -> Heard | None:
        """Return the next message, None at the end of the connection. Raises LabError where nothing comes."""
        deadline = time.monotonic() + seconds * SLOWNESS
        while True:
            if (heard := self._message()) is not None:
                return heard
            if self._ended:
                return None
            left = deadline - time.monotonic()
            if left <= 0:
                raise LabError(f"the peer heard nothing in {seconds:g} s; so far: {self.story()}")
            self._read(left)

    def expect(self, kind: Kind, seconds: float = 10.0) -> Heard:
        """Return the next message of a kind; passes over others. Raises LabError where none comes."""
        while True:
            heard = self.receive(seconds)
            if heard is None:
                raise LabError(f"hung up before {kind.name} ({self.failure or 'FIN'}); so far: {self.story()}")
            if heard.kind == kind:
                return heard

    def expect_end(self, seconds: float = 10.0) -> None:
        """Wait until the other side hangs up; passes over messages. Raises LabError where it does not."""
        while self.receive(seconds) is not None:
            pass

    def _read(self, seconds: float) -> None:
        self._socket.settimeout(seconds)
        try:
            more = self._socket.recv(1 << 16)
        except TimeoutError:
            return
        except OSError as error:
            self.failure = str(error)
            more = b""
        self._data += more
        self._ended = not more

    def _message(self) -> Heard | None:
        if len(self._data) < HEADER_SIZE:
            return None
        size = max(HEADER_SIZE, int.from_bytes(self._data[16:18], "big"))
        if len(self._data) < size:
            return None
        heard = Heard(time.monotonic(), self._data[18], self._data[HEADER_SIZE:size])
        self._data = self._data[size:]
        self.heard.append(heard)
        return heard

    def story(self) -> str:
        """What was heard, for the message of an error."""
        return ", ".join(map(str, self.heard)) or "nothing"

    # ---- both

    def establish(self, own_as: int, router_id: str, hold_time: int = 9) -> Heard:
        """Do what any router does until the session is established, and return the other side's OPEN."""
        self.send(open_message(own_as, router_id, hold_time))
        opened = self.expect(Kind.OPEN)
        self.send(keepalive())
        self.expect(Kind.KEEPALIVE)
        return opened

    def keep_up(self, interval: float = 1.0) -> None:
        """From now on read everything, and send a KEEPALIVE every so many seconds; the test looks into `heard`."""
        self._thread = threading.Thread(target=self._keep_up, args=(interval,), name="bgp peer", daemon=True)
        self._thread.start()

    def _keep_up(self, interval: float) -> None:
        due = 0.0
        while not (self._closing.is_set() or self._ended):
            if time.monotonic() >= due:
                due = time.monotonic() + interval
                try:
                    self.send(keepalive())
                except OSError as error:
                    self.failure = str(error)
                    return
            self._read(0.05)
            while self._message():
                pass

    @property
    def ended(self) -> bool:
        """Whether the other side has hung up, as far as was read."""
        return self._ended


class BgpPeer(Standing):
    """A peer at an address of a namespace."""

    def __init__(
        self,
        namespace: Namespace,
        address: str,
        *,
        listens: bool = True,
        ttl: int = 0,
        password: str = "",
        other: str = "",
        receive_buffer: int = 0,
    ) -> None:
        """Prepare; `ttl` of its packets (0: the usual), `password` for TCP-MD5 with `other`.

        `receive_buffer`: about how many octets wait unread before the other side has to stop; 0: as many as usual.
        """
        self.namespace = namespace
        self.address = address
        self._listens = listens
        self._ttl = ttl
        self._password = password
        self._other = other
        self._buffer = receive_buffer
        self._listener: socket.socket | None = None

    def stand(self) -> None:
        """Listen, unless it is not to."""
        if self._listens:
            self.listen()

    def close(self) -> None:
        """Refuse connections from now on; those that were accepted live on."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def listen(self) -> None:
        """Take connections on port 179."""
        self._listener = self._socket()
        self._listener.bind((self.address, PORT))
        self._listener.listen(16)

    def accept(self, seconds: float = 15.0) -> Connection:
        """Return the next connection that somebody opens. Raises LabError."""
        if self._listener is None:
            raise LabError("this peer does not listen")
        self._listener.settimeout(seconds * SLOWNESS)
        try:
            end, _ = self._listener.accept()
        except TimeoutError:
            raise LabError(f"nobody connected to {self.address} within {seconds:g} s") from None
        return Connection(end)

    def connect(self, to: str, seconds: float = 10.0, port: int = PORT) -> Connection:
        """Open a connection. Raises OSError: ConnectionRefusedError, TimeoutError."""
        end = self._socket()
        end.settimeout(seconds * SLOWNESS)
        try:
            end.bind((self.address, 0))
            end.connect((to, port))
        except OSError:
            end.close()
            raise
        return Connection(end)

    def _socket(self) -> socket.socket:
        version = ip_address(self.address).version
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        end = self.namespace.call(lambda: socket.socket(family, socket.SOCK_STREAM))
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._ttl and version == 4:
            end.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, self._ttl)
        elif self._ttl:
            end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, self._ttl)
        if self._buffer:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer)
        if self._password:
            end.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, _md5_key(self._other, self._password))
        return end


def _md5_key(other: str, password: str) -> bytes:
    """struct tcp_md5sig of linux/tcp.h: the address of the other side in 128 octets, flags, lengths, interface, key."""
    packed = ip_address(other).packed
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    # sockaddr_in: family, port, address; sockaddr_in6 has the flow label before the address.
    address = struct.pack("=HH", family, 0) + (b"" if len(packed) == 4 else bytes(4)) + packed
    key = password.encode()
    return address.ljust(128, b"\0") + struct.pack("=BBHI", 0, 0, len(key), 0) + key.ljust(80, b"\0")
