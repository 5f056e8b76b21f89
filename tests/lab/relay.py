"""A switch that treats datagrams badly: `python -m tests.lab.relay --seed 1 x1 x2 x3`, for its own interfaces.

It passes frames from one interface to the others, by the MACs that it has seen, and treats those with UDP as it is told
(tests.lab.impairment); others, such as ARP, arrive. Between two interfaces that are cut nothing does.

Commands, each answered by `status`: `impair {"drop": 0.1, ...}`; `cut x1 x2`, in both directions; `reflect`, which
gives datagrams to a group back to their sender as well; `mend`; `status`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
from dataclasses import asdict, dataclass
from functools import partial

from tests.lab.dialogue import commands, emit
from tests.lab.impairment import GOOD, Chance, Impairment

ETH_P_ALL = 3  # include/uapi/linux/if_ether.h
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23  # include/linux/socket.h, include/uapi/linux/if_packet.h
SO_RCVBUFFORCE = 33  # include/uapi/asm-generic/socket.h; absent from Python's socket module
LONGEST = 1 << 16
RECEIVE_BUFFER = 8 << 20
ETHERNET = struct.Struct("!6s6sH")
IPV4, IPV6, UDP = 0x0800, 0x86DD, 17
PROTOCOL_AT = {IPV4: ETHERNET.size + 9, IPV6: ETHERNET.size + 6}
MULTICAST = 1
"""The bit of a MAC's first byte that says group or broadcast."""


@dataclass
class Passed:
    """The account of the datagrams of one direction."""

    source: str
    destination: str
    datagrams: int = 0
    bytes: int = 0
    """Of whole frames; both count what came in for this direction, whatever became of it."""
    lost: int = 0
    doubled: int = 0
    late: int = 0
    cut: int = 0


def is_datagram(frame: bytes) -> bool:
    """Whether a frame carries UDP, over IPv4 or IPv6 without extension headers."""
    if len(frame) < ETHERNET.size:
        return False
    at = PROTOCOL_AT.get(ETHERNET.unpack_from(frame)[2])
    return at is not None and len(frame) > at and frame[at] == UDP


class Relay:
    """All interfaces."""

    def __init__(self, interfaces: list[str], seed: int) -> None:
        self.impairment = GOOD
        self.cut: set[frozenset[str]] = set()
        self.reflects = False
        self._ports = {name: self._listen(name) for name in interfaces}
        self._places: dict[bytes, str] = {}
        pairs = [(one, other) for one in interfaces for other in interfaces if one != other]
        self._chances = {pair: Chance(seed, *pair) for pair in pairs}
        self._passed = {pair: Passed(*pair) for pair in pairs}

    def account(self) -> list[dict[str, object]]:
        """Return the accounts of all directions."""
        return [asdict(passed) for passed in self._passed.values()]

    def _listen(self, name: str) -> socket.socket:
        port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        port.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        port.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        port.bind((name, ETH_P_ALL))
        port.setblocking(False)
        asyncio.get_running_loop().add_reader(port, self._receive, name)
        return port

    def _receive(self, name: str) -> None:
        while True:
            try:
                frame = self._ports[name].recv(LONGEST)
            except BlockingIOError:
                return
            except OSError:
                return  # the cable was pulled
            if len(frame) < ETHERNET.size:
                continue
            destination, source, _ = ETHERNET.unpack_from(frame)
            self._places[source] = name
            group = destination[0] & MULTICAST
            place = None if group else self._places.get(destination)
            if group and self.reflects and is_datagram(frame):
                self._send(name, frame)
            for other in [place] if place else self._ports:
                if other != name:
                    self._pass(frame, name, other)

    def _pass(self, frame: bytes, source: str, destination: str) -> None:
        """Pass a frame on in one direction, or not."""
        passed = self._passed[source, destination]
        cut, datagram = frozenset((source, destination)) in self.cut, is_datagram(frame)
        if not datagram:
            if not cut:
                self._send(destination, frame)
            return
        passed.datagrams += 1
        passed.bytes += len(frame)
        if cut:
            passed.cut += 1
            return
        copies = self._chances[source, destination].fate(self.impairment)
        if 0 < self.impairment.longest < len(frame):
            copies = ()
        passed.lost += not copies
        passed.doubled += len(copies) > 1
        passed.late += bool(copies) and copies[0] > self.impairment.delay
        for seconds in copies:
            if seconds:
                asyncio.get_running_loop().call_later(seconds, partial(self._send, destination, frame))
            else:
                self._send(destination, frame)

    def _send(self, name: str, frame: bytes) -> None:
        try:
            self._ports[name].send(frame)
        except OSError:
            pass  # the cable was pulled, or the queue is full, as on any network


async def run(interfaces: list[str], seed: int) -> None:
    """Pass frames until told to stop."""
    relay = Relay(interfaces, seed)
    emit("ready")
    async for command in commands():
        verb, _, rest = command.partition(" ")
        if verb == "impair":
            relay.impairment = Impairment(**json.loads(rest))
        elif verb == "cut":
            relay.cut.add(frozenset(rest.split()))
        elif verb == "reflect":
            relay.reflects = True
        elif verb == "mend":
            relay.cut.clear()
            relay.reflects = False
        emit("status", passed=relay.account())
    emit("report", passed=relay.account())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.relay", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("interfaces", nargs="+")
    given = parser.parse_args()
    asyncio.run(run(given.interfaces, given.seed))


if __name__ == "__main__":
    main()
