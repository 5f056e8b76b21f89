"""What tests of the web server share: a server on a socket, with a daemon's answers, and who asks it."""

from __future__ import annotations

import socket
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from ipaddress import ip_address
from typing import Any

from appliance.model_address import Endpoint
from appliance.net.listener import listener
from appliance.web.live import Pace
from appliance.web.pages import Page
from tests.lab.patience import wait_for
from tests.lab.scraping import Serving
from tests.unit.telemetry.snapshots import SAMPLE
from tests.unit.web.test_picture import backend, body, service

LOOPBACK = Endpoint(ip_address("127.0.0.1"), 0)
PAGES = {"/": Page(b"<!doctype html>", "text/html", '"a"'), "/js/a.js": Page(b"1", "text/javascript", '"b"')}
QUICK = Pace(interval=0.05, refresh=0.2, alive=0.1)
FIXED = {"vip": "203.0.113.10", "port": 80, "proto": "tcp", "need": 1, "available": 1}
LARGE = body(
    *(
        service(f"s{n}", *(backend(f"10.0.{n}.{b}", diagnostic="x" * 200) for b in range(20)), **FIXED)
        for n in range(500)
    )
)
"""Some megabytes, as a stream tells them."""


async def sample() -> dict[str, Any]:
    return dict(SAMPLE)


class Daemon:
    """What a daemon would answer; `told` is its status."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told, self.at = told, 0.0

    async def status(self) -> dict[str, Any]:
        return self.told

    async def numbers(self) -> dict[str, Any]:
        self.at += 1.0
        rows = [[one["service"], [0, 0, 0, 0], None, []] for one in self.told["services"]]
        return {"at": self.at, "known": [], "services": rows}

    async def ready(self) -> dict[str, Any]:
        return {"ready": True, "why": ""}


def serving(told: dict[str, Any] | None = None, **more: Any) -> Serving:
    daemon = Daemon(told or body())
    asks = {"status": daemon.status, "numbers": daemon.numbers, "ready": daemon.ready}
    return Serving(sample, listener(LOOPBACK), more=asks, pages=PAGES, **{"pace": QUICK, **more})


def fetch(server: Serving, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, HTTPResponse]:
    with closing(HTTPConnection("127.0.0.1", server.address[1], timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer


def connect(server: Serving) -> socket.socket:
    return socket.create_connection(server.address, timeout=20)


def said(connection: socket.socket) -> bytes:
    """Return all that comes until the other side hangs up."""
    found = b""
    try:
        while part := connection.recv(1 << 16):
            found += part
    except ConnectionError:
        pass
    return found


def raw(server: Serving, data: bytes) -> bytes:
    """Send bytes, and return all that is answered."""
    with connect(server) as connection:
        try:
            connection.sendall(data)
        except ConnectionError:
            pass
        return said(connection)


def refused(server: Serving, why: str, count: int = 1) -> None:
    wait_for(f"{count} refused for {why}", lambda: server.server.refused.get(why, 0) >= count)
