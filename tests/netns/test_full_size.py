"""Checks with `mtu: true` over a cable that swallows large packets without a word.

    near 10.6.0.1, 2001:db8:6::1  -----  far 10.6.0.2, 2001:db8:6::2     MTU 1500 here, less there: veth drops what is
                                                                         longer than the receiver's MTU and 4 bytes
The far side announces the segment size of Ethernet all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appliance.model import Check, CheckKind, Outcome
from tests.lab.namespace import Namespace, run
from tests.unit.health.authority import self_signed, serving_with
from tests.unit.health.servers import probe

pytestmark = pytest.mark.root

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NEAR, FAR = ("10.6.0.1", "2001:db8:6::1"), ("10.6.0.2", "2001:db8:6::2")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return serving_with(self_signed(tmp_path_factory.mktemp("tls") / "both.pem"))


@pytest.fixture(scope="module")
def ends() -> Iterator[tuple[Namespace, Namespace]]:
    near, far = Namespace(f"vc5size-{os.getpid()}-near"), Namespace(f"vc5size-{os.getpid()}-far")
    try:
        for end in (near, far):
            run("ip", "netns", "add", end.name)
        near.run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", far.name)
        for end, own, others, segment in ((near, NEAR, FAR, ()), (far, FAR, NEAR, ("advmss", "1460"))):
            for address, other, length in zip(own, others, (32, 128), strict=True):
                end.run("ip", "address", "add", f"{address}/{length}", "dev", "cable", *(("nodad",) * (length == 128)))
                end.run("ip", "link", "set", "cable", "up")
                size = ("advmss", "1440") if segment and length == 128 else segment
                end.run("ip", "route", "add", other, "dev", "cable", *size)
            end.run("ethtool", "-K", "cable", "tso", "off", "gso", "off", "tx", "off")
        yield near, far
    finally:
        for end in (near, far):
            run("ip", "netns", "delete", end.name)


@contextmanager
def web_server(far: Namespace, host: str, tls: ssl.SSLContext | None) -> Iterator[int]:
    """Answer requests, one thread for each connection; yield the port."""

    def talk(connection: socket.socket) -> None:
        if tls:
            connection = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with connection, contextlib.suppress(OSError):
            data = b""
            while not data.endswith(b"\r\n\r\n"):
                more = connection.recv(65536)
                if not more:
                    return
                data += more
            connection.sendall(ANSWER)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(5)
            thread = threading.Thread(target=talk, args=(connection,))
            threads.append(thread)
            thread.start()

    threads: list[threading.Thread] = []
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with far.call(lambda: socket.create_server((host, 0), family=family)) as listener:
        accepting = threading.Thread(target=serve)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()


@pytest.mark.parametrize("kind", [CheckKind.HTTP, CheckKind.HTTPS])
@pytest.mark.parametrize(
    ("host", "mtu", "outcome", "words"),
    [
        (FAR[0], 1500, Outcome.OK, "HTTP 200, full size (MSS 1460)"),
        (FAR[1], 1500, Outcome.OK, "HTTP 200, full size (MSS 1440)"),
        (FAR[0], 1400, Outcome.WRONG, "packets of full size (MSS 1460) do not arrive; an MSS of 1360 would"),
        (FAR[1], 1400, Outcome.WRONG, "packets of full size (MSS 1440) do not arrive; an MSS of 1340 would"),
        (FAR[0], 1280, Outcome.WRONG, "packets of full size (MSS 1460) do not arrive; an MSS of 1240 would"),
    ],
)
def test_paths(
    ends: tuple[Namespace, Namespace],
    tls: ssl.SSLContext,
    kind: CheckKind,
    host: str,
    mtu: int,
    outcome: Outcome,
    words: str,
) -> None:
    near, far = ends
    far.run("ip", "link", "set", "cable", "mtu", str(mtu))
    with web_server(far, host, tls if kind is CheckKind.HTTPS else None) as port:
        check = Check(kind, port, timeout=3.0, mtu=True, expiry_warning=0)
        answer = near.call(lambda: asyncio.run(probe(check, host)))
        assert (answer.outcome, answer.diagnostic) == (outcome, words)
        small = near.call(lambda: asyncio.run(probe(Check(kind, port, timeout=3.0), host)))
        assert small.outcome is Outcome.OK
