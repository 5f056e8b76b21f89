"""Traffic through the VIP, as processes in the client's namespace that the test starts, questions and stops.

    with LongFlows(lab.client, busy=200, idle=50) as flows:
        ...                                   the test does things to the balancer meanwhile
        flows.status().broken                 at any time
        report = flows.stop()                 every flow says good-bye and compares sums
        assert not report.broken

The tools are tests.lab.{flows, sessions, datagrams, requests}; they talk as tests.lab.dialogue says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from tests.lab.addresses import CLIENT_ADDRESSES, ECHO, HTTP, HTTPS, VIP
from tests.lab.datagrams import DatagramRecord
from tests.lab.flows import FlowRecord
from tests.lab.namespace import Namespace
from tests.lab.requests import RequestRecord
from tests.lab.tool import Tool, options_of

# ---- long TCP flows


@dataclass(frozen=True)
class FlowReport:
    """The accounts of all long flows at one moment."""

    flows: tuple[FlowRecord, ...]

    @property
    def broken(self) -> list[FlowRecord]:
        """The flows that broke; must be empty while their backends live."""
        return [flow for flow in self.flows if flow.state == "broken"]

    @property
    def longest_stall(self) -> float:
        """Seconds of the longest wait for an answer on any flow."""
        return max((flow.longest_stall for flow in self.flows), default=0.0)

    def by_backend(self) -> dict[str, list[FlowRecord]]:
        """Return the flows of each backend that greeted."""
        names = sorted({flow.backend for flow in self.flows if flow.backend})
        return {name: [flow for flow in self.flows if flow.backend == name] for name in names}


class LongFlows(Tool):
    """TCP connections that stay: `busy` ones always talking, `idle` ones that speak only at the end."""

    MODULE = "flows"

    def __init__(
        self,
        client: Namespace,
        *,
        busy: int = 200,
        idle: int = 50,
        vip: IPv4Address | IPv6Address | str = VIP,
        port: int = ECHO,
        interval: float = 0.2,
        patience: float = 15.0,
        alternate: float = 0.05,
        sources: Iterable[IPv4Address | IPv6Address] = CLIENT_ADDRESSES,
    ) -> None:
        """Open the flows and return when each is greeted (or broken); times are seconds, see tests.lab.flows."""
        options = options_of(
            vip, port, sources, busy=busy, idle=idle, interval=interval, patience=patience, alternate=alternate
        )
        super().__init__(client, self.MODULE, *options)
        self._patience = patience
        try:
            self.opened = self._report("ready")
        except BaseException:
            self.close()
            raise

    def _report(self, event: str) -> FlowReport:
        rows = self.expect(event, self._patience + 15)["flows"]
        return FlowReport(tuple(FlowRecord(**row) for row in rows))

    def status(self) -> FlowReport:
        """Return the accounts so far."""
        self.tell("status")
        return self._report("status")

    def more(self, count: int) -> FlowReport:
        """Open more busy flows, wait for their greetings, and return all accounts."""
        self.begin_more(count)
        return self.opened_more()

    def begin_more(self, count: int, seconds: float = 0.0) -> None:
        """Open more busy flows, evenly over so many seconds; to be followed by `opened_more`."""
        self.tell(f"more {count} {seconds}")

    def opened_more(self) -> FlowReport:
        """Wait for the greetings of those, and return all accounts."""
        return self._report("opened")

    def stop(self) -> FlowReport:
        """Let every flow finish, compare sums, and return the final accounts."""
        self.tell("stop")
        return self._report("report")


class Sessions(LongFlows):
    """UDP flows that only the backend which has heard their beginning answers, as those of QUIC are."""

    MODULE = "sessions"


# ---- UDP flows


@dataclass(frozen=True)
class DatagramReport:
    """The accounts of all UDP flows at one moment."""

    flows: tuple[DatagramRecord, ...]

    @property
    def asked(self) -> int:
        return sum(flow.asked for flow in self.flows)

    @property
    def answered(self) -> int:
        return sum(flow.answered for flow in self.flows)

    @property
    def corrupt(self) -> int:
        return sum(flow.corrupt for flow in self.flows)

    @property
    def lost_at(self) -> list[float]:
        """When each lost question was asked, ascending."""
        return sorted(at for flow in self.flows for at in flow.lost_at)

    @property
    def moved(self) -> list[DatagramRecord]:
        """The flows that were answered by more than one backend."""
        return [flow for flow in self.flows if len(flow.backends) > 1]

    def backends(self) -> Counter[str]:
        """Return how many flows each backend answered last."""
        return Counter(flow.backends[-1][1] for flow in self.flows if flow.backends)


class UdpFlows(Tool):
    """UDP flows that ask and are answered all the time."""

    def __init__(
        self,
        client: Namespace,
        *,
        count: int = 50,
        vip: IPv4Address | IPv6Address | str = VIP,
        port: int = ECHO,
        interval: float = 0.1,
        patience: float = 1.0,
        alternate: float = 0.05,
        sources: Iterable[IPv4Address | IPv6Address] = CLIENT_ADDRESSES,
    ) -> None:
        """Start the flows and return when each has asked once; times are seconds, see tests.lab.datagrams."""
        options = options_of(vip, port, sources, count=count, interval=interval, patience=patience, alternate=alternate)
        super().__init__(client, "datagrams", *options)
        self._limit = patience + 15
        try:
            self.expect("ready", self._limit)
        except BaseException:
            self.close()
            raise

    def _report(self, event: str) -> DatagramReport:
        rows = self.expect(event, self._limit)["flows"]
        records = [DatagramRecord(**{**row, "backends": [(at, name) for at, name in row["backends"]]}) for row in rows]
        return DatagramReport(tuple(records))

    def status(self) -> DatagramReport:
        """Return the accounts so far."""
        self.tell("status")
        return self._report("status")

    def stop(self) -> DatagramReport:
        """Stop and return the final accounts."""
        self.tell("stop")
        return self._report("report")


# ---- HTTP requests and downloads


@dataclass(frozen=True)
class RequestReport:
    """The accounts of all requests at one moment, in the order in which they began."""

    requests: tuple[RequestRecord, ...]

    @property
    def done(self) -> list[RequestRecord]:
        """The requests that are over, well or badly."""
        return [request for request in self.requests if request.done]

    @property
    def running(self) -> list[RequestRecord]:
        """The requests under way; `backend` is known once its answer has begun."""
        return [request for request in self.requests if not request.done]

    @property
    def failed(self) -> list[RequestRecord]:
        """The requests that failed, with their `failure`."""
        return [request for request in self.requests if request.failure]

    def backends(self) -> Counter[str]:
        """Return how many requests each backend answered well."""
        return Counter(request.backend for request in self.done if not request.failure)

    def since(self, at: float) -> RequestReport:
        """Return the requests that began at `at` (time.monotonic) or later."""
        return RequestReport(tuple(request for request in self.requests if request.began >= at))

    def detection(self, at: float) -> float:
        """Return the seconds from `at` (time.monotonic) to the beginning of the last request that failed; 0 if none."""
        return max((request.began - at for request in self.since(at).failed), default=0.0)

    def slowest(self) -> float:
        """Return the seconds of the slowest request that went well."""
        return max((request.seconds for request in self.done if not request.failure), default=0.0)


class Requests(Tool):
    """HTTP requests, each on a connection of its own."""

    def __init__(
        self,
        client: Namespace,
        *,
        path: str = "/",
        rate: float = 100.0,
        together: int = 100,
        count: int = 0,
        timeout: float = 2.0,
        tls: bool = False,
        vip: IPv4Address | IPv6Address | str = VIP,
        port: int = 0,
        alternate: float = 0.05,
        sources: Iterable[IPv4Address | IPv6Address] = CLIENT_ADDRESSES,
    ) -> None:
        """Begin at once; `port` 0 is 80, or 443 with `tls`; times are seconds, see tests.lab.requests."""
        options = options_of(
            vip,
            port or (HTTPS if tls else HTTP),
            sources,
            path=path,
            rate=rate,
            together=together,
            count=count,
            timeout=timeout,
            alternate=alternate,
        )
        super().__init__(client, "requests", *options, *(["--tls"] if tls else []))
        self._limit = timeout + 15
        self._duration = count / rate + timeout * (1 + count / together) if count else 0.0
        try:
            self.expect("ready", self._limit)
        except BaseException:
            self.close()
            raise

    def _report(self, event: str, seconds: float) -> RequestReport:
        rows = self.expect(event, seconds)["requests"]
        return RequestReport(tuple(RequestRecord(**row) for row in rows))

    def status(self) -> RequestReport:
        """Return the accounts so far."""
        self.tell("status")
        return self._report("status", self._limit)

    def stop(self) -> RequestReport:
        """Begin no more, wait for the requests under way, and return the final accounts."""
        self.tell("stop")
        return self._report("report", self._limit)

    def finish(self) -> RequestReport:
        """Wait until all of `count` are over and return the final accounts."""
        return self._report("report", self._limit + self._duration)
