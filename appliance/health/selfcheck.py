"""Does the checker itself work? A server of its own is asked, in a good way and in a bad one, again and again.

Theory of operation. The prober has a tiny HTTP server on loopback, inside its own namespace. In every round two probes
go there by the same code as all others, from the source port to the verdict:

    known good   /good answers 200, 200 is expected     must be OK
    known bad    /bad answers 503, 200 is expected      must not be OK

When a round fails it is repeated at once, and after two in a row `broken` says what is wrong: from then on nobody
should believe what other probes say. The next round that succeeds ends that. A round comes every two seconds, and at
once when an outcome surprises: a fault of our own would otherwise have been believed before it is found, since
surprises are confirmed quickly.

These probes have no number and appear in no statistics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address

from appliance.health.answer import Answer
from appliance.health.diagnostic import printable
from appliance.health.messages import Probe
from appliance.health.probes.failure import ProbeNotSent, describe
from appliance.health.runner import Job, Runner
from appliance.model import Check, CheckKind, Outcome

ROUND = 2.0
"""Seconds from one round to the next."""
RETRY = 0.2
"""Seconds after a round that failed, and between any two."""
PATIENCE = 1.0
"""Seconds that each of the two probes may take."""
HOME = IPv4Address("127.0.0.1")
MAX_REQUEST = 4096
"""Bytes of a request to the server, at most."""


class Responder(asyncio.Protocol):
    """One connection to the server: a request, a fixed answer, the end."""

    def __init__(self) -> None:
        self._request = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._request += data
        if b"\r\n\r\n" in self._request:
            status = b"200 OK" if self._request.startswith(b"GET /good ") else b"503 Service Unavailable"
            self._transport.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self._transport.close()
        elif len(self._request) > MAX_REQUEST:
            self._transport.abort()


class SelfCheck:
    """The server and the rounds. `on_change` is called when `broken` has changed, and after the first finding."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        runner: Runner,
        on_change: Callable[[], None],
        responder: Callable[[], asyncio.Protocol] = Responder,
    ) -> None:
        self._loop = loop
        self._runner = runner
        self._on_change = on_change
        self._responder = responder
        self._server: asyncio.Server | None = None
        self._suspected = asyncio.Event()
        self.ready = False
        """Whether there has been a finding."""
        self.broken = ""
        """What is wrong; empty: the checker works, as far as is known."""

    def suspect(self) -> None:
        """Make the next round come at once."""
        self._suspected.set()

    async def run(self) -> None:
        """Make rounds until cancelled."""
        failed = 0
        try:
            while True:
                self._suspected.clear()
                trouble = printable(await self._round())
                failed = failed + 1 if trouble else 0
                if failed != 1:
                    self._find(trouble)
                await asyncio.sleep(RETRY)
                if failed != 1:
                    try:
                        await asyncio.wait_for(self._suspected.wait(), ROUND - RETRY)
                    except TimeoutError:
                        pass
        finally:
            if self._server is not None:
                self._server.close()

    def _find(self, trouble: str) -> None:
        if trouble != self.broken or not self.ready:
            self.broken, self.ready = trouble, True
            self._on_change()

    async def _round(self) -> str:
        """Return what is wrong, empty for nothing."""
        try:
            port = await self._listen()
        except OSError as error:
            return f"cannot listen on {HOME}: {describe(error.errno or 0, 'connect')}"
        good = await self._ask(port, "/good")
        if isinstance(good, str):
            return f"the known-good target cannot be probed: {good}"
        if good.outcome is not Outcome.OK:
            return f"the known-good target fails: {good.diagnostic}"
        bad = await self._ask(port, "/bad")
        if isinstance(bad, Answer) and bad.outcome is Outcome.OK:
            return f"the known-bad target passes: {bad.diagnostic}"
        return ""

    async def _listen(self) -> int:
        """Return the server's port; raises OSError if there can be none."""
        if self._server is None:
            self._server = await self._loop.create_server(self._responder, str(HOME), 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _ask(self, port: int, path: str) -> Answer | str:
        """Probe one of the targets; return the answer, or why there is none."""
        check = Check(CheckKind.HTTP, port, host="vc5", path=path, timeout=PATIENCE)
        try:
            return await self._runner.run(Job.of(Probe(0, HOME, HOME, check)))
        except ProbeNotSent as error:
            return str(error)
        except Exception as error:  # a defect is what this is here to find
            return f"defect in the prober: {error!r}"
