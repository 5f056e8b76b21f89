"""Clients that send real frames through the model of the program, and know where each of their flows belongs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from appliance.dataplane import lookup
from appliance.dataplane.enums import Reason, State
from appliance.dataplane.frame import Flow, build
from appliance.dataplane.memory import Memory
from appliance.dataplane.model import Model
from appliance.model import Address, Protocol, ServiceKey

SYN, ACK, FIN = 2, 16, 1
MACS = bytes.fromhex("020000000010"), bytes.fromhex("020000000099")


def flow(key: ServiceKey, number: int, host: int = 0) -> Flow:
    """Client flow number 0 to 50,000 of a service."""
    return Flow(key.protocol, IPv4Address("198.51.100.1") + host, 10_000 + number, IPv4Address(int(key.vip)), key.port)


def key_of(one: Flow) -> ServiceKey:
    """The service that a flow is for."""
    return ServiceKey(one.vip, one.vip_port, one.protocol)


@dataclass
class Clients:
    """Packets of flows through tables. `owners` are the established flows, with their backends."""

    memory: Memory
    owners: dict[Flow, Address] = field(default_factory=dict)
    model: Model = field(init=False)

    def __post_init__(self) -> None:
        self.model = Model(self.memory)

    def send(self, one: Flow, flags: int = ACK) -> Address | None:
        """The backend that gets a packet of a flow; None where it gets to none."""
        left = self.model.receive(build(one, destination=MACS[0], source=MACS[1], tcp_flags=flags))
        return self.memory.backend(left.destination) if left.reason is Reason.FORWARD else None

    def open(self, one: Flow) -> Address | None:
        """Begin a flow with two packets; both reach the same backend, which from now on is its owner."""
        first = self.send(one, SYN)
        assert self.send(one) == first, f"{one} begins at {first} and does not stay there"
        self.owners.pop(one, None)
        if first is not None:
            self.owners[one] = first
        return first

    def open_many(self, key: ServiceKey, numbers: Iterable[int]) -> None:
        """Begin many flows."""
        for number in numbers:
            assert self.open(flow(key, number)) is not None

    def lost(self, flows: Iterable[Flow] | None = None) -> list[tuple[Flow, Address, Address | None]]:
        """Let flows (all of them, if not said) send a packet; return those that reached another backend than theirs.

        Flows of dead and removed backends are forgotten.
        """
        found = []
        for one in list(self.owners if flows is None else flows):
            owner = self.owners[one]
            if not self.lives(key_of(one), owner):
                del self.owners[one]
                continue
            to = self.send(one)
            if to != owner:
                found.append((one, owner, to))
        return found

    def lives(self, key: ServiceKey, owner: Address) -> bool:
        """Whether a backend of a service may still receive something."""
        return self.states(key).get(owner, State.DEAD) >= State.DRAINING

    def states(self, key: ServiceKey) -> Mapping[Address, State]:
        """What the backends of a service may receive, as the tables say."""
        entry, identities = lookup.entries(self.memory).get(key), self.memory.identities
        if entry is None:
            return {}
        return {
            self.memory.backend(number): self.memory.state(number)
            for number in range(entry.destinations, entry.destinations + entry.capacity)
            if identities.get(number, "used") and not identities.get(number, "freed")
        }

    def speaks(self, protocol: Protocol) -> list[Flow]:
        """The established flows of a protocol."""
        return [one for one in self.owners if one.protocol is protocol]
