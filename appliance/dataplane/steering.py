"""Packets of the prober's that the slots are to steer, as if a client sent them (VC5_PROBE_STEERED in probe.h).

The prober calls a private address that names two things: a service, and the address of the balancer's that a client
would have. That, the port it sends from and the hash say which slot a flow has, so a flow through a wanted backend is
found by trying ports. Where the program sent a flow's last packet stands beside the answer that it expects.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from appliance.dataplane.hashing import flow_hash, mapped, slot_of
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.model.exits import CHOSEN_SHIFT, STEERED, probe_address
from appliance.model import Address, ServiceKey

End = tuple[Address, int]
"""Who answers, as packets from there say: address and port."""


def steered_address(number: int, family: int) -> Address:
    """What the prober calls to be steered, as from the address that destination `number` is probed from."""
    return probe_address(number | STEERED, family)


def ports_to(
    memory: Memory, entry: Entry, owners: Sequence[int], key: ServiceKey, number: int, ports: Iterable[int]
) -> Iterator[int | None]:
    """Yield for each of these ports itself, if a new flow from there belongs to destination `number`, else None.

    `owners` are the service's slots. The flow comes from the address that this destination is probed from.
    """
    own, index, coefficients = memory.address(number, "own"), number - entry.destinations, memory.coefficients()
    for port in ports:
        hashed = flow_hash(coefficients, own, port, key.vip, key.port, int(key.protocol), sticky=entry.sticky)
        yield port if owners[slot_of(hashed, entry.slot_count)] == index else None


def sent_to(find: Callable[[bytes], bytes | None], ends: Iterable[End], port: int, protocol: int) -> int | None:
    """The destination number that the program chose for the last packet of a steered flow from `port`; None: unknown.

    `find` looks up `vc5_answers`; `ends` are those that may answer: the VIP, or behind NAT each backend.
    """
    for address, at in ends:
        key = mapped(address) + at.to_bytes(2, "big") + port.to_bytes(2, "big") + protocol.to_bytes(4, sys.byteorder)
        value = find(key)
        if value is None:
            continue
        word = int.from_bytes(value, sys.byteorder)
        if word & STEERED:
            above = word >> CHOSEN_SHIFT
            return (word & (STEERED - 1)) + above - ((above & 0x8000) << 1)
    return None
