"""What is to be found out of a backend that does not answer, and what was: the words of the examiner. Pure.

doctor -> examiner   [{...}, ...]   one line of JSON: the examinees
examiner -> doctor   [{...}, ...]   one line for each batch: what was seen of it

The examiner reads what strangers send, so what it says is checked like anything from outside.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from appliance.health.checks import MAX_PAYLOAD, integer, text
from appliance.health.diagnostic import LIMIT, printable
from appliance.health.quoted import Refusal
from appliance.model import Address, Protocol

EXAMINE_PORTS = range(8192, 16384)
"""Source ports of what the examiner sends: neither the prober's (ports.py) nor, as a rule, the kernel's own."""
MAX_LINE = 64 << 20
"""Bytes of a message, at most."""
_NUMBERS = 1 << 32


class Reply(StrEnum):
    """What came back for a SYN, or for a datagram."""

    SILENCE = "silence"
    ACCEPTED = "accepted"
    """SYN-ACK, or a datagram."""
    RESET = "reset"
    UNREACHABLE = "unreachable"
    """An ICMP error."""


@dataclass(frozen=True, slots=True)
class Examinee:
    """A backend of a service. `nat` is the private address that the data plane turns into the VIP on this backend.

    `port` is what clients use, `arrival` what the backend does. `size` is the longest IP packet, in bytes, that the way
    is said to carry for clients; 0: not to be tried. `tunnel` is its kind, empty for none, `tunnel_port` that of UDP.
    `ask` is the datagram for a service by UDP; empty: none is known that would be answered.
    """

    number: int
    vip: Address
    port: int
    protocol: Protocol
    backend: Address
    arrival: int
    nat: Address
    size: int = 0
    tunnel: str = ""
    tunnel_port: int = 0
    ask: bytes = b""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of one examinee. Sizes are bytes of IP packets."""

    number: int
    vip: Reply = Reply.SILENCE
    """What came from the VIP ..."""
    vip_refusal: Refusal | None = None
    vip_echo: bool = False
    """... and whether it answered an echo request."""
    own: Reply = Reply.SILENCE
    """The same of the backend's own address, not through the VIP."""
    own_refusal: Refusal | None = None
    own_echo: bool = False
    stray: Address | None = None
    """From which other address an answer of the VIP came."""
    outer: Refusal | None = None
    """What became of the outer packet of a tunnel."""
    outer_by: Address | None = None
    full: int = 0
    """The largest size that was tried ..."""
    passed: int = 0
    """... and the largest that was answered; 0: none."""
    narrow: int = 0
    """The MTU that somebody on the way told, 0 for nobody ..."""
    narrow_by: Address | None = None
    trouble: str = ""
    """Why something could not be sent."""


def encode_examinees(examinees: list[Examinee]) -> bytes:
    """Return the examinees as a line."""
    return _line(
        [
            {
                "number": one.number,
                "vip": str(one.vip),
                "port": one.port,
                "protocol": int(one.protocol),
                "backend": str(one.backend),
                "arrival": one.arrival,
                "nat": str(one.nat),
                "size": one.size,
                "tunnel": one.tunnel,
                "tunnel_port": one.tunnel_port,
                "ask": one.ask.hex(),
            }
            for one in examinees
        ]
    )


def decode_examinees(line: bytes) -> list[Examinee]:
    """Read them; raises ValueError that says what is wrong."""
    return [_examinee(item, f"examinees[{index}]") for index, item in enumerate(_list(line))]


def encode_evidence(evidence: list[Evidence]) -> bytes:
    """Return what was seen as a line."""
    return _line(
        [
            {
                "number": one.number,
                "vip": one.vip,
                "vip_refusal": one.vip_refusal,
                "vip_echo": one.vip_echo,
                "own": one.own,
                "own_refusal": one.own_refusal,
                "own_echo": one.own_echo,
                "stray": _said(one.stray),
                "outer": one.outer,
                "outer_by": _said(one.outer_by),
                "full": one.full,
                "passed": one.passed,
                "narrow": one.narrow,
                "narrow_by": _said(one.narrow_by),
                "trouble": one.trouble,
            }
            for one in evidence
        ]
    )


