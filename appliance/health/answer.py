"""What one probe brought home."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.model import Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """How a probe ended. Durations are nanoseconds, each of its own phase; 0 where the phase was not completed.

    The outcome follows one rule. NONE: refused, reset or closed before the first byte of an answer, unreachable, or
    not finished in time. WRONG: bytes came, but not the expected ones (status, TLS alert, garbage, an answer cut
    short). OK: the rest.
    """

    outcome: Outcome
    diagnostic: str
    total_ns: int = 0
    connect_ns: int = 0
    """From the SYN to the established connection (half-open probes: to the SYN-ACK)."""
    tls_ns: int = 0
    """The TLS handshake."""
    first_byte_ns: int = 0
    """From the request to the first byte of the response."""
    http_status: int = 0
    tls_version: str = ""
    certificate_expires: int = 0
    """When the server's certificate ends, in seconds since the epoch; 0 where that is not known."""
