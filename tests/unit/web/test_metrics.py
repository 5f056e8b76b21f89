"""`/metrics` over HTTP: what is served, what is refused, and that nobody can be a burden."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from ipaddress import ip_address
from typing import Any

import pytest

from appliance.config.kinds import Place
from appliance.config.settings import settings_of
from appliance.control.showing import USUAL
from appliance.errors import ControlError, HostError
from appliance.model_address import Endpoint
from appliance.net.listener import listener
from appliance.telemetry.exposition import OPENMETRICS, exposition
from appliance.web.api import HEADERS
from appliance.web.gate import Bounds
from appliance.web.server import BOUNDS
from tests.lab.patience import wait_for
from tests.lab.scraping import Serving
from tests.unit.telemetry.snapshots import SAMPLE, backend, service, snapshot

LOOPBACK = Endpoint(ip_address("127.0.0.1"), 0)


async def sample() -> Mapping[str, Any]:
    return SAMPLE


def serving(ask: Callable[[], Any] = sample, bounds: Bounds = BOUNDS, patience: float = 9.0) -> Serving:
    return Serving(ask, listener(LOOPBACK), bounds, patience)


def fetch(
    server: Serving, method: str = "GET", path: str = "/metrics", **headers: str
) -> tuple[int, bytes, HTTPResponse]:
    with closing(HTTPConnection("127.0.0.1", server.address[1], timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer


def test_what_is_served() -> None:
    with serving() as server:
        status, body, answer = fetch(server)
        assert (status, body) == (200, exposition(SAMPLE)[0])
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        status, body, answer = fetch(server, Accept=f"{OPENMETRICS};version=1.0.0,text/plain;q=0.5")
        assert (status, body) == (200, exposition(SAMPLE, OPENMETRICS)[0])
        assert answer.headers["Content-Type"].startswith(OPENMETRICS)
        assert server.scrapes == 2
        status, body, answer = fetch(server, "HEAD")
        assert (status, body) == (200, b"")
        assert int(answer.headers["Content-Length"]) == len(exposition(SAMPLE)[0])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/metrics%00", 404),
        ("GET", "/../etc/passwd", 404),
        ("POST", "/metrics", 405),
        ("PUT", "/metrics", 405),
        ("DELETE", "/metrics", 405),
        ("OPTIONS", "/metrics", 405),
        ("GET", "/metrics?collect[]=x", 200),
    ],
)
def test_nothing_else_is_there(method: str, path: str, status: int) -> None:
    with serving() as server:
        found, body, answer = fetch(server, method, path)
        assert found == status
        assert status == 200 or len(body) < 100
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Server"] == "vc5"
        assert status != 405 or answer.headers["Allow"] == "GET, HEAD"


def test_without_a_snapshot_it_says_why() -> None:
    async def refused() -> Mapping[str, Any]:
        raise ControlError("the daemon is still starting")

    async def silent() -> Mapping[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    async def broken() -> Mapping[str, Any]:
        return {}

    with serving(refused) as server:
        assert fetch(server)[:2] == (503, b'{"error": "the daemon is still starting"}\n')
    with serving(silent, patience=0.1) as server:
        assert fetch(server)[:2] == (503, b'{"error": "the daemon did not answer within 0.1 s"}\n')
    with serving(broken) as server:
        assert fetch(server)[:2] == (500, b'{"error": "this is a defect of vc5; its log has the details"}\n')


def test_one_snapshot_at_a_time() -> None:
    busy, most = 0, 0

    async def ask() -> Mapping[str, Any]:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.02)
        busy -= 1
        return SAMPLE

    statuses: list[int] = []
    with serving(ask) as server:
        threads = [threading.Thread(target=lambda: statuses.append(fetch(server)[0])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (statuses, most) == ([200] * 8, 1)


def ended(connection: socket.socket) -> bool:
    """Whether the other side has hung up, waiting for it."""
    try:
        return connection.recv(4096) == b""
    except ConnectionError:
        return True


def test_connections_are_few() -> None:
    with serving(bounds=Bounds(connections=3)) as server:
        there = [socket.create_connection(server.address, timeout=10) for _ in range(3)]
        wait_for("three", lambda: server.server.gate.count == 3)
        with socket.create_connection(server.address, timeout=10) as more:
            assert ended(more)
        assert server.server.refused["connections"] == 1
        for one in there:
            one.close()
        wait_for("room", lambda: not server.server.gate.count)
        assert fetch(server)[0] == 200


@pytest.mark.parametrize("said", [b"", b"GET /metrics HT", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"])
def test_who_asks_nothing_is_hung_up_on(said: bytes) -> None:
    with serving(bounds=Bounds(request_seconds=0.2)) as server:
        with socket.create_connection(server.address, timeout=10) as idle:
            idle.sendall(said)
            assert ended(idle)
        assert fetch(server)[0] == 200


def test_a_connection_that_asks_again_and_again_ends() -> None:
    bounds = Bounds(request_seconds=0.1, connection_seconds=0.3, answer_seconds=3600.0)
    with serving(bounds=bounds) as server, socket.create_connection(server.address, timeout=10) as connection:
        limit = time.monotonic() + 10
        try:
            while time.monotonic() < limit:
                connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                if not connection.recv(1 << 20):
                    break
        except ConnectionError:
            pass
        assert time.monotonic() < limit
        assert server.scrapes > 2


def test_who_does_not_read_the_answer_is_hung_up_on() -> None:
    large = snapshot(*(service(f"203.0.113.10:{port}/tcp", backend("10.1.10.11")) for port in range(1, 5000)))

    async def ask() -> Mapping[str, Any]:
        return large

    bounds = Bounds(request_seconds=0.1, connection_seconds=0.3, answer_seconds=0.3)
    with serving(ask, bounds) as server, socket.create_connection(server.address, timeout=10) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for("it to be there", lambda: server.server.gate.count)
        wait_for("it to be gone", lambda: not server.server.gate.count)


@pytest.mark.parametrize(
    "said",
    [
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /metrics\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 10_000 + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n",
    ],
)
def test_rubbish(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with serving(bounds=Bounds(request_seconds=0.3, connection_seconds=0.5)) as server:
        with socket.create_connection(server.address, timeout=10) as connection:
            connection.sendall(said)
            answer = b""
            try:
                while part := connection.recv(65536):
                    answer += part
            except ConnectionError:
                pass
        assert answer == b"" or re.match(rb"HTTP/[0-9]\.[0-9] (200|4[0-9][0-9]) ", answer)
        assert b"Traceback" not in answer
        assert fetch(server)[0] == 200
    # Nobody fills our log: what was refused is counted, and told of once a minute.
    assert all(record.message.startswith("refused: ") for record in caplog.records)
    assert len(caplog.records) <= 1


def test_where_it_listens() -> None:
    assert str(USUAL[0]) in settings_of(Place.TOP)["webserver"].help
    with listener(LOOPBACK) as one:
        taken = Endpoint(ip_address("127.0.0.1"), one.getsockname()[1])
        with pytest.raises(
            HostError, match=rf"^{taken}: cannot listen here for console and metrics: Address already in use"
        ):
            listener(taken)
    with listener(Endpoint(ip_address("::1"), 0)) as six:
        assert six.family is socket.AF_INET6
    with listener(Endpoint(None, 0)) as both:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, both.getsockname()[1]), timeout=10).close()
