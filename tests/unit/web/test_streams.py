"""Streams of events over real sockets: what they begin with, how many there are, and those who do not read."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import Any

from appliance.web.gate import Bounds
from appliance.web.live import Pace
from tests.lab.patience import wait_for
from tests.lab.scraping import Serving
from tests.unit.web.serving import LARGE, connect, fetch, serving


class Reader:
    """Reads a stream of events, one at a time."""

    def __init__(self, server: Serving, **headers: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", server.address[1], timeout=20)
        self._connection.request("GET", "/events", headers=headers)
        self.answer = self._connection.getresponse()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self.answer.close()

    def events(self) -> Iterator[tuple[str, Any, str]]:
        """Yield kind, data and id of each."""
        found: dict[str, str] = {}
        while line := self.answer.readline():
            name, _, value = line.decode("ascii").rstrip("\n").partition(": ")
            if name:
                found[name] = value
            elif found:
                yield found["event"], json.loads(found["data"]), found.get("id", "")
                found = {}


def until(reader: Reader, kind: str) -> list[str]:
    """Return the kinds of events up to one of a kind."""
    kinds = []
    for event, _, _ in reader.events():
        kinds.append(event)
        if event == kind:
            return kinds
    raise AssertionError(kinds)


def test_a_stream_begins_with_everything() -> None:
    with serving(LARGE) as server, Reader(server) as reader:
        assert reader.answer.status == 200
        assert reader.answer.headers["Content-Type"] == "text/event-stream"
        kinds, services = [], 0
        for kind, data, _ in reader.events():
            kinds.append(kind)
            if kind == "services":
                services += len(data["changed"])
            if kind == "numbers":
                break
        assert kinds == ["hello", "overview", *["services"] * 5, "numbers"]
        assert services == 500


def test_the_log_goes_on_where_it_was_left() -> None:
    def line(number: int) -> dict[str, Any]:
        return {"id": number, "at": 1.0, "kind": "daemon", "severity": 6, "message": "x"}

    with serving() as server:
        for number in range(1, 301):
            server.history.add(line(number))

        def first(**headers: str) -> list[int]:
            found = []
            with Reader(server, **headers) as reader:
                for kind, data, name in reader.events():
                    if kind == "log":
                        assert str(data["id"]) == name
                        found.append(data["id"])
                    elif kind == "overview":
                        return found
            raise AssertionError(found)

        assert first() == list(range(101, 301))
        assert first(**{"Last-Event-ID": "298"}) == [299, 300]
        with Reader(server) as reader:
            until(reader, "numbers")
            server.do(lambda: server.history.add(line(301)))
            assert next(data["id"] for kind, data, _ in reader.events() if kind == "log") == 301
        assert fetch(server, "/events", **{"Last-Event-ID": "x"})[0] == 400


def test_streams_are_few_and_others_are_told_so() -> None:
    with serving(bounds=Bounds(streams=4)) as server, ExitStack() as held:
        readers = [held.enter_context(Reader(server)) for _ in range(4)]
        for reader in readers:
            until(reader, "numbers")
        for _ in range(6):
            status, text, answer = fetch(server, "/events")
            assert (status, answer.headers["Retry-After"], answer.headers["Connection"]) == (503, "10", "close")
            assert b"4 consoles are open already" in text
        assert server.server.refused == {"streams": 6}
        assert server.server.status()["streams"] == 4
        readers.pop().__exit__()
        wait_for("room", lambda: server.server.status()["streams"] == 3)
        with Reader(server) as again:
            until(again, "numbers")
    assert server.server.refused == {"streams": 6}, "who leaves is not refused"


def test_who_does_not_read_a_stream_is_dropped_and_others_go_on() -> None:
    bounds = Bounds(write_seconds=0.5)
    with serving(LARGE, bounds=bounds) as server, Reader(server) as reader, connect(server) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        until(reader, "numbers")
        wait_for("both", lambda: server.server.status()["streams"] == 2)
        while server.server.status()["streams"] == 2:
            until(reader, "numbers")
        until(reader, "numbers")
        assert server.server.refused == {"slow": 1}


def test_a_stream_that_is_silent_says_that_it_is_there() -> None:
    with serving(pace=Pace(interval=600.0, alive=0.05)) as server, Reader(server) as reader:
        assert until(reader, "alive")[-3:] == ["services", "numbers", "alive"]
