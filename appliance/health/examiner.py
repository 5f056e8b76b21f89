"""The examiner: a process that sees why backends do not answer, and may do nothing else.

    python -m appliance.health.examiner SOCKETS      started by `vc5 doctor`, as a user without rights or capabilities

It parses what strangers send, so all that it holds are raw sockets that it inherited, opened by `opened` in both
network namespaces; SOCKETS names them, as JSON. Examinees come in on standard input, evidence leaves on standard
output, batch by batch (evidence.py).
"""

from __future__ import annotations

import json
import secrets
import selectors
import socket
import struct
import sys
from dataclasses import dataclass
from time import monotonic
from typing import BinaryIO

from appliance.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from appliance.health.evidence import EXAMINE_PORTS, MAX_LINE, Evidence, Examinee, decode_examinees, encode_evidence
from appliance.health.examination import FAMILIES, Examination, Place
from appliance.health.probes import icmp
from appliance.health.probes.raw import payload
from appliance.health.probes.syn import CHECKSUM_OFFSET, attach_filter, attach_port_filter, source_address

BATCH = 64
"""Examinees that are asked together."""
LONGEST = 2048
"""Bytes of a packet that are looked at."""
MOST_ASLEEP = 0.1
"""Seconds from one look at the clock to the next, at most."""
PROBE_MTU = 1500
"""Bytes that the veth of the probe namespace takes; longer packets cannot be tried."""
_TCP, _UDP, _ICMP = 6, 17, 1
_UDP_CHECKSUM_OFFSET = 6
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PROBE = 10, 23, 3
"""linux/in.h, linux/in6.h: don't-fragment on all packets, whatever is known of the path."""
_ERRORS4, _ERRORS6 = (icmp.ECHO_REPLY, 3, 11), (icmp.ECHO6_REPLY, 1, 2, 3, 4)


@dataclass(frozen=True)
class Opened:
    """A raw socket, by its descriptor, in a place, and the address that packets of its family leave from there.

    That is empty where it depends on where they go.
    """

    place: Place
    version: int
    protocol: int
    descriptor: int
    source: str = ""


def opened(place: Place, version: int, source: str = "") -> list[tuple[Opened, socket.socket]]:
    """Open the sockets of a family in the network namespace of the caller.

    Needs CAP_NET_RAW. Raises OSError, with nothing left open.
    """
    family, found = FAMILIES[version], []
    try:
        for protocol in (_TCP, _UDP, _ICMP):
            number = socket.IPPROTO_ICMPV6 if protocol == _ICMP and version == 6 else protocol
            raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, number)
            found.append((Opened(place, version, protocol, raw.fileno(), source), raw))
            _prepare(raw, family, protocol)
    except OSError:
        for _, raw in found:
            raw.close()
        raise
    return found


def _prepare(raw: socket.socket, family: int, protocol: int) -> None:
    if family == socket.AF_INET:
        raw.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)
    else:
        raw.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PROBE)
    if protocol == _TCP:
        attach_filter(raw, family, EXAMINE_PORTS)
    elif protocol == _UDP:
        attach_port_filter(raw, family, EXAMINE_PORTS)
    elif family == socket.AF_INET:
        raw.setsockopt(socket.IPPROTO_RAW, icmp.ICMP_FILTER, struct.pack("=I", _filter(_ERRORS4)[0]))
    else:
        raw.setsockopt(socket.IPPROTO_ICMPV6, icmp.ICMP6_FILTER, struct.pack("=8I", *_filter(_ERRORS6)))
    if family == socket.AF_INET6 and protocol != _ICMP:
        offset = CHECKSUM_OFFSET if protocol == _TCP else _UDP_CHECKSUM_OFFSET
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, offset)


