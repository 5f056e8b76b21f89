"""Which class a failed probe belongs to, so that failures can be counted and drawn without reading sentences. Pure.

The words are those of the probes (`appliance/health/probes`); a test holds this table against every one of them.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

from appliance.model import Outcome


class Failure(StrEnum):
    """Why a probe failed; the words are the values of the field `error.type`."""

    REFUSED = "refused"
    RESET = "reset"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    CLOSED = "closed"
    """The connection ended without an answer, or in the middle of one."""
    TLS = "tls"
    CERTIFICATE = "certificate"
    STATUS = "status"
    """An answer that says that something is wrong: an HTTP status, a DNS code, a gRPC status."""
    CONTENT = "content"
    """An answer without what was looked for."""
    PROTOCOL = "protocol"
    """What came is not what the protocol allows."""
    OTHER = "other"


# What a diagnostic holds, first match decides.
WORDS: tuple[tuple[str, Failure], ...] = (
    ("certificate", Failure.CERTIFICATE),
    ("hostname mismatch", Failure.CERTIFICATE),
    ("not valid", Failure.PROTOCOL),
    ("but the body", Failure.CONTENT),
    ("timeout", Failure.TIMEOUT),
    ("connection refused", Failure.REFUSED),
    ("connection reset", Failure.RESET),
    ("reset the call", Failure.RESET),
    ("unreachable", Failure.UNREACHABLE),
    ("host down", Failure.UNREACHABLE),
    ("prohibited", Failure.UNREACHABLE),
    ("connection closed", Failure.CLOSED),
    ("ended the connection", Failure.CLOSED),
    ("without an end", Failure.PROTOCOL),
    ("and not gRPC", Failure.PROTOCOL),
    ("not gRPC", Failure.PROTOCOL),
    ("no final response", Failure.PROTOCOL),
    ("protocol error", Failure.PROTOCOL),
    ("not a health answer", Failure.PROTOCOL),
    ("none that was asked for", Failure.PROTOCOL),
    ("cannot be sent", Failure.PROTOCOL),
    ("TLS", Failure.TLS),
    ("HTTP", Failure.STATUS),
    ("gRPC", Failure.STATUS),
    ("expected SERVING", Failure.STATUS),
    ("the answer begins with", Failure.CONTENT),
    ("expected", Failure.STATUS),
)


@lru_cache(maxsize=1024)
def classify(outcome: Outcome, diagnostic: str) -> str:
    """Return the class of a failure from its words; empty for a probe that went well."""
    if outcome is Outcome.OK:
        return ""
    for words, found in WORDS:
        if words in diagnostic:
            return str(found)
    return str(Failure.OTHER)
