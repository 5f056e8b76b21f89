"""Every verdict of the program, with its reason and its counters.

No frame leaves without being counted: a forwarded one by its destination, every other by its reason, and as a drop of
its destination where that is known.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from appliance.dataplane import lookup
from appliance.dataplane.abi import PROBE_PREFIX, REASON_STRIDE
from appliance.dataplane.enums import DeadPolicy, Reason, Refusal
from appliance.dataplane.legs import network16
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.model import nat, packet
from appliance.dataplane.model.nat import Routes, Way, nowhere
from appliance.dataplane.model.packet import ICMP, ICMP6, RST, Ip, Transport
from appliance.dataplane.model.tracking import Tracking
from appliance.dataplane.returns import endpoint
from appliance.model import Address, Mode

PROBE_NET = 10
"""Destination number N is 10.0.0.0 + N to the prober."""
_WORD = (1 << 64) - 1


class Action(Enum):
    """What becomes of a frame: to the host, nowhere, back out of its interface, or out of another one."""

    PASS = "pass"
    DROP = "drop"
    TX = "tx"
    REDIRECT = "redirect"


ACTIONS = {
    **dict.fromkeys(
        (
            Reason.NOT_IP,
            Reason.NOT_VIP,
            Reason.TAGGED,
            Reason.UNTAGGED,
            Reason.QINQ,
            Reason.VIP_SOURCE,
            Reason.NEIGHBOUR,
            Reason.NO_ROUTE,
        ),
        Action.PASS,
    ),
    **dict.fromkeys((Reason.FORWARD, Reason.ECHO, Reason.RETURN), Action.TX),
    **dict.fromkeys((Reason.PROBE_SENT, Reason.PROBE_ANSWER), Action.REDIRECT),
}
"""What follows from a reason; a drop from all others, but for UNKNOWN_PORT and RESET, which have two outcomes."""


@dataclass(frozen=True)
class Exit:
    """How a frame left. `destination` is a number, 0 where none is known; `interface` an index, for REDIRECT."""

    action: Action
    reason: Reason
    destination: int
    frame: bytes
    interface: int = 0


class AnswerKey(NamedTuple):
    """The answer that a probe waits for: where it comes from (behind NAT the backend), and the port it goes to."""

    vip: Address
    vip_port: int
    own_port: int
    protocol: int


class Model:
    """The program over some tables. `answers` maps what probes wait for to their destinations, and behind NAT, above 32
    bits, to the port that the prober called, in network order. `routes` is what the host's tables say.

    The program's table of answers is bounded and forgets the least recently used; here none is forgotten.
    """

    def __init__(self, memory: Memory, routes: Routes = nowhere) -> None:
        self.memory = memory
        self._routes = routes
        self.answers: dict[AnswerKey, int] = {}
        self._tracking = Tracking(memory, self._count)
        self._cpu = 0
        self._known = b""
        self._services: dict[tuple[Address, int, int], Entry] = {}
        self._vips: dict[Address, bool] = {}
        self._interface = 0

    def receive(self, frame: bytes, cpu: int = 0, interface: int = 1) -> Exit:
        """What the program on one of the balancer's interfaces (its index) does with a frame that a CPU receives."""
        self._begin(cpu)
        self._interface = interface
        return self._leave(self._steer(frame))

    def probe(self, frame: bytes, cpu: int = 0) -> Exit:
        """What the program on the probe veth does with a frame of the prober's."""
        self._begin(cpu)
        return self._leave(self._send_probe(frame))

    def slot(self, frame: bytes) -> int | None:
        """The slot, counted over all services, that the packet in a frame belongs to; None where it has no service."""
        self._begin(self._cpu)
        ip = self._ip(frame, self._layer2(frame))
        transport = packet.read_transport(frame, ip) if ip else Reason.MALFORMED
        if ip is None or isinstance(transport, Reason):
            return None
        service = self._service(ip, transport)
        return self._tracking.slot(service, ip, transport)[0] if service else None

    def _begin(self, cpu: int) -> None:
        """Read which services and VIPs there are, where that has changed."""
        self._cpu = cpu
        raw = self.memory.raw
        known = b"".join((raw["vc5_settings"], raw["vc5_lookup"], raw["vc5_services"], raw["vc5_vips"]))
        if known != self._known:
            self._known = known
            self._services = {
                (key.vip, key.port, int(key.protocol)): entry for key, entry in lookup.entries(self.memory).items()
            }
            self._vips = lookup.vips(self.memory)

    def _layer2(self, frame: bytes) -> int:
        """Length of the layer-2 header of a frame that is looked into, 0 for others."""
        shape, tags = self.memory.shape, (packet.TAG, packet.SERVICE_TAG)
        if len(frame) < packet.ETHERNET:
            return 0
        kind = packet.number(frame, 12)
        if shape.tagged and kind == packet.TAG and len(frame) >= packet.ETHERNET + packet.TAG_LENGTH:
            return packet.ETHERNET + packet.TAG_LENGTH if packet.number(frame, 14) & 0x0FFF else 0
        return packet.ETHERNET if kind not in tags and (shape.mixed or not shape.tagged) else 0

    def _ip(self, frame: bytes, l2: int) -> Ip | None:
        kind = packet.number(frame, l2 - 2) if l2 else 0
        if kind == packet.IPV6 and self.memory.shape.ipv6:
            return packet.read_ipv6(frame, l2)
        return packet.read_ip(frame, l2) if kind == packet.IPV4 else None

    def _steer(self, frame: bytes) -> Exit:
        if len(frame) < packet.ETHERNET:
            return _exit(Reason.MALFORMED, frame)
        l2 = self._layer2(frame)
        kind = packet.number(frame, l2 - 2) if l2 else 0
        if kind != packet.IPV4 and (kind != packet.IPV6 or not self.memory.shape.ipv6):
            return _exit(self._not_ours(frame), frame)
        ip = self._ip(frame, l2)
        if ip is None:
            return _exit(Reason.MALFORMED, frame)
        if ip.destination in self._vips:
            return self._to_vip(frame, ip)
        if ip.source in self._vips:
            return self._from_vip(frame, ip)
        return self._from_backend(frame, ip) if self.memory.shape.nat else _exit(Reason.NOT_VIP, frame)

    def _not_ours(self, frame: bytes) -> Reason:
        """Why a frame is passed without a look at what it holds."""
        shape, tags, families = self.memory.shape, (packet.TAG, packet.SERVICE_TAG), (packet.IPV4, packet.IPV6)
        kind = packet.number(frame, 12)
        whole = len(frame) >= packet.ETHERNET + packet.TAG_LENGTH
        inner = packet.number(frame, 16) if whole else 0
        if kind == packet.SERVICE_TAG or (kind == packet.TAG and inner in tags):
            return Reason.QINQ
        if kind == packet.TAG and not shape.tagged:
            return Reason.TAGGED
        if kind == packet.TAG and inner in families:
            return Reason.NOT_VIP if packet.number(frame, 14) & 0x0FFF else Reason.UNTAGGED
        if kind in families and shape.tagged and not shape.mixed:
            return Reason.UNTAGGED
        return Reason.NOT_VIP if kind == packet.IPV6 else Reason.NOT_IP

    def _to_vip(self, frame: bytes, ip: Ip) -> Exit:
        transport = packet.read_transport(frame, ip)
        if transport is Reason.PROTOCOL and ip.protocol == (ICMP if ip.family == 4 else ICMP6):
            return self._icmp(frame, ip) if ip.family == 4 else self._icmp6(frame, ip)
        if isinstance(transport, Reason):
            return _exit(transport, frame)
        service = self._service(ip, transport)
        if service is None:
            passes = self.memory.settings.get(0, "pass_unknown_port")
            return Exit(Action.PASS if passes else Action.DROP, Reason.UNKNOWN_PORT, 0, frame)
        if ip.ttl <= 1:
            return _exit(Reason.TTL, frame, service.destinations)
        return self._forward(frame, ip, transport, service)

    def _service(self, ip: Ip, transport: Transport) -> Entry | None:
        return self._services.get((ip.destination, transport.destination_port, ip.protocol))

    def _icmp(self, frame: bytes, ip: Ip) -> Exit:
        if ip.room < packet.ICMP_HEADER:
            return _exit(Reason.MALFORMED, frame)
        kind, code = frame[ip.payload], frame[ip.payload + 1]
        if kind in packet.ICMP_ERRORS:
            return _exit(Reason.ICMP_ERROR, frame)
        if (kind, code) != (packet.ECHO_REQUEST, 0):
            return _exit(Reason.ICMP_TYPE, frame)
        if not self._vips[ip.destination]:
            return _exit(Reason.ECHO_VIP_DOWN, frame)
        return _exit(Reason.ECHO, packet.echo_reply(frame, ip))

    def _icmp6(self, frame: bytes, ip: Ip) -> Exit:
        if ip.room < packet.ICMP_HEADER:
            return _exit(Reason.MALFORMED, frame)
        kind, code = frame[ip.payload], frame[ip.payload + 1]
        if (kind, code) == (packet.ECHO_REQUEST6, 0):
            if not self._vips[ip.destination]:
                return _exit(Reason.ECHO_VIP_DOWN, frame)
            return _exit(Reason.ECHO, packet.echo_reply(frame, ip))
        if kind in packet.NEIGHBOUR_DISCOVERY:
            return _exit(Reason.NEIGHBOUR, frame)
        return _exit(Reason.ICMP_ERROR if kind < packet.ECHO_REQUEST6 else Reason.ICMP_TYPE, frame)

    def _forward(self, frame: bytes, ip: Ip, transport: Transport, service: Entry) -> Exit:
        choice = self._tracking.choose(service, ip, transport)
        number = service.destinations + choice.index
        if choice.dead:
            if service.on_dead != DeadPolicy.RESET:
                return _exit(Reason.DEAD, frame, number)
            # Nothing answers a reset (RFC 9293 section 3.10.7.1).
            if transport.flags & RST or not self.memory.shape.resets:
                return Exit(Action.DROP, Reason.DEAD, number, frame)
            return Exit(Action.TX, Reason.RESET, number, packet.reset(frame, ip, transport))
        refusal = self.memory.destinations.get(number, "refusal")
        if refusal not in (Refusal.NOTHING, Refusal.NAT):
            return _exit(Reason(refusal), frame, number)
        self._add(number, packets=1, octets=ip.length, flows=int(transport.opens))
        frame = packet.one_hop_less(frame, ip)
        mapped, identity = self._mapped(number), self.memory.identities
        if refusal == Refusal.NAT and mapped:
            most = identity.get(number, "clamp")
            frame = nat.translated(frame, ip, transport, self.memory.backend(number), mapped, source=False, most=most)
        tagged, leg = ip.start != packet.ETHERNET, self.memory.destinations.get(number, "leg")
        return replace(self._send(frame, tagged, leg, self._macs(number)), destination=number)

    def _send(self, frame: bytes, tagged: bool, leg: int, macs: bytes) -> Exit:
        """Out by a leg: with its network's tag, by the interface that the mode says."""
        shape, (interface, vlan) = self.memory.shape, self._leg(leg)
        if shape.tagged:
            frame = packet.retagged(frame, tagged, vlan)
        frame = packet.put(frame, 0, macs)
        trunk = tagged and vlan
        if shape.redirects and not (shape.mixed and (trunk or interface == self._interface)):
            return Exit(Action.REDIRECT, Reason.FORWARD, 0, frame, interface)
        return _exit(Reason.FORWARD, frame)

    def _mapped(self, number: int) -> int:
        """The backend's own port where the destination is behind NAT, else 0."""
        return int.from_bytes(self.memory.identities.bytes_of(number, "mapped", 2), "big")

    def _leg(self, leg: int) -> tuple[int, int]:
        """Interface and VLAN id of a leg."""
        legs = self.memory.legs
        return legs.get(leg, "interface"), int.from_bytes(legs.bytes_of(leg, "vlan", 2), "big")

    def _macs(self, number: int) -> bytes:
        """Destination and source MAC on the way to a destination."""
        return self.memory.destinations.bytes_of(number, "mac_head", 12)

    def _from_vip(self, frame: bytes, ip: Ip) -> Exit:
        """A packet from a VIP: the answer to a probe, or none of ours."""
        transport = packet.read_transport(frame, ip)
        answer = None if isinstance(transport, Reason) else self._answer(frame, ip, transport)
        return answer or _exit(Reason.VIP_SOURCE, frame)

    def _from_backend(self, frame: bytes, ip: Ip) -> Exit:
        """A packet that concerns no VIP: perhaps the answer of a backend behind NAT, to a client or to a probe."""
        transport = packet.read_transport(frame, ip)
        if isinstance(transport, Reason):
            return _exit(Reason.NOT_VIP, frame)
        number = self.memory.returns.get(endpoint(ip.source, transport.source_port, ip.protocol))
        if number is not None and self.memory.address(number, "own") != ip.destination:
            return self._give_back(frame, ip, transport, number)
        return self._answer(frame, ip, transport) or _exit(Reason.NOT_VIP, frame)

    def _give_back(self, frame: bytes, ip: Ip, transport: Transport, number: int) -> Exit:
        if frame[:6] != self._macs(number)[6:]:
            return _exit(Reason.NOT_VIP, frame)
        if ip.ttl <= 1:
            return _exit(Reason.TTL, frame, number)
        route, identities = self._routes(ip.destination), self.memory.identities
        if route.way is Way.LOCAL:
            return _exit(Reason.NOT_VIP, frame)
        if route.way is Way.NONE or ip.length > route.mtu:
            return _exit(Reason.NO_ROUTE, frame)
        vip, port = self.memory.address(number, "vip"), identities.get(number, "port")
        most = identities.get(number, "clamp")
        frame = nat.translated(frame, ip, transport, vip, port, source=True, most=most)
        leg = self.memory.outlets.get(route.interface.to_bytes(4, sys.byteorder), 0)
        if route.way is Way.UNRESOLVED or not leg:
            return _exit(Reason.NO_ROUTE, frame)
        sent = self._send(packet.one_hop_less(frame, ip), ip.start != packet.ETHERNET, leg, route.macs)
        interface = self._leg(leg)[0]
        if self.memory.shape.mode is Mode.SIMPLE and interface != self._interface:
            sent = replace(sent, action=Action.REDIRECT, interface=interface)
        return replace(sent, reason=Reason.RETURN)

    def _answer(self, frame: bytes, ip: Ip, transport: Transport) -> Exit | None:
        """The answer to a probe on its way to the prober; None where it is no such thing."""
        settings = self.memory.settings
        key = AnswerKey(ip.source, transport.source_port, transport.destination_port, ip.protocol)
        found = self.answers.get(key)
        interface = settings.get(0, "probe_interface")
        if found is None or not interface:
            return None
        number, called = found & 0xFFFFFFFF, found >> 32
        mapped = self.memory.shape.nat and self._mapped(number)
        answerer = self.memory.address(number, "backend" if mapped else "vip")
        if (answerer, self.memory.address(number, "own")) != (ip.source, ip.destination):
            return None
        prober: Address = IPv4Address(settings.bytes_of(0, "probe_address", 4))
        if ip.family == 6:
            prober = IPv6Address(settings.bytes_of(0, "probe_address6", 16))
        source = probe_address(number, ip.family)
        if mapped:
            frame = nat.translated(frame, ip, transport, source, network16(called), source=True)
        answer = packet.readdressed(frame, ip, source, prober)
        answer = packet.retagged(answer, ip.start != packet.ETHERNET, 0)
        answer = packet.put(answer, 0, settings.bytes_of(0, "probe_mac", 12))
        return _exit(Reason.PROBE_ANSWER, answer, interface=interface)

    def _send_probe(self, frame: bytes) -> Exit:
        kind = packet.number(frame, 12)
        ip = packet.read_ip(frame, packet.ETHERNET) if kind == packet.IPV4 else None
        if kind == packet.IPV6 and self.memory.shape.ipv6:
            ip = packet.read_ipv6(frame, packet.ETHERNET)
        if ip is None or not ip.plain:
            return _exit(Reason.PROBE_REFUSED, frame)
        transport = packet.read_transport(frame, ip)
        number = int(ip.destination) - int(probe_address(0, ip.family))
        if isinstance(transport, Reason) or not 0 < number < self.memory.shape.destinations:
            return _exit(Reason.PROBE_REFUSED, frame)
        identities = self.memory.identities
        if not identities.get(number, "used") or identities.get(number, "freed"):
            return _exit(Reason.PROBE_REFUSED, frame)
        vip, own = self.memory.address(number, "vip"), self.memory.address(number, "own")
        if vip.version != ip.family:
            return _exit(Reason.PROBE_REFUSED, frame)
        interface = identities.get(number, "interface")
        if not interface or not self.memory.destinations.get(number, "mac_head"):
            return _exit(Reason.UNRESOLVED, frame, number)
        target, port, asked, called = vip, transport.destination_port, number, transport.destination_port
        mapped = self.memory.shape.nat and self._mapped(number)
        if mapped:
            target, asked = self.memory.backend(number), number | network16(called) << 32
            if (called, ip.protocol) == (identities.get(number, "port"), identities.get(number, "protocol")):
                port = mapped
            most = identities.get(number, "clamp")
            frame = nat.translated(frame, ip, transport, target, port, source=False, most=most)
        self.answers[AnswerKey(target, port, transport.source_port, ip.protocol)] = asked
        probe = packet.readdressed(frame, ip, own, target)
        if self.memory.shape.tagged:
            probe = packet.retagged(probe, False, self._leg(self.memory.destinations.get(number, "leg"))[1])
        return _exit(Reason.PROBE_SENT, packet.put(probe, 0, self._macs(number)), interface=interface)

    def _leave(self, leaving: Exit) -> Exit:
        """Count a frame; forwarded ones have been counted with their destination."""
        if leaving.reason is not Reason.FORWARD:
            self._count(leaving.reason)
            if leaving.destination:
                self._add(leaving.destination, drops=1)
        return leaving

    def _count(self, reason: Reason) -> None:
        at = self._cpu * REASON_STRIDE + reason
        self.memory.reasons[at] = (self.memory.reasons[at] + 1) & _WORD

    def _add(self, number: int, *, packets: int = 0, octets: int = 0, flows: int = 0, drops: int = 0) -> None:
        for name, more in (("packets", packets), ("octets", octets), ("flows", flows), ("drops", drops)):
            at = self.memory.counter_place(self._cpu, number, name)
            self.memory.counters[at] = (self.memory.counters[at] + more) & _WORD


def _exit(reason: Reason, frame: bytes, destination: int = 0, interface: int = 0) -> Exit:
    """An exit whose action follows from its reason."""
    return Exit(ACTIONS.get(reason, Action.DROP), reason, destination, frame, interface)


def probe_address(number: int, family: int) -> Address:
    """How the prober calls a destination whose VIP is of this family."""
    return IPv6Address(PROBE_PREFIX + number) if family == 6 else IPv4Address((PROBE_NET << 24) + number)