def _filter(passing: tuple[int, ...]) -> list[int]:
    """The words of a filter that lets these types of message pass."""
    words = [0xFFFFFFFF] * 8
    for kind in passing:
        words[kind // 32] &= ~(1 << kind % 32)
    return words


class Examiner:
    """The sockets, and the loop over them."""

    def __init__(self, sockets: list[Opened]) -> None:
        """Take over the sockets, which are open in this process under these numbers; raises OSError."""
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[tuple[Place, int, int], socket.socket] = {}
        self._sources: dict[tuple[Place, int], str] = {}
        for one in sockets:
            raw = socket.socket(fileno=one.descriptor)
            self._sockets[one.place, one.version, one.protocol] = raw
            self._sources[one.place, one.version] = one.source
            self._selector.register(raw, selectors.EVENT_READ, (one.place, one.version, one.protocol))
        # Not where the last run began: an answer with a wrong source leaves a connection half open at the backend, and
        # its reset goes astray, too; a SYN from the same port is answered by a mere ACK then (RFC 5961 section 4.2).
        self._port = secrets.choice(EXAMINE_PORTS)

    def examine(self, examinees: list[Examinee]) -> list[Evidence]:
        """Examine a batch."""
        examination = Examination(examinees, self._send, self._source, self._port)
        began = now = monotonic()
        while not examination.over(now - began):
            examination.work(now - began)
            wait = min(MOST_ASLEEP, max(0.0, began + examination.due() - now))
            for key, _ in self._selector.select(wait):
                self._read(key.fileobj, key.data, examination)
            now = monotonic()
        self._port = examination.next_port
        return examination.evidence()

    def close(self) -> None:
        """Close the sockets."""
        self._selector.close()
        for raw in self._sockets.values():
            raw.close()

    def _read(self, raw: object, which: tuple[Place, int, int], examination: Examination) -> None:
        assert isinstance(raw, socket.socket)
        place, version, protocol = which
        try:
            while True:
                packet, sender = raw.recvfrom(LONGEST)
                message = payload(FAMILIES[version], packet)
                examination.take(place, version, protocol, sender[0].partition("%")[0], message)
        except OSError:
            return  # nothing more for now; an error of the network that the kernel tells here comes as a packet, too

    def _send(self, place: Place, version: int, protocol: int, message: bytes, host: str) -> None:
        raw = self._sockets.get((place, version, protocol))
        if raw is None:
            raise OSError(0, f"there is no IPv{version} here")
        raw.sendto(message, (host, 0))

    def _source(self, place: Place, version: int, host: str) -> str:
        return self._sources.get((place, version)) or source_address(FAMILIES[version], host)


def decode_sockets(text: str) -> list[Opened]:
    """Read the argument; raises ValueError."""
    try:
        return [Opened(Place(place), *rest) for place, *rest in json.loads(text)]
    except (TypeError, ValueError) as error:
        raise ValueError(f"not a list of sockets: {error}") from None


def encode_sockets(sockets: list[Opened]) -> str:
    """Return the argument."""
    return json.dumps([[one.place, one.version, one.protocol, one.descriptor, one.source] for one in sockets])


def serve(examiner: Examiner, source: BinaryIO, to: BinaryIO) -> None:
    """Read the examinees and write what was seen of them; raises ValueError for what are none."""
    examinees = decode_examinees(source.readline(MAX_LINE))
    for start in range(0, len(examinees), BATCH):
        to.write(encode_evidence(examiner.examine(examinees[start : start + BATCH])))
        to.flush()


def main(arguments: list[str]) -> int:
    """Run the process; return its exit status."""
    try:
        [text] = arguments
        sockets = decode_sockets(text)
    except ValueError as error:
        print(f"usage: python -m appliance.health.examiner SOCKETS: {error}", file=sys.stderr)
        return EXIT_USAGE
    examiner = Examiner(sockets)
    try:
        serve(examiner, sys.stdin.buffer, sys.stdout.buffer)
    except ValueError as error:
        print(f"malformed message from the doctor: {error}", file=sys.stderr)
        return EXIT_FAILED
    finally:
        examiner.close()
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
