"""Every verdict of the program, with its reason and its counters.

No frame leaves without being counted: a forwarded one by its destination, every other by its reason, and as a drop of
its destination where that is known.
"""

from __future__ import annotations

from dataclasses import replace

from appliance.dataplane import block, lookup
from appliance.dataplane.abi import TOO_BIG_RATE
from appliance.dataplane.enums import DeadPolicy, Reason, Refusal
from appliance.dataplane.lookup import Entry
from appliance.dataplane.memory import Memory
from appliance.dataplane.model import errors, packet
from appliance.dataplane.model.behind import Behind
from appliance.dataplane.model.counts import Counts
from appliance.dataplane.model.drops import Drops
from appliance.dataplane.model.exits import Action, Exit, leaving
from appliance.dataplane.model.fragments import Fragments
from appliance.dataplane.model.nat import Routes, nowhere
from appliance.dataplane.model.packet import RST, Ip, Transport
from appliance.dataplane.model.probes import Probes
from appliance.dataplane.model.tracking import Tracking
from appliance.dataplane.model.tunnel import Tunnel
from appliance.dataplane.tunnels import leg_of
from appliance.model import Address, Mode


class Model:
    """The program over some tables. `answers` maps what probes wait for to their destinations, and behind NAT, above 32
    bits, to the port that the prober called, in network order. `routes` is what the host's tables say.

    The program's table of answers is bounded and forgets the least recently used; here none is forgotten.
    """

    def __init__(self, memory: Memory, routes: Routes = nowhere) -> None:
        self.memory = memory
        self._probes = Probes(memory, self._choose)
        self.answers = self._probes.answers
        self.counts = Counts(memory)
        self._drops = Drops(memory)
        self._tracking = Tracking(memory, self.counts.count)
        self.news = self._tracking.news
        self._fragments = Fragments(memory)
        self._behind = Behind(memory, routes, self._fragments, self.counts.count, self._note, self._send_back)
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

    def probe(self, frame: bytes, cpu: int = 0, interface: int = 1) -> Exit:
        """What the program on the probe veth (its index) does with a frame of the prober's."""
        self._begin(cpu)
        self._interface = interface
        return self._leave(self._probes.send(frame))

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
            return leaving(Reason.MALFORMED, frame)
        l2 = self._layer2(frame)
        kind = packet.number(frame, l2 - 2) if l2 else 0
        if kind != packet.IPV4 and (kind != packet.IPV6 or not self.memory.shape.ipv6):
            return leaving(self._not_ours(frame), frame)
        ip = self._ip(frame, l2)
        if ip is None:
            return leaving(Reason.MALFORMED, frame)
        if ip.destination in self._vips:
            return self._to_vip(frame, ip)
        if ip.source in self._vips:
            return self._from_vip(frame, ip)
        return self._from_backend(frame, ip) if self.memory.shape.nat else leaving(Reason.NOT_VIP, frame)

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
            return leaving(Reason.BLOCKED, frame)
        transport = packet.read_transport(frame, ip)
        if transport is Reason.FRAGMENT and ip.offset:
            return self._later_fragment(frame, ip)
        if transport is Reason.PROTOCOL and ip.is_icmp:
            return self._icmp(frame, ip) if ip.family == 4 else self._icmp6(frame, ip)
        if isinstance(transport, Reason):
            return leaving(transport, frame)
        service = self._service(ip, transport)
        if service is None:
            passes = self.memory.settings.get(0, "pass_unknown_port")
            return Exit(Action.PASS if passes else Action.DROP, Reason.UNKNOWN_PORT, 0, frame)
        if ip.ttl <= 1:
            return leaving(Reason.TTL, frame, service.destinations)
        left = self._forward(frame, ip, transport, service)
        return self._first_fragment(frame, ip, left) if ip.fragment else left

    def _first_fragment(self, frame: bytes, ip: Ip, left: Exit) -> Exit:
        """Later fragments follow this one. Where its whole segment ends nobody can tell, so there is no RST."""
        if left.reason is Reason.FORWARD:
            self._fragments.remember(ip, left.destination)
        return leaving(Reason.DEAD, frame, left.destination) if left.reason is Reason.RESET else left

    def _later_fragment(self, frame: bytes, ip: Ip) -> Exit:
        number = self._fragments.recall(ip)
        if not number:
            return leaving(Reason.FRAGMENT, frame)
        if ip.ttl <= 1:
            return leaving(Reason.TTL, frame, number)
        self.counts.count(Reason.FRAGMENT_FOLLOWED)
        return self._deliver(frame, ip, number, self._fragments.name(ip))

    def _error(self, frame: bytes, ip: Ip) -> Exit:
        """An ICMP error goes to the backend whose packet it is about; it is no proof that the flow lives."""
        flow = errors.concerned(frame, ip)
        service = self._service(flow.ip, flow.transport) if flow else None
        if flow is None or service is None:
            return leaving(Reason.ICMP_ERROR, frame)
        if ip.ttl <= 1:
            return leaving(Reason.TTL, frame, service.destinations)
        choice = self._tracking.peek(service, flow.ip, flow.transport)
        number = service.destinations + choice.index
        if choice.dead:
            return leaving(Reason.DEAD, frame, number)
        return self._deliver(frame, ip, number, self._tracking.spread(service, flow.ip, flow.transport), about=flow)

    def _too_big(self, frame: bytes, ip: Ip, number: int, mtu: int) -> Exit:
        """A packet that is too long for the way to its destination."""
        note, at, time = self.memory.notes, self._cpu, self.memory.time
        note.put(at, "mtu", mtu)
        note.put(at, "destination", number)
        if not errors.may_be_answered(frame, ip):
            return leaving(Reason.TOO_BIG_LIMITED, frame, number)
        spent = note.get(at, "spent") if note.get(at, "time") == time else 0
        note.put(at, "time", time)
        note.put(at, "spent", min(spent + 1, TOO_BIG_RATE))
        if spent >= TOO_BIG_RATE:
            return leaving(Reason.TOO_BIG_LIMITED, frame, number)
        return leaving(Reason.TOO_BIG, errors.too_big(frame, ip, mtu), number)

    def _service(self, ip: Ip, transport: Transport) -> Entry | None:
        return self._services.get((ip.destination, transport.destination_port, ip.protocol))

    def _choose(self, ip: Ip, transport: Transport) -> tuple[int, bool] | None:
        service = self._service(ip, transport)
        if service is None:
            return None
        choice = self._tracking.choose(service, ip, transport)
        return service.destinations + choice.index, choice.dead

    def _icmp(self, frame: bytes, ip: Ip) -> Exit:
        if ip.room < packet.ICMP_HEADER:
            return leaving(Reason.MALFORMED, frame)
        kind, code = frame[ip.payload], frame[ip.payload + 1]
        if kind in packet.ICMP_ERRORS:
            self.memory.notes.put(self._cpu, "transport", ip.header)
            return self._error(frame, ip)
        if (kind, code) != (packet.ECHO_REQUEST, 0):
            return leaving(Reason.ICMP_TYPE, frame)
        if not self._vips[ip.destination]:
            return leaving(Reason.ECHO_VIP_DOWN, frame)
        return leaving(Reason.ECHO, packet.echo_reply(frame, ip))

    def _icmp6(self, frame: bytes, ip: Ip) -> Exit:
        if ip.room < packet.ICMP_HEADER:
            return leaving(Reason.MALFORMED, frame)
        kind, code = frame[ip.payload], frame[ip.payload + 1]
        if (kind, code) == (packet.ECHO_REQUEST6, 0):
            if not self._vips[ip.destination]:
                return leaving(Reason.ECHO_VIP_DOWN, frame)
            return leaving(Reason.ECHO, packet.echo_reply(frame, ip))
        if kind in packet.NEIGHBOUR_DISCOVERY:
            return leaving(Reason.NEIGHBOUR, frame)
        if kind >= packet.ECHO_REQUEST6:
            return leaving(Reason.ICMP_TYPE, frame)
        self.memory.notes.put(self._cpu, "transport", ip.header)
        return self._error(frame, ip)

    def _forward(self, frame: bytes, ip: Ip, transport: Transport, service: Entry) -> Exit:
        choice = self._tracking.choose(service, ip, transport)
        number = service.destinations + choice.index
        if choice.dead:
            if service.on_dead != DeadPolicy.RESET:
                return leaving(Reason.DEAD, frame, number)
            # Nothing answers a reset (RFC 9293 section 3.10.7.1).
            if transport.flags & RST or not self.memory.shape.resets:
                return Exit(Action.DROP, Reason.DEAD, number, frame)
            return Exit(Action.TX, Reason.RESET, number, packet.reset(frame, ip, transport))
        flow = self._tracking.spread(service, ip, transport)
        return self._deliver(frame, ip, number, flow, opens=transport.opens)

    def _deliver(
        self, frame: bytes, ip: Ip, number: int, flow: int, *, opens: bool = False, about: errors.Flow | None = None
    ) -> Exit:
        """To a destination, if anything can be sent to it. `flow` is the hash that tells flows apart.

        `about` is what an error is about.
        """
        refusal = self.memory.destinations.get(number, "refusal")
        if refusal == Refusal.TUNNEL:
            tunnel = Tunnel.of(self.memory, self.memory.destinations.get(number, "path"))
            if ip.length > tunnel.room:
                return self._too_big(frame, ip, number, tunnel.room)
            self.counts.add(number, packets=1, octets=ip.length, flows=int(opens))
            return self._sent(tunnel.sent(packet.one_hop_less(frame, ip), ip, flow >> 32), ip, number)
        if refusal not in (Refusal.NOTHING, Refusal.NAT):
            return leaving(Reason(refusal), frame, number)
        mtu = self.memory.legs.get(leg_of(self.memory, number), "mtu")
        if self.memory.shape.narrow and ip.length > mtu:
            return self._too_big(frame, ip, number, mtu)
        self.counts.add(number, packets=1, octets=ip.length, flows=int(opens))
        frame = packet.one_hop_less(frame, ip)
        if refusal == Refusal.NAT:
            frame = self._behind.translated(frame, ip, number, about)
        return self._sent(frame, ip, number)

    def _sent(self, frame: bytes, ip: Ip, number: int) -> Exit:
        tagged, leg = ip.start != packet.ETHERNET, leg_of(self.memory, number)
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
        return leaving(Reason.FORWARD, frame)

    def _leg(self, leg: int) -> tuple[int, int]:
        """Interface and VLAN id of a leg."""
        legs = self.memory.legs
        return legs.get(leg, "interface"), int.from_bytes(legs.bytes_of(leg, "vlan", 2), "big")

    def _macs(self, number: int) -> bytes:
        """Destination and source MAC on the way to a destination."""
        return self.memory.destinations.bytes_of(number, "mac_head", 12)

    def _from_vip(self, frame: bytes, ip: Ip) -> Exit:
        """A packet from a VIP: the answer to a probe, or none of ours."""
        if ip.is_icmp and packet.read_transport(frame, ip) is Reason.PROTOCOL:
            self._note(None, transport=ip.header)
        return self._probes.answer(frame, ip) or leaving(Reason.VIP_SOURCE, frame)

    def _from_backend(self, frame: bytes, ip: Ip) -> Exit:
        """A packet that concerns no VIP: perhaps the answer of a backend behind NAT, to a client or to a probe."""
        transport = packet.read_transport(frame, ip)
        if left := self._behind.receive(frame, ip, transport):
            return left
        return self._probes.answer(frame, ip) or leaving(Reason.NOT_VIP, frame)

    def _send_back(self, frame: bytes, ip: Ip, leg: int, macs: bytes) -> Exit:
        sent, interface = self._send(frame, ip.start != packet.ETHERNET, leg, macs), self._leg(leg)[0]
        if self.memory.shape.mode is Mode.SIMPLE and interface != self._interface:
            sent = replace(sent, action=Action.REDIRECT, interface=interface)
        return replace(sent, reason=Reason.RETURN)

    def _note(self, number: int | None, *, transport: int, **fields: int) -> None:
        """What one program tells the next of this packet; a number makes it the whole of what concerns NAT."""
        notes = {"transport": transport}
        if number is not None:
            notes |= {"destination": number, "inner": 0, "protocol": 0, "back": 0} | fields
        for name, value in notes.items():
            self.memory.notes.put(self._cpu, name, value)

    def _leave(self, left: Exit) -> Exit:
        """Count a frame, and write down what is dropped; forwarded ones have been counted with their destination."""
        if left.reason is not Reason.FORWARD:
            self.counts.count(left.reason)
            if left.destination:
                self.counts.add(left.destination, drops=1)
        if left.action is Action.DROP:
            self._drops.record(self._cpu, left.reason, left.frame, self._interface)
        return left
