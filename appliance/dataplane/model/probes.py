"""Probes on their way to a VIP on one backend, and what comes back for the prober."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from appliance.dataplane.enums import Reason, Refusal
from appliance.dataplane.legs import network16
from appliance.dataplane.memory import Memory
from appliance.dataplane.model import errors, nat, packet
from appliance.dataplane.model.exits import CHOSEN_SHIFT, STEERED, AnswerKey, Exit, leaving, probe_address
from appliance.dataplane.model.packet import Ip, Transport
from appliance.dataplane.model.tunnel import Tunnel
from appliance.dataplane.tunnels import leg_of
from appliance.model import Address

Choose = Callable[[Ip, Transport], tuple[int, bool] | None]


class Probes:
    """What the program does with them, over some tables. `answers` is the model's.

    `choose` tells the destination of a client's packet, and whether its flow ended with that; None: of no service.
    """

    def __init__(self, memory: Memory, choose: Choose) -> None:
        self.answers: dict[AnswerKey, int] = {}
        self._memory = memory
        self._choose = choose

    def send(self, frame: bytes) -> Exit:
        """What becomes of a frame of the prober's."""
        shape = self._memory.shape
        kind = packet.number(frame, 12)
        ip = packet.read_ip(frame, packet.ETHERNET) if kind == packet.IPV4 else None
        if kind == packet.IPV6 and shape.ipv6:
            ip = packet.read_ipv6(frame, packet.ETHERNET)
        if ip is None or not ip.plain:
            return leaving(Reason.PROBE_REFUSED, frame)
        transport = packet.read_echo(frame, ip, reply=False) or packet.read_transport(frame, ip)
        number = int(ip.destination) - int(probe_address(0, ip.family))
        steered = number & STEERED
        number -= steered
        if isinstance(transport, Reason) or not 0 < number < shape.destinations:
            return leaving(Reason.PROBE_REFUSED, frame)
        identities, destinations = self._memory.identities, self._memory.destinations
        if not identities.get(number, "used") or identities.get(number, "freed"):
            return leaving(Reason.PROBE_REFUSED, frame)
        vip, own = self._memory.address(number, "vip"), self._memory.address(number, "own")
        if vip.version != ip.family:
            return leaving(Reason.PROBE_REFUSED, frame)
        called_number = number
        if steered:
            if not int(own):
                return leaving(Reason.UNRESOLVED, frame, number)
            chosen = self._choose(replace(ip, source=own, destination=vip), transport)
            if chosen is None:
                return leaving(Reason.PROBE_REFUSED, frame)
            number, dead = chosen
            refusal = Refusal.DEAD if dead else Refusal(destinations.get(number, "refusal"))
            if refusal not in (Refusal.NOTHING, Refusal.TUNNEL, Refusal.NAT):
                return leaving(Reason(refusal), frame, number)
        interface = identities.get(number, "interface")
        if not interface or not destinations.get(number, "mac_head"):
            return leaving(Reason.UNRESOLVED, frame, number)
        target, port, called = vip, transport.destination_port, transport.destination_port
        asked = called_number | steered | (number - called_number) % (1 << 16) << CHOSEN_SHIFT
        mapped = self._mapped(number)
        if mapped:
            target = self._memory.backend(number)
            asked |= network16(called) << 32
            if (called, ip.protocol) == (identities.get(number, "port"), identities.get(number, "protocol")):
                port = mapped
            if not ip.is_icmp:
                most = identities.get(number, "clamp")
                frame = nat.translated(frame, ip, transport, target, port, source=False, most=most)
        self.answers[AnswerKey(target, port, transport.source_port, ip.protocol)] = asked
        probe = packet.readdressed(frame, ip, own, target)
        if present := identities.get(number, "tunnel"):
            tunnel = Tunnel.of(self._memory, present - 1)
            if ip.length > tunnel.room:
                return leaving(Reason.TOO_BIG_LIMITED, probe, number)
            probe = tunnel.sent(probe, replace(ip, source=own, destination=vip), transport.source_port)
        if shape.tagged:
            vlan = self._memory.legs.bytes_of(leg_of(self._memory, number), "vlan", 2)
            probe = packet.retagged(probe, False, int.from_bytes(vlan, "big"))
        probe = packet.put(probe, 0, destinations.bytes_of(number, "mac_head", 12))
        return leaving(Reason.PROBE_SENT, probe, interface=interface)

    def answer(self, frame: bytes, ip: Ip) -> Exit | None:
        """The answer to a probe, or an error about one, on its way to the prober; None where it is no such thing."""
        transport = packet.read_echo(frame, ip, reply=True) or packet.read_transport(frame, ip)
        if transport is Reason.PROTOCOL and ip.is_icmp and ip.room >= packet.ICMP_HEADER:
            return self._error(frame, ip)
        if ip.fragment or isinstance(transport, Reason):
            return None
        waiting = self._waiting(ip, ip, transport)
        if waiting is None:
            return None
        number, called = waiting
        source = probe_address(number, ip.family)
        if self._mapped(number & ~STEERED) and not ip.is_icmp:
            frame = nat.translated(frame, ip, transport, source, called, source=True)
        return self._given(packet.readdressed(frame, ip, source, self._prober(ip)), ip)

    def _error(self, frame: bytes, ip: Ip) -> Exit | None:
        """An error that says why a probe is not answered; it quotes the probe as it left."""
        kind, code = frame[ip.payload], frame[ip.payload + 1]
        if kind != (packet.UNREACHABLE if ip.family == 4 else packet.UNREACHABLE6):
            return None
        flow = errors.concerned(frame, ip)
        waiting = self._waiting(ip, flow.ip, flow.transport) if flow else None
        if flow is None or waiting is None or (ip.family == 4 and code == packet.FRAGMENTATION_NEEDED):
            return None
        port, (number, called) = flow.transport.destination_port, waiting
        frame = nat.error_translated(frame, ip, flow, self._prober(ip), port, source=True)
        frame = nat.error_translated(frame, ip, flow, probe_address(number, ip.family), called, source=False)
        return self._given(frame, ip)

    def _waiting(self, ip: Ip, answer: Ip, transport: Transport) -> tuple[int, int] | None:
        """The number by which the prober calls the destination whose answer it waits for, and the port that it called.

        `ip` is the header of what comes, which may be an error about what would be answered.
        """
        key = AnswerKey(answer.source, transport.source_port, transport.destination_port, answer.protocol)
        found = self.answers.get(key)
        if found is None or not self._memory.settings.get(0, "probe_interface"):
            return None
        number = found & 0xFFFFFFFF & ~STEERED
        mapped = self._mapped(number)
        answerer = self._memory.address(number, "vip")
        if mapped:
            above = found >> CHOSEN_SHIFT
            answerer = self._memory.backend(number + above - ((above & 0x8000) << 1))
        if (answerer, self._memory.address(number, "own")) != (answer.source, ip.destination):
            return None
        return found & 0xFFFFFFFF, network16(found >> 32 & 0xFFFF) if mapped else transport.source_port

    def _prober(self, ip: Ip) -> Address:
        settings = self._memory.settings
        if ip.family == 6:
            return IPv6Address(settings.bytes_of(0, "probe_address6", 16))
        return IPv4Address(settings.bytes_of(0, "probe_address", 4))

    def _given(self, frame: bytes, ip: Ip) -> Exit:
        """To the prober, without a tag."""
        settings = self._memory.settings
        frame = packet.retagged(frame, ip.start != packet.ETHERNET, 0)
        frame = packet.put(frame, 0, settings.bytes_of(0, "probe_mac", 12))
        return leaving(Reason.PROBE_ANSWER, frame, interface=settings.get(0, "probe_interface"))

    def _mapped(self, number: int) -> int:
        """The backend's own port where the destination is behind NAT, else 0."""
        if not self._memory.shape.nat:
            return 0
        return int.from_bytes(self._memory.identities.bytes_of(number, "mapped", 2), "big")