def decode_evidence(line: bytes) -> list[Evidence]:
    """Read what was seen; raises ValueError that says what is wrong."""
    return [_evidence(item, f"evidence[{index}]") for index, item in enumerate(_list(line))]


def _examinee(item: object, where: str) -> Examinee:
    known = _keys(item, Examinee.__dataclass_fields__, where)
    nat, vip = _address(known["nat"], where), _address(known["vip"], where)
    if nat.version != vip.version:
        raise ValueError(f"{where}: the private address is not of the VIP's family")
    try:
        ask = bytes.fromhex(text(known["ask"], f"{where}: ask", 2 * MAX_PAYLOAD))
        protocol = Protocol(integer(known["protocol"], f"{where}: protocol", 0, 255))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return Examinee(
        number=integer(known["number"], f"{where}: number", 0, _NUMBERS),
        vip=vip,
        port=integer(known["port"], f"{where}: port", 1, 65535),
        protocol=protocol,
        backend=_address(known["backend"], where),
        arrival=integer(known["arrival"], f"{where}: arrival", 1, 65535),
        nat=nat,
        size=integer(known["size"], f"{where}: size", 0, 65535),
        tunnel=text(known["tunnel"], f"{where}: tunnel", 16),
        tunnel_port=integer(known["tunnel_port"], f"{where}: tunnel_port", 0, 65535),
        ask=ask,
    )


def _evidence(item: object, where: str) -> Evidence:
    known = _keys(item, Evidence.__dataclass_fields__, where)
    return Evidence(
        number=integer(known["number"], f"{where}: number", 0, _NUMBERS),
        vip=_reply(known["vip"], where),
        vip_refusal=_refusal(known["vip_refusal"], where),
        vip_echo=_boolean(known["vip_echo"], where),
        own=_reply(known["own"], where),
        own_refusal=_refusal(known["own_refusal"], where),
        own_echo=_boolean(known["own_echo"], where),
        stray=_maybe(known["stray"], where),
        outer=_refusal(known["outer"], where),
        outer_by=_maybe(known["outer_by"], where),
        full=integer(known["full"], f"{where}: full", 0, 65535),
        passed=integer(known["passed"], f"{where}: passed", 0, 65535),
        narrow=integer(known["narrow"], f"{where}: narrow", 0, 65535),
        narrow_by=_maybe(known["narrow_by"], where),
        trouble=printable(text(known["trouble"], f"{where}: trouble", LIMIT)),
    )


def _line(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _list(line: bytes) -> list[object]:
    try:
        message: Any = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {printable(str(error))}") from None
    if not isinstance(message, list):
        raise ValueError("not a list")
    return message


def _keys(item: object, wanted: Any, where: str) -> dict[str, object]:
    if not isinstance(item, dict) or item.keys() != wanted.keys():
        raise ValueError(f"{where}: needs exactly the keys {', '.join(wanted)}")
    return item


def _said(address: Address | None) -> str | None:
    return None if address is None else str(address)


def _address(value: object, where: str) -> Address:
    try:
        return ipaddress.ip_address(text(value, where, 64))
    except ValueError:
        raise ValueError(f"{where}: {printable(repr(value))} is not an IP address") from None


def _maybe(value: object, where: str) -> Address | None:
    return None if value is None else _address(value, where)


def _boolean(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{where}: {printable(repr(value))} is neither true nor false")
    return value


def _reply(value: object, where: str) -> Reply:
    if value not in tuple(Reply):
        raise ValueError(f"{where}: {printable(repr(value))} is no reply")
    return Reply(str(value))


def _refusal(value: object, where: str) -> Refusal | None:
    if value is None:
        return None
    if value not in tuple(Refusal):
        raise ValueError(f"{where}: {printable(repr(value))} is no refusal")
    return Refusal(str(value))
