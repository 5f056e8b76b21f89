"""Every verdict of the program, with its reason and its counters.

No frame leaves without being counted: a forwarded one by its destination, every other by its reason, and as a drop of
its destination where that is known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from appliance.dataplane import block, lookup
from appliance.dataplane.abi import PROBE_PREFIX, TOO_BIG_RATE
from appliance.dataplane.enums import DeadPolicy, Reason, Refusal
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.model import errors, packet
from appliance.dataplane.model.counts import Counts
from appliance.dataplane.model.fragments import Fragments
from appliance.dataplane.model.packet import ICMP, ICMP6, RST, Ip, Transport
from appliance.dataplane.model.tracking import Tracking
from appliance.dataplane.model.tunnel import Tunnel
from appliance.model import Address

PROBE_NET = 10
"""Destination number N is 10.0.0.0 + N to the prober."""


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
        ),
        Action.PASS,
    ),
    **dict.fromkeys((Reason.FORWARD, Reason.ECHO, Reason.TOO_BIG), Action.TX),
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
    """The answer that a probe waits for: where it comes from, and the port it goes to."""

    vip: Address
    vip_port: int
    own_port: int
    protocol: int


class Model:
    """The program over some tables. `answers` maps what probes wait for to their destinations.

    The program's table of answers is bounded and forgets the least recently used; here none is forgotten.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.answers: dict[AnswerKey, int] = {}
        self.counts = Counts(memory)
        self._tracking = Tracking(memory, self.counts.count)
        self._fragments = Fragments(memory)
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
        self.counts.begin(cpu)
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
        return _exit(Reason.NOT_VIP, frame)

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
        self.counts.source = ip.source
        if block.blocking(map(block.prefix_of, self.memory.blocked), ip.source):
            return _exit(Reason.BLOCKED, frame)
        transport = packet.read_transport(frame, ip)
        if transport is Reason.FRAGMENT and ip.offset:
            return self._later_fragment(frame, ip)
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
        left = self._forward(frame, ip, transport, service)
        return self._first_fragment(frame, ip, left) if ip.fragment else left

    def _first_fragment(self, frame: bytes, ip: Ip, left: Exit) -> Exit:
        """Later fragments follow this one. Where its whole segment ends nobody can tell, so there is no RST."""
        if left.reason is Reason.FORWARD:
            self._fragments.remember(ip, left.destination)
        return _exit(Reason.DEAD, frame, left.destination) if left.reason is Reason.RESET else left

    def _later_fragment(self, frame: bytes, ip: Ip) -> Exit:
        number = self._fragments.recall(ip)
        if not number:
            return _exit(Reason.FRAGMENT, frame)
        if ip.ttl <= 1:
            return _exit(Reason.TTL, frame, number)
        self.counts.count(Reason.FRAGMENT_FOLLOWED)
        return self._deliver(frame, ip, number, self._fragments.name(ip))

    def _error(self, frame: bytes, ip: Ip) -> Exit:
        """An ICMP error goes to the backend whose packet it is about; it is no proof that the flow lives."""
        flow = errors.concerned(frame, ip)
        service = self._service(flow.ip, flow.transport) if flow else None
        if flow is None or service is None:
            return _exit(Reason.ICMP_ERROR, frame)
        if ip.ttl <= 1:
            return _exit(Reason.TTL, frame, service.destinations)
        choice = self._tracking.peek(service, flow.ip, flow.transport)
        number = service.destinations + choice.index
        if choice.dead:
            return _exit(Reason.DEAD, frame, number)
        return self._deliver(frame, ip, number, self._tracking.slot(service, flow.ip, flow.transport)[1])

    def _too_big(self, frame: bytes, ip: Ip, number: int, mtu: int) -> Exit:
        """A packet that is too long for the way to its destination."""
        note, at, time = self.memory.notes, self._cpu, self.memory.time
        note.put(at, "mtu", mtu)
        note.put(at, "destination", number)
        if not errors.may_be_answered(frame, ip):
            return _exit(Reason.TOO_BIG_LIMITED, frame, number)
        spent = note.get(at, "spent") if note.get(at, "time") == time else 0
        note.put(at, "time", time)
        note.put(at, "spent", min(spent + 1, TOO_BIG_RATE))
        if spent >= TOO_BIG_RATE:
            return _exit(Reason.TOO_BIG_LIMITED, frame, number)
        return _exit(Reason.TOO_BIG, errors.too_big(frame, ip, mtu), number)

    def _service(self, ip: Ip, transport: Transport) -> Entry | None:
        return self._services.get((ip.destination, transport.destination_port, ip.protocol))

    def _icmp(self, frame: bytes, ip: Ip) -> Exit:
        if ip.room < packet.ICMP_HEADER:
            return _exit(Reason.MALFORMED, frame)
        kind, code = frame[ip.payload], frame[ip.payload + 1]
        if kind in packet.ICMP_ERRORS:
            self.memory.notes.put(self._cpu, "transport", ip.header)
            return self._error(frame, ip)
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
        if kind >= packet.ECHO_REQUEST6:
            return _exit(Reason.ICMP_TYPE, frame)
        self.memory.notes.put(self._cpu, "transport", ip.header)
        return self._error(frame, ip)

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
        flow = self._tracking.slot(service, ip, transport)[1]
        return self._deliver(frame, ip, number, flow, opens=transport.opens)

    def _deliver(self, frame: bytes, ip: Ip, number: int, flow: int, *, opens: bool = False) -> Exit:
        """To a destination, if anything can be sent to it. `flow` is the hash that tells flows apart."""
        refusal = self.memory.destinations.get(number, "refusal")
        if refusal in (Refusal.TUNNEL, Refusal.TUNNEL_TWIN):
            tunnel = Tunnel.of(self.memory, number, refusal - Refusal.TUNNEL)
            if ip.length > tunnel.room:
                return self._too_big(frame, ip, number, tunnel.room)
            self.counts.add(number, packets=1, octets=ip.length, flows=int(opens))
            frame = tunnel.sent(packet.one_hop_less(frame, ip), ip, flow >> 32)
            return self._send(frame, ip.start != packet.ETHERNET, number)
        if refusal:
            return _exit(Reason(refusal), frame, number)
        mtu = self.memory.legs.get(self.memory.destinations.get(number, "leg"), "mtu")
        if self.memory.shape.narrow and ip.length > mtu:
            return self._too_big(frame, ip, number, mtu)
        self.counts.add(number, packets=1, octets=ip.length, flows=int(opens))
        return self._send(packet.one_hop_less(frame, ip), ip.start != packet.ETHERNET, number)

    def _send(self, frame: bytes, tagged: bool, number: int) -> Exit:
        """Out to a destination: with its network's tag, by the interface that the mode says."""
        shape, (interface, vlan) = self.memory.shape, self._leg(number)
        if shape.tagged:
            frame = packet.retagged(frame, tagged, vlan)
        frame = packet.put(frame, 0, self._macs(number))
        trunk = tagged and vlan
        if shape.redirects and not (shape.mixed and (trunk or interface == self._interface)):
            return Exit(Action.REDIRECT, Reason.FORWARD, number, frame, interface)
        return _exit(Reason.FORWARD, frame, number)

    def _leg(self, number: int) -> tuple[int, int]:
        """Interface and VLAN id of a destination's leg."""
        leg, legs = self.memory.destinations.get(number, "leg"), self.memory.legs
        return legs.get(leg, "interface"), int.from_bytes(legs.bytes_of(leg, "vlan", 2), "big")

    def _macs(self, number: int) -> bytes:
        """Destination and source MAC on the way to a destination."""
        return self.memory.destinations.bytes_of(number, "mac_head", 12)

    def _from_vip(self, frame: bytes, ip: Ip) -> Exit:
        """A packet from a VIP: the answer to a probe, or none of ours."""
        settings = self.memory.settings
        transport = packet.read_transport(frame, ip)
        if isinstance(transport, Reason) or ip.fragment:
            return _exit(Reason.VIP_SOURCE, frame)
        key = AnswerKey(ip.source, transport.source_port, transport.destination_port, ip.protocol)
        number = self.answers.get(key)
        interface = settings.get(0, "probe_interface")
        if number is None or not interface:
            return _exit(Reason.VIP_SOURCE, frame)
        if (self.memory.address(number, "vip"), self.memory.address(number, "own")) != (ip.source, ip.destination):
            return _exit(Reason.VIP_SOURCE, frame)
        prober: Address = IPv4Address(settings.bytes_of(0, "probe_address", 4))
        if ip.family == 6:
            prober = IPv6Address(settings.bytes_of(0, "probe_address6", 16))
        answer = packet.readdressed(frame, ip, probe_address(number, ip.family), prober)
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
        self.answers[AnswerKey(vip, transport.destination_port, transport.source_port, ip.protocol)] = number
        probe = packet.readdressed(frame, ip, own, vip)
        if present := identities.get(number, "tunnel"):
            tunnel = Tunnel.of(self.memory, number, present - 1)
            if ip.length > tunnel.room:
                return _exit(Reason.TOO_BIG_LIMITED, probe, number)
            probe = tunnel.sent(probe, replace(ip, source=own, destination=vip), transport.source_port)
        if self.memory.shape.tagged:
            probe = packet.retagged(probe, False, self._leg(number)[1])
        return _exit(Reason.PROBE_SENT, packet.put(probe, 0, self._macs(number)), interface=interface)

    def _leave(self, leaving: Exit) -> Exit:
        """Count a frame; forwarded ones have been counted with their destination."""
        if leaving.reason is not Reason.FORWARD:
            self.counts.count(leaving.reason)
            if leaving.destination:
                self.counts.add(leaving.destination, drops=1)
        return leaving


def _exit(reason: Reason, frame: bytes, destination: int = 0, interface: int = 0) -> Exit:
    """An exit whose action follows from its reason."""
    return Exit(ACTIONS.get(reason, Action.DROP), reason, destination, frame, interface)


def probe_address(number: int, family: int) -> Address:
    """How the prober calls a destination whose VIP is of this family."""
    return IPv6Address(PROBE_PREFIX + number) if family == 6 else IPv4Address((PROBE_NET << 24) + number)
