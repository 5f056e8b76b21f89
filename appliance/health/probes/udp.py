"""The check `udp`: one datagram out, one back that begins as expected."""

from __future__ import annotations

from appliance.health.probes.datagram import Datagram
from appliance.health.probes.failure import ProbeFailed
from appliance.model import Check, Outcome

SHOWN = 16
"""Bytes of an answer that a diagnostic shows, at most."""


async def converse(datagram: Datagram, check: Check) -> str:
    """Send, wait for an answer, and return the diagnostic of success. Raises what `Datagram` raises."""
    datagram.send(check.send)
    answer = await datagram.receive()
    if not answer.startswith(check.receive):
        raise ProbeFailed(Outcome.WRONG, f"the answer begins with {shown(answer)}, expected {shown(check.receive)}")
    return f"answer of {len(answer)} bytes"


def shown(data: bytes) -> str:
    """Return the beginning of some bytes for people: as text where it is printable ASCII, else as digits."""
    begin, more = data[:SHOWN], "..." if len(data) > SHOWN else ""
    if not data:
        return "nothing"
    if begin.isascii() and (text := begin.decode("ascii")).isprintable():
        return f"'{text}{more}'"
    return f"hex:{begin.hex()}{more}"
