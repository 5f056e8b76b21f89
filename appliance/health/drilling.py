"""The prober's part in a drill: keeps flows open through the balancer's slots, and says what becomes of them.

What a flow proves depends on what may be said on it without harm:

    HTTP, HTTPS   the request of the service's check, again and again on one connection. An answer proves that both ways
                  work and that the server knows the connection.
    other TCP     nothing: the connection stays open, and the kernel asks once a second whether it lives (tcp(7),
                  TCP_KEEPINTVL). What acknowledges that is the server's kernel: a host that does not know the
                  connection answers RST. What the server says of its own accord is thrown away.
    UDP           the datagram of the service's check, always from the same port. There is no connection: an answer
                  proves that some server answered.

No flow is opened again here. A server that closes a connection in good order has done nothing wrong.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace

import h11

from appliance.health.diagnostic import printable
from appliance.health.drill import FlowNews, FlowState, Order, Wanted, encode_news
from appliance.health.probes import dns, udp
from appliance.health.probes.connection import Connection, PortTaken
from appliance.health.probes.datagram import Datagram
from appliance.health.probes.deadline import Deadline
from appliance.health.probes.failure import ProbeFailed, ProbeNotSent
from appliance.health.probes.http import MAX_BODY, MAX_HEAD, MAX_INTERIM, prepare
from appliance.health.probes.readiness import Readiness
from appliance.health.probes.tls import context_of
from appliance.model import Check, CheckKind, Outcome, Protocol

OPENING = 5.0
"""Seconds for a connection to be opened, TLS included."""
ANSWER = 5.0
"""Seconds for an answer, at least: a lost packet or two are sent again meanwhile."""
KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 6000),
)
"""An idle connection that nobody answers is given up after 6 s (tcp(7))."""
UNANSWERED = 3
"""Datagrams in a row without an answer after which a flow counts as broken."""
STAGGER = 0.005
"""Seconds from one flow's start to the next: a thousand handshakes at once would be a test of something else."""
NEWS = 0.25
"""Seconds for which news is gathered."""


class _Ended(Exception):
    """The server has closed the connection in good order."""


