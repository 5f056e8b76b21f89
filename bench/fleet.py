"""What balancers tell each other: engines and sockets alone, over loopback, without data planes.

seal, open      µs of processor time for a full datagram: made and signed; its authentication proved, its number seen
refuse          µs for a datagram of a stranger, by how far it gets: another magic, another key, a wrong MAC
sync            from the start of a node to the last of 100,000 remembered flows that another one has: two processes,
                records made, sent, acknowledged, read. Processor time of either
records         processor time of either while one tells 5,000 new flows a second, of 200 backends, as they come every
                3 ms, and one more hears them
quiet           octets a second that each of three nodes sends when nothing happens, to two peers, headers included
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from ipaddress import IPv4Address
from multiprocessing.connection import Connection

from appliance.fleet.envelope import BODY, OVERHEAD, Keys, Kind
from appliance.fleet.orders import Joined, Learn, Order, Synced
from appliance.fleet.pacing import HEADERS
from appliance.fleet.records import Facts, Flow, Flows, NodeState, Record, TableOf
from appliance.fleet.replay import Window
from appliance.fleet.runner import Runner
from appliance.fleet.session import Exchange
from appliance.model import Protocol
from appliance.model_address import Endpoint, ServiceKey
from appliance.model_fleet import Fleet
from bench.report import Row

KEY = b"a key of the bench, which is no secret"
HOST = IPv4Address("127.0.0.1")
FLOWS = 100_000
RATE = 5_000
"""New flows a second."""
EVERY = 0.003
"""Seconds between two looks for new flows, as a daemon looks."""
SECONDS = 10.0
SERVICES, BACKENDS = 10, 20
"""Of each service."""
REPEAT = 5
DATAGRAMS = 20_000
SYNC_LIMIT = 2000.0
"""ms."""
CPU_LIMIT = 20.0
"""% of a core, on either side."""
IN_VAIN = 60.0
"""Seconds after which what does not happen is an error."""
KEYS = tuple(
    (ServiceKey(IPv4Address("203.0.113.0") + service, 443, Protocol.TCP), IPv4Address("10.1.0.0") + backend)
    for service in range(SERVICES)
    for backend in range(BACKENDS)
)


class Voice:
    """A node that remembers flows, and counts those that it hears of."""

    def __init__(self, flows: int, state: NodeState) -> None:
        self.state_ = state
        self.heard = 0
        self.orders: list[Order] = []
        chance = random.Random(1)
        each = flows // len(KEYS)
        self._flows = [[Flow(chance.getrandbits(64), 900) for _ in range(each)] for _ in KEYS]

    def hello(self) -> Facts:
        """As a daemon does."""
        return Facts("bench", "1.0", self.state_, flows=sum(map(len, self._flows)))

    def state(self, shared: bool) -> Iterator[Record]:
        """As a daemon does."""
        for (service, backend), flows in zip(KEYS, self._flows, strict=True):
            for first in range(0, len(flows) if shared else 0, 256):
                yield Flows(service, backend, tuple(flows[first : first + 256]))

    def table(self, service: ServiceKey) -> TableOf | None:
        """As a daemon does."""
        return None

    def obey(self, order: Order) -> None:
        """As a daemon does, without its tables."""
        if isinstance(order, Learn):
            self.heard += sum(len(record.entries) for record in order.records if isinstance(record, Flows))
        else:
            self.orders.append(order)

    def has(self, kind: type[Order]) -> bool:
        """Whether such an order has come."""
        return any(isinstance(order, kind) for order in self.orders)


def run() -> list[Row]:
    """Measure; returns the rows."""
    return [*_datagrams(), *_refused(), *_two(), *_quiet()]


# ---- one datagram


def _datagrams() -> list[Row]:
    keys, body = Keys((KEY,)), os.urandom(BODY)
    data = [keys.seal(1, number, Kind.RECORDS, body) for number in range(1, DATAGRAMS)]
    window = Window(0)

    def opened() -> None:
        for one in data:
            header = keys.head(one)
            assert not window.knows(header.sequence)
            keys.body(one, header)
            window.add(header.sequence)

    def sealed() -> None:
        for number in range(1, DATAGRAMS):
            keys.seal(1, number, Kind.RECORDS, body)

    labels: dict[str, str | int] = {"octets": BODY + OVERHEAD}
    rows = [Row("fleet-seal", _each(sealed), "µs", labels)]
    window = Window(0)
    return [*rows, Row("fleet-open", _each(opened), "µs", labels)]


def _refused() -> list[Row]:
    exchange = Exchange(_fleet(1, (2,)), Voice(0, NodeState.READY), 1, lambda: 1, 0.0)
    data = Keys((KEY,)).seal(2, 1, Kind.HELLO, bytes(BODY))
    source = Endpoint(HOST, 2)
    kinds = {"magic": b"GET " + data[4:], "key": data[:4] + bytes(4) + data[8:], "mac": data[:-1] + b"\0"}

    def given(one: bytes) -> Callable[[], None]:
        def work() -> None:
            for _ in range(1, DATAGRAMS):
                exchange.received(one, source, 0.0)

        return work

    return [Row("fleet-refuse", _each(given(one)), "µs", {"wrong": name}) for name, one in kinds.items()]


def _each(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) / (DATAGRAMS - 1) * 1e6


# ---- two processes


def _two() -> list[Row]:
    first, second = _free_ports(2)
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    child = multiprocessing.get_context("fork").Process(target=_teller, args=(theirs, first, second), daemon=True)
    child.start()
    theirs.close()
    try:
        with closing(ours):
            return [*_sync(ours, second, first), *_records(ours, second, first)]
    finally:
        child.join(5.0)
        if child.is_alive():
            child.kill()
            child.join()


def _teller(pipe: Connection, port: int, peer: int) -> None:
    """Be the node that tells; each word that comes is answered with the processor time used since the one before."""
    loop = asyncio.new_event_loop()
    voice = Voice(FLOWS, NodeState.READY)
    runner = _runner(loop, voice, port, (peer,))
    chance = random.Random(2)
    before = 0.0

    def answer() -> None:
        nonlocal before
        now = time.process_time()
        pipe.send(now - before)
        before = now

    def tell(left: int, at: float) -> None:
        some: dict[tuple[ServiceKey, IPv4Address], list[Flow]] = {}
        for _ in range(int(RATE * EVERY)):
            some.setdefault(chance.choice(KEYS), []).append(Flow(chance.getrandbits(64), 900))
        runner.publish([Flows(service, backend, tuple(flows)) for (service, backend), flows in some.items()])
        if left > 1:
            loop.call_at(at + EVERY, tell, left - 1, at + EVERY)
        else:
            answer()

    def asked() -> None:
        try:
            word = pipe.recv()
        except EOFError:
            loop.stop()
            return
        if word == "tell":
            answer()
            tell(int(SECONDS / EVERY), loop.time())
        else:
            answer()

    loop.add_reader(pipe.fileno(), asked)
    loop.run_forever()
    runner.close()
    loop.close()


def _sync(pipe: Connection, port: int, peer: int) -> list[Row]:
    taken, told, heard = [], [], []
    for _ in range(REPEAT):
        _ask(pipe, "cpu")
        loop = asyncio.new_event_loop()
        voice = Voice(0, NodeState.LEARNING)
        used, began = time.process_time(), loop.time()
        runner = _runner(loop, voice, port, (peer,))
        _until(loop, lambda voice=voice: voice.has(Synced))  # type: ignore[misc]
        taken.append((loop.time() - began) * 1e3)
        heard.append((time.process_time() - used) * 1e3)
        runner.stop()
        loop.close()
        told.append(_ask(pipe, "cpu") * 1e3)
        if voice.heard != FLOWS:
            raise ValueError(f"{voice.heard} of {FLOWS} flows have come")
    labels: dict[str, str | int] = {"flows": FLOWS}
    more = {"least": min(taken), "median": statistics.median(taken), "samples": REPEAT}
    return [
        Row("fleet-sync", max(taken), "ms", labels, limit=SYNC_LIMIT, more=more),
        Row("fleet-sync-cpu", statistics.median(told), "ms", {**labels, "side": "tells"}),
        Row("fleet-sync-cpu", statistics.median(heard), "ms", {**labels, "side": "hears"}),
    ]


def _records(pipe: Connection, port: int, peer: int) -> list[Row]:
    loop = asyncio.new_event_loop()
    voice = Voice(0, NodeState.LEARNING)
    runner = _runner(loop, voice, port, (peer,))
    _until(loop, lambda: voice.has(Synced))
    before, used = voice.heard, time.process_time()
    began = loop.time()
    _ask(pipe, "tell")
    wanted = before + int(SECONDS / EVERY) * int(RATE * EVERY)
    _until(loop, lambda: voice.heard >= wanted)
    heard, seconds = time.process_time() - used, loop.time() - began
    told = pipe.recv()
    counters = runner.exchange.counters
    runner.stop()
    loop.close()
    if voice.heard != wanted:
        raise ValueError(f"{voice.heard - before} flows have come, and {wanted - before} were told")
    labels: dict[str, str | int] = {"records_s": RATE, "backends": SERVICES * BACKENDS}
    more = {"seconds": seconds, "lost": counters.lost, "heard": counters.heard[Kind.RECORDS]}
    return [
        Row("fleet-records-cpu", told / SECONDS * 100, "% of a core", {**labels, "side": "tells"}, limit=CPU_LIMIT),
        Row(
            *("fleet-records-cpu", heard / seconds * 100, "% of a core", {**labels, "side": "hears"}),
            limit=CPU_LIMIT,
            more=more,
        ),
    ]


def _ask(pipe: Connection, word: str) -> float:
    pipe.send(word)
    answer: float = pipe.recv()
    return answer


# ---- nothing happens


def _quiet() -> list[Row]:
    loop = asyncio.new_event_loop()
    ports = _free_ports(3)
    voices = [Voice(0, NodeState.READY) for _ in ports]
    runners = [
        _runner(loop, voice, port, [one for one in ports if one != port])
        for voice, port in zip(voices, ports, strict=True)
    ]
    _until(loop, lambda: all(sum(isinstance(one, Joined) for one in voice.orders) == 2 for voice in voices))
    loop.run_until_complete(asyncio.sleep(2.0))
    before = [_sent(runner) for runner in runners]
    loop.run_until_complete(asyncio.sleep(SECONDS))
    each = [(_sent(runner) - sent) / SECONDS for runner, sent in zip(runners, before, strict=True)]
    for runner in runners:
        runner.stop()
    loop.close()
    return [Row("fleet-quiet", max(each), "octets/s", {"nodes": len(ports)})]


def _sent(runner: Runner) -> int:
    counters = runner.exchange.counters
    return counters.sent_octets + HEADERS * sum(counters.sent.values())


# ---- nodes


def _fleet(port: int, peers: Sequence[int]) -> Fleet:
    return Fleet((KEY,), tuple(Endpoint(HOST, peer) for peer in peers), None, HOST, port)


def _runner(loop: asyncio.AbstractEventLoop, voice: Voice, port: int, peers: Sequence[int]) -> Runner:
    fleet = _fleet(port, peers)
    life = int.from_bytes(os.urandom(8))
    exchange = Exchange(fleet, voice, life, lambda: int.from_bytes(os.urandom(8)), loop.time())
    runner = Runner(fleet, exchange, loop, voice.obey)
    runner.start()
    return runner


def _until(loop: asyncio.AbstractEventLoop, look: Callable[[], bool]) -> None:
    async def looking() -> None:
        while not look():
            await asyncio.sleep(0.001)

    loop.run_until_complete(asyncio.wait_for(looking(), IN_VAIN))


def _free_ports(count: int) -> list[int]:
    ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for end in ends:
        end.bind((str(HOST), 0))
    ports = [end.getsockname()[1] for end in ends]
    for end in ends:
        end.close()
    return ports
