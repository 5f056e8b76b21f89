"""Packets to backends behind NAT, and what those send: answers to clients, errors about what clients sent, fragments.

What is recognised of what they send leaves by the host's routes, from the VIP; all the rest is the host's, as it came.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from appliance.dataplane.enums import Reason
from appliance.dataplane.memory import Memory
from appliance.dataplane.model import errors, nat, packet
from appliance.dataplane.model.exits import Exit, leaving
from appliance.dataplane.model.fragments import Fragments
from appliance.dataplane.model.nat import Routes, Way
from appliance.dataplane.model.packet import Ip, Transport
from appliance.dataplane.returns import endpoint

Send = Callable[[bytes, Ip, int, bytes], Exit]
"""Sends a translated packet out by a leg, to and from these MAC addresses."""
Note = Callable[..., None]
"""Notes for the next program where the parts of the packet are."""


class Behind:
    """What the program does for them, over some tables. The callables are the model's own."""

    def __init__(
        self,
        memory: Memory,
        routes: Routes,
        fragments: Fragments,
        count: Callable[[Reason], None],
        note: Note,
        send: Send,
    ) -> None:
        self._memory = memory
        self._routes = routes
        self._fragments = fragments
        self._count = count
        self._note = note
        self._send = send

    def translated(self, frame: bytes, ip: Ip, number: int, about: errors.Flow | None) -> bytes:
        """A packet on its way to a backend; while a service changes to NAT there may be no port yet."""
        identities, transport = self._memory.identities, packet.read_transport(frame, ip)
        backend = self._memory.backend(number)
        mapped = int.from_bytes(identities.bytes_of(number, "mapped", 2), "big")
        if about:
            self._note(number, transport=ip.header, inner=about.inner, protocol=about.ip.protocol)
        elif ip.fragment:
            self._note(number, transport=0 if ip.offset else ip.header, protocol=ip.protocol)
        if not mapped:
            return frame
        if about:
            return nat.error_translated(frame, ip, about, backend, mapped, source=True)
        if not isinstance(transport, Transport):
            return nat.readdressed(frame, ip, backend, source=False)
        most = 0 if ip.fragment else identities.get(number, "clamp")
        return nat.translated(frame, ip, transport, backend, mapped, source=False, most=most)

    def receive(self, frame: bytes, ip: Ip, transport: Transport | Reason) -> Exit | None:
        """What becomes of a packet that concerns no VIP; None where it is no backend's answer to a client."""
        if ip.fragment and ip.fits(frame):
            return self._fragment(frame, ip, transport)
        if transport is Reason.PROTOCOL and ip.is_icmp:
            return self._error(frame, ip)
        number = self._sender(ip, transport)
        if number is None or self._memory.address(number, "own") == ip.destination:
            return None
        assert isinstance(transport, Transport)
        return self._refused(frame, ip, number) or self._give_back(frame, ip, number, transport)

    def _sender(self, ip: Ip, transport: Transport | Reason) -> int | None:
        if isinstance(transport, Reason):
            return None
        return self._memory.returns.get(endpoint(ip.source, transport.source_port, ip.protocol))

    def _fragment(self, frame: bytes, ip: Ip, transport: Transport | Reason) -> Exit:
        number = self._fragments.recall(ip) if ip.offset else self._sender(ip, transport)
        if not number or (ip.offset and not self._is_from(ip, number)):
            return leaving(Reason.NOT_VIP, frame)
        if refused := self._refused(frame, ip, number):
            return refused
        if ip.offset:
            self._count(Reason.FRAGMENT_FOLLOWED)
        else:
            self._fragments.remember(ip, number)
        self._note(number, transport=0 if ip.offset else ip.header, protocol=ip.protocol, back=1)
        return self._give_back(frame, ip, number, transport if isinstance(transport, Transport) else None)

    def _is_from(self, ip: Ip, number: int) -> bool:
        """Whether a destination is behind NAT, and its address is the packet's source."""
        mapped = any(self._memory.identities.bytes_of(number, "mapped", 2))
        return mapped and self._memory.backend(number) == ip.source

    def _error(self, frame: bytes, ip: Ip) -> Exit | None:
        """An error about a packet that a client sent to a service, and that went to this backend, or towards it.

        None for all other ICMP.
        """
        self._note(None, transport=ip.header)
        flow = errors.concerned(frame, ip) if ip.room >= packet.ICMP_HEADER else None
        number = None
        if flow:
            quoted = endpoint(flow.ip.source, flow.transport.source_port, flow.ip.protocol)
            number = self._memory.returns.get(quoted)
        if flow is None or number is None:
            return None
        if refused := self._refused(frame, ip, number):
            return refused if refused.reason is not Reason.NOT_VIP else None
        self._note(number, transport=ip.header, inner=flow.inner, protocol=flow.ip.protocol, back=1)
        return self._give_back(frame, ip, number, None, flow)

    def _refused(self, frame: bytes, ip: Ip, number: int) -> Exit | None:
        mine = frame[:6] == self._memory.destinations.bytes_of(number, "mac_head", 12)[6:]
        if not mine or self._memory.address(number, "own") == ip.destination:
            return leaving(Reason.NOT_VIP, frame)
        return leaving(Reason.TTL, frame, number) if ip.ttl <= 1 else None

    def _give_back(
        self, frame: bytes, ip: Ip, number: int, transport: Transport | None, about: errors.Flow | None = None
    ) -> Exit:
        route = self._routes(ip.destination)
        if route.way is Way.LOCAL:
            return leaving(Reason.NOT_VIP, frame)
        if route.way is Way.NONE or ip.length > route.mtu:
            return leaving(Reason.NO_ROUTE, frame)
        identities = self._memory.identities
        vip, port, most = self._memory.address(number, "vip"), identities.get(number, "port"), 0
        if about:
            frame = nat.error_translated(frame, ip, about, vip, port, source=False)
        elif transport is None:
            frame = nat.readdressed(frame, ip, vip, source=True)
        else:
            most = 0 if ip.fragment else identities.get(number, "clamp")
            frame = nat.translated(frame, ip, transport, vip, port, source=True, most=most)
        leg = self._memory.outlets.get(route.interface.to_bytes(4, sys.byteorder), 0)
        if route.way is Way.UNRESOLVED or not leg:
            return leaving(Reason.NO_ROUTE, frame)
        return self._send(packet.one_hop_less(frame, ip), ip, leg, route.macs)