class Drilling:
    """The flows of the drill that is on, if one is. `say` sends a message to the daemon."""

    def __init__(self, loop: asyncio.AbstractEventLoop, say: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._say = say
        self._readiness: Readiness | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._news: dict[int, FlowNews] = {}
        self._telling: asyncio.TimerHandle | None = None

    def configure(self, order: Order) -> None:
        """Have these flows open from now on, and no others."""
        wanted = {flow.number: flow for flow in order.flows}
        for number in [number for number in self._tasks if number not in wanted]:
            self._tasks.pop(number).cancel()
            self._news.pop(number, None)
        if wanted and self._readiness is None:
            self._readiness = Readiness(self._loop)
        new = [flow for number, flow in wanted.items() if number not in self._tasks]
        for place, flow in enumerate(new):
            self._tasks[flow.number] = self._loop.create_task(self._keep(order, flow, place * STAGGER))

    async def close(self) -> None:
        """Close all flows."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._telling is not None:
            self._telling.cancel()
        if self._readiness is not None:
            self._readiness.close()

    async def _keep(self, order: Order, wanted: Wanted, wait: float) -> None:
        await asyncio.sleep(wait)
        assert self._readiness is not None
        flow = _Flow(self._loop, self._readiness, order, wanted, self._tell)
        state, words = FlowState.BROKEN, ""
        try:
            await flow.run()
        except _Ended:
            state, words = FlowState.ENDED, "closed by the server"
        except (ProbeNotSent, PortTaken) as error:
            state, words = FlowState.UNSENT, str(error) or f"source port {wanted.port} is taken"
        except ProbeFailed as failure:
            words = failure.diagnostic
        except TimeoutError:
            words = "no answer"
        except h11.RemoteProtocolError as error:
            words = f"not valid HTTP: {error}"
        except Exception as error:
            # A defect of ours, maybe provoked by one backend: it may cost neither the checks nor the other flows.
            state, words = FlowState.UNSENT, f"defect in the prober: {error!r}"
        finally:
            flow.close()
        if state is FlowState.BROKEN and not flow.opened:
            state = FlowState.FAILED
        self._tell(replace(flow.news, state=state, words=printable(words)))

    def _tell(self, news: FlowNews) -> None:
        self._news[news.number] = news
        if self._telling is None:
            self._telling = self._loop.call_later(NEWS, self._send)

    def _send(self) -> None:
        self._telling = None
        news, self._news = list(self._news.values()), {}
        for message in encode_news(news):
            self._say(message)


class _Flow:
    """One flow from beginning to end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        readiness: Readiness,
        order: Order,
        wanted: Wanted,
        tell: Callable[[FlowNews], None],
    ) -> None:
        self._loop = loop
        self._readiness = readiness
        self._order = order
        self._wanted = wanted
        self._tell = tell
        self._family = socket.AF_INET if wanted.address.version == 4 else socket.AF_INET6
        self._deadline = Deadline(loop, OPENING)
        self._connection: Connection | None = None
        self.opened = False
        self.news = FlowNews(wanted.number, FlowState.OPEN)

    async def run(self) -> None:
        """Open the flow and keep it; ends with an exception that says how it ended."""
        check = self._order.check
        if self._order.protocol is Protocol.UDP:
            assert check is not None, "an order for UDP has a check"
            await self._datagrams(check)
            return
        self._connection = connection = Connection(self._readiness, self._deadline)
        await connection.open(self._family, str(self._wanted.address), self._order.port, self._wanted.port)
        for level, option, value in KEEPALIVE:
            connection.stream.setsockopt(level, option, value)
        if check is None:
            await self._idle(connection)
        else:
            await self._ask(connection, check)

    def close(self) -> None:
        """Let go of it."""
        self._deadline.close()
        if self._connection is not None:
            self._connection.close()

    def _open(self) -> None:
        if not self.opened:
            self.opened = True
            self._tell(self.news)

    def _answered(self, *, well: bool) -> None:
        self._open()
        self.news = replace(self.news, answered=self.news.answered + 1, wrong=self.news.wrong + (not well))
        self._tell(self.news)

    async def _idle(self, connection: Connection) -> None:
        self._open()
        while True:
            await self._pause(connection)

    async def _pause(self, connection: Connection) -> None:
        """Wait for as long as the pace says, and throw away what comes. Raises _Ended."""
        self._deadline.restart(self._order.pace)
        end = self._loop.time() + self._order.pace
        while self._loop.time() < end:
            connection.received, connection.first_byte_ns = 0, 0
            try:
                if not await connection.receive():
                    raise _Ended
            except TimeoutError:
                return
            await asyncio.sleep(0)  # who sends without an end may not keep the others waiting

    async def _ask(self, connection: Connection, check: Check) -> None:
        request, server_name = prepare(check, self._order.vip)
        if check.kind is CheckKind.HTTPS:
            await connection.start_tls(context_of(check, self._order.authority), server_name)
        headers = [(name, value) for name, value in request.headers if name != b"connection"]
        request = h11.Request(method=request.method, target=request.target, headers=headers)
        talk = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        while True:
            self._deadline.restart(max(ANSWER, check.timeout))
            connection.received, connection.first_byte_ns = 0, 0
            await connection.send((talk.send(request) or b"") + (talk.send(h11.EndOfMessage()) or b""))
            status = await self._answer(connection, talk)
            self._answered(well=not check.expect or status in check.expect)
            if talk.our_state is not h11.DONE or talk.their_state is not h11.DONE:
                raise _Ended  # as the answer's headers say
            talk.start_next_cycle()
            await self._pause(connection)

    async def _answer(self, connection: Connection, talk: h11.Connection) -> int:
        """Read a whole answer; return its status."""
        status = interim = size = 0
        while True:
            event = talk.next_event()
            if event is h11.NEED_DATA:
                data = await connection.receive()
                if not data and not connection.first_byte_ns and self.opened:
                    raise _Ended  # RFC 9112 section 9.5: it closed an idle connection while the request was on its way
                talk.receive_data(data)
            elif isinstance(event, h11.Response):
                status = int(event.status_code)
            elif isinstance(event, h11.InformationalResponse) and interim < MAX_INTERIM:
                interim += 1
            elif isinstance(event, h11.Data) and size < MAX_BODY:
                size += len(event.data)
                await self._deadline.breathe()
            elif isinstance(event, h11.EndOfMessage):
                return status
            else:
                raise ProbeFailed(Outcome.WRONG, f"no answer of at most {MAX_BODY} bytes")

    async def _datagrams(self, check: Check) -> None:
        unanswered = 0
        talk = dns.over_udp if check.kind is CheckKind.DNS else udp.converse
        while True:
            self._deadline.restart(check.timeout)
            datagram, began = Datagram(self._readiness, self._deadline), self._loop.time()
            try:
                datagram.open(self._family, str(self._wanted.address), self._order.port, self._wanted.port)
                await talk(datagram, check)
                self._answered(well=True)
                unanswered = 0
            except TimeoutError:
                unanswered += 1
                if unanswered == UNANSWERED:
                    raise
            except ProbeFailed as failure:
                if not datagram.first_byte_ns:
                    raise
                self._answered(well=False)
                self.news = replace(self.news, words=printable(failure.diagnostic))
            finally:
                datagram.close()
            await asyncio.sleep(max(0.0, began + self._order.pace - self._loop.time()))
