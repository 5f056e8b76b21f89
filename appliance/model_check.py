"""A health check: its types, its values, its outcomes. `model` has these names too, for everybody."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Protocol(IntEnum):
    """A transport protocol, by its IANA number (the `protocol` field of the IPv4 header)."""

    TCP = 6
    UDP = 17

    def __str__(self) -> str:
        return self.name.lower()


class CheckKind(StrEnum):
    """The types of health check."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"
    SYN = "syn"
    DNS = "dns"
    UDP = "udp"
    GRPC = "grpc"
    ICMP = "icmp"


class Outcome(StrEnum):
    """How one probe ended."""

    OK = "ok"
    WRONG = "wrong-answer"
    NONE = "no-answer"


@dataclass(frozen=True)
class Check:
    """One health check with all its values in force. Times are seconds.

    `expect` holds the HTTP status codes that pass, ascending; empty means any. `rise` good results make a backend up,
    `fall` bad ones down: in a row, or of the latest `window` ones. What a kind does not know (the table of settings
    says which) has its default.
    """

    kind: CheckKind
    port: int
    host: str = ""
    path: str = "/"
    method: str = "GET"
    expect: tuple[int, ...] = (200,)
    interval: float = 2.0
    timeout: float = 2.0
    rise: int = 2
    fall: int = 2
    window: int | None = None
    body: str = ""
    """What the body of the response must contain; empty: anything will do."""
    body_pattern: str = ""
    """A pattern (health/pattern.py) that must be found in the body; empty: anything will do."""
    verify: bool = False
    """Whether the certificate must be valid for the host, and signed by an authority in the file `ca` (empty: by one
    that the system trusts)."""
    ca: str = ""
    expiry_warning: int = 14
    """Days of a certificate's life below which the diagnostic says how many are left; 0: never."""
    transport: Protocol = Protocol.TCP
    """By what a DNS question travels."""
    query: str = "localhost"
    """The name of a DNS question, without its last dot; empty is the root."""
    qtype: str = "A"
    rcode: tuple[int, ...] = (0,)
    """The DNS response codes that pass, ascending; empty means any."""
    send: bytes = b""
    """The datagram of a UDP check."""
    receive: bytes = b""
    """How the answer to it must begin."""
    service: str = ""
    """The name that a gRPC server is asked for; empty: the server as a whole."""
    tls: bool = False
    """Whether gRPC goes over TLS."""
    mtu: bool = False
    """Whether an HTTP request is made so large that it proves that packets of full size arrive."""

    @property
    def protocol(self) -> Protocol:
        """By what the packets of this check travel."""
        return Protocol.UDP if self.kind is CheckKind.UDP else self.transport
