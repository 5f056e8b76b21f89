"""Finding out why a backend does not answer: what is sent to it and to its VIP, and what each answer tells.

Theory of operation. For each examinee these go out, three times at most, until all that can be known is known:

    through the VIP     SYN (of a service by UDP: its datagram), echo request, SYN that fills a packet of full size
    to its own address  SYN, echo request

The first go out in the probe namespace and so take the way of clients (templates/bpf/probe.h); the others in the
host's. Answers are looked for in both: what the data plane does not know for a probe's answer it leaves to the host,
and that is where one with a wrong source comes to light, and an error about the outer packet of a tunnel. Every
question has a source port of its own, and a random number that only an answer to it can know.

A SYN that carries data (RFC 9293 section 3.8.6: legal, if rare) fills a packet without a word to the application: who
listens leaves the data out of account, and nothing is accepted. Where the full size is not answered, smaller ones are
tried; where none of those with data is, nothing is concluded.

No clock, no socket: `send` and the time come from outside.
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum, auto
from ipaddress import ip_address

from appliance.health.evidence import EXAMINE_PORTS, Evidence, Examinee, Reply
from appliance.health.probes import icmp
from appliance.health.probes.fullsize import MTUS
from appliance.health.probes.raw import checksum
from appliance.health.probes.syn import ACK, RST, SYN, syn_segment
from appliance.health.quoted import Quoted, Refusal, read_error
from appliance.model import Address, Protocol

ROUNDS = (0.0, 0.4, 1.0)
"""When what is not answered yet is sent, in seconds from the beginning ..."""
END = 1.8
"""... and when nothing more is waited for."""
SYN_HEADERS = {4: 20 + 24, 6: 40 + 24}
"""Bytes of an IP packet with a SYN, its option for the segment size included."""
TUNNELS = {"ipip": (4, 41), "gre": (47,), "fou": (17,), "gue": (17,)}
"""The protocol numbers of outer packets."""
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_UDP = struct.Struct("!HHHH")


class Place(StrEnum):
    """In which network namespace."""

    PROBE = "probe"
    HOST = "host"


class _What(Enum):
    VIP = auto()
    OWN = auto()
    SIZE = auto()


Send = Callable[[Place, int, int, bytes, str], None]
"""Sends a message (what follows the IP header) in a place, of an IP version and protocol, to a host; raises OSError."""
Source = Callable[[Place, int, str], str]
"""The address that a place would send from to a host; raises OSError."""


@dataclass(slots=True)
class _Question:
    """What one source port stands for."""

    case: _Case
    what: _What
    port: int
    cookie: int
    size: int = 0
    answered: bool = False


@dataclass(slots=True)
class _Case:
    examinee: Examinee
    evidence: Evidence
    questions: list[_Question] = field(default_factory=list)

    def learn(self, **seen: object) -> None:
        self.evidence = replace(self.evidence, **seen)  # type: ignore[arg-type]


class Examination:
    """A batch of examinees. `first` is the first source port to use; `next_port` the one after the last used."""

    def __init__(self, examinees: Iterable[Examinee], send: Send, source: Source, first: int) -> None:
        self._send = send
        self._source = source
        self._port = first
        self._by_port: dict[int, _Question] = {}
        self._cases = [_Case(one, Evidence(one.number)) for one in examinees]
        self._cookie = secrets.token_bytes(icmp.COOKIE)
        self._round = 0
        for case in self._cases:
            self._ask(case, _What.VIP)
            self._ask(case, _What.OWN)
            for size in _sizes(case.examinee):
                self._ask(case, _What.SIZE, size)
            case.learn(full=case.examinee.size)

    @property
    def next_port(self) -> int:
        """Where the next batch begins."""
        return self._port

    def evidence(self) -> list[Evidence]:
        """What is known by now."""
        return [case.evidence for case in self._cases]

    def over(self, now: float) -> bool:
        """Whether nothing more is waited for; `now` is in seconds from the beginning."""
        return now >= END or not any(self._open(case) for case in self._cases)

    def due(self) -> float:
        """When `work` has to be called next."""
        return ROUNDS[self._round] if self._round < len(ROUNDS) else END

    def work(self, now: float) -> None:
        """Send what is due."""
        if self._round < len(ROUNDS) and now >= ROUNDS[self._round]:
            self._round += 1
            for case in self._cases:
                for question in case.questions:
                    self._send_again(case, question)

    # ---- asking

    def _ask(self, case: _Case, what: _What, size: int = 0) -> None:
        question = _Question(case, what, self._port, secrets.randbits(32), size)
        self._by_port[self._port] = question
        case.questions.append(question)
        self._port = self._port + 1 if self._port + 1 in EXAMINE_PORTS else EXAMINE_PORTS.start

    def _send_again(self, case: _Case, question: _Question) -> None:
        seen, asked, own = case.evidence, case.examinee, question.what is _What.OWN
        try:
            if question.what is _What.SIZE:
                first = self._round > 1 or question.size == seen.full
                if first and not question.answered and seen.passed < asked.size:
                    self._knock(question)
                return
            if (seen.own if own else seen.vip) is Reply.SILENCE:
                self._knock(question)
            if not (seen.own_echo if own else seen.vip_echo):
                self._echo(Place.HOST if own else Place.PROBE, asked.backend if own else asked.nat, question)
        except OSError as error:
            if not own:  # no way to the own address is silence from there
                case.learn(trouble=(error.strerror or str(error)).lower())

    def _knock(self, question: _Question) -> None:
        asked, own = question.case.examinee, question.what is _What.OWN
        place, to = (Place.HOST, asked.backend) if own else (Place.PROBE, asked.nat)
        version, host, port = to.version, str(to), asked.arrival if own else asked.port
        if question.what is _What.VIP and asked.protocol is Protocol.UDP:
            source = self._source(place, version, host)
            self._send(place, version, 17, _datagram(source, host, question.port, port, asked.ask), host)
            return
        data = b"\0" * (max(0, question.size - SYN_HEADERS[version]) & ~1)
        source = self._source(place, version, host)
        segment = syn_segment(FAMILIES[version], source, host, question.port, port, question.cookie, data)
        self._send(place, version, 6, segment, host)

    def _echo(self, place: Place, to: Address, question: _Question) -> None:
        message = icmp.request(FAMILIES[to.version], question.port, self._round, self._cookie)
        self._send(place, to.version, 1, message, str(to))

    # ---- being answered

    def take(self, place: Place, version: int, protocol: int, sender: str, message: bytes) -> None:
        """Look at what came in: protocol 6, 17 or 1 (for both ICMPs), and what follows the IP header."""
        if protocol == 6:
            self._take_segment(place, ip_address(sender), message)
        elif protocol == 17:
            self._take_datagram(place, ip_address(sender), message)
        elif (reply := icmp.read_reply(FAMILIES[version], message)) is not None:
            self._take_echo(place, ip_address(sender), *reply)
        elif (error := read_error(version, message)) is not None:
            self._take_error(ip_address(sender), error)

    def _take_segment(self, place: Place, sender: Address, segment: bytes) -> None:
        if len(segment) < 20:
            return
        port, own_port, _, acknowledged, _, flags = struct.unpack_from("!HHIIBB", segment)
        question = self._by_port.get(own_port)
        if question is None or not flags & ACK or flags & (SYN | RST) not in (SYN, RST):
            return
        # A RST to a SYN with data acknowledges the data, too.
        ahead = (acknowledged - question.cookie - 1) & 0xFFFFFFFF
        if ahead > max(0, question.size):
            return
        self._hear(place, sender, question, Reply.RESET if flags & RST else Reply.ACCEPTED, port)

    def _take_datagram(self, place: Place, sender: Address, datagram: bytes) -> None:
        if len(datagram) < _UDP.size:
            return
        port, own_port, _, _ = _UDP.unpack_from(datagram)
        question = self._by_port.get(own_port)
        if question is not None and question.what is _What.VIP:
            self._hear(place, sender, question, Reply.ACCEPTED, port)

    def _hear(self, place: Place, sender: Address, question: _Question, reply: Reply, port: int) -> None:
        case, asked = question.case, question.case.examinee
        if question.what is _What.OWN:
            if sender == asked.backend and port == asked.arrival:
                case.learn(own=reply)
        elif place is Place.HOST:
            case.learn(stray=sender)
        elif sender == asked.nat and port == asked.port:
            if question.what is _What.VIP:
                case.learn(vip=reply)
            else:
                question.answered = True
                case.learn(passed=max(case.evidence.passed, question.size))

    def _take_echo(self, place: Place, sender: Address, identifier: int, data: bytes) -> None:
        question = self._by_port.get(identifier)
        if question is None or not secrets.compare_digest(data, self._cookie):
            return
        case = question.case
        if place is Place.HOST and question.what is _What.OWN and sender == case.examinee.backend:
            case.learn(own_echo=True)
        elif place is Place.HOST and question.what is _What.VIP:
            case.learn(stray=sender)
        elif place is Place.PROBE and sender == case.examinee.nat:
            case.learn(vip_echo=True)

    def _take_error(self, sender: Address, error: Quoted) -> None:
        about = [case for case in self._cases if _is_outer(case.examinee, error)]
        for case in about:
            if error.refusal is Refusal.TOO_BIG:
                case.learn(narrow=error.mtu, narrow_by=sender)
            else:
                case.learn(outer=error.refusal, outer_by=sender)
        if about:
            return
        question = self._by_port.get(error.source_port)
        if question is None:
            self._overhear(error)
            return
        case = question.case
        asked = case.examinee
        if error.destination not in (asked.nat, asked.vip, asked.backend):
            return
        if error.refusal is Refusal.TOO_BIG:
            case.learn(narrow=error.mtu, narrow_by=sender)
        elif error.protocol in (1, 58):
            pass  # that echo requests are not let through tells nothing of the service
        elif question.what is _What.OWN:
            case.learn(own=Reply.UNREACHABLE, own_refusal=error.refusal)
        elif question.what is _What.VIP:
            case.learn(vip=Reply.UNREACHABLE, vip_refusal=error.refusal)

    def _overhear(self, error: Quoted) -> None:
        """Learn from an error about a probe of the checks: a host sends few errors, and they may get them all."""
        for case in self._cases:
            asked = case.examinee
            same = (error.destination, error.port, error.protocol) == (asked.nat, asked.port, int(asked.protocol))
            if same and error.refusal is not Refusal.TOO_BIG and case.evidence.vip is Reply.SILENCE:
                case.learn(vip=Reply.UNREACHABLE, vip_refusal=error.refusal)

    def _open(self, case: _Case) -> bool:
        """Whether another answer could still tell something."""
        seen, asked = case.evidence, case.examinee
        if seen.trouble:
            return False
        if Reply.SILENCE in (seen.vip, seen.own) or not (seen.vip_echo and seen.own_echo):
            return True
        return bool(asked.size) and seen.passed < asked.size


def _sizes(asked: Examinee) -> Iterator[int]:
    """The sizes of packets to try, the full one first."""
    if asked.size > SYN_HEADERS[asked.vip.version]:
        yield asked.size
        yield from (size for size in reversed(MTUS) if size < asked.size)


def _is_outer(asked: Examinee, error: Quoted) -> bool:
    """Whether an error is about the outer packet of this examinee's tunnel."""
    if error.destination != asked.backend or error.protocol not in TUNNELS.get(asked.tunnel, ()):
        return False
    return error.protocol != 17 or error.port == asked.tunnel_port


def _datagram(source: str, host: str, source_port: int, port: int, data: bytes) -> bytes:
    """Return a UDP datagram (RFC 768) with its checksum for IPv4; the kernel writes that of IPv6."""
    length = _UDP.size + len(data)
    head = _UDP.pack(source_port, port, length, 0) + data
    if ":" in host:
        return head
    pseudo = socket.inet_aton(source) + socket.inet_aton(host) + struct.pack("!BBH", 0, 17, length)
    whole = pseudo + head
    found = checksum(whole + b"\0" * (len(whole) % 2))
    return head[:6] + struct.pack("!H", found or 0xFFFF) + data
