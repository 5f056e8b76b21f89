"""How a session outlives the program that had it: what is left, and how the next program goes on. Pure.

Theory of operation. The socket is handed over open, so the peer notices nothing; what else there is to a session is
here. A program that is replaced leaves everything as it is at that moment (`exact`): half a message that has been read,
bytes that were not sent yet, each route that was told. One that is killed leaves what it said when the session was
established: who the peer is. Then the next one begins where a message begins, tells all routes again, which a router
takes for no change, and withdraws every VIP that may have been announced and is not to be. Where the former program was
killed amid a message, in either direction, the session cannot go on: it is closed without a word, as if it had ended
with that program, and the peer keeps the routes meanwhile (RFC 4724).

Nothing is taken over from a session that the configuration now wants otherwise (`digest`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from appliance.model_address import Address
from appliance.model_bgp import Community
from appliance.routing.bgp.agreement import Local, agree
from appliance.routing.bgp.capability import Family
from appliance.routing.bgp.connection import Connection
from appliance.routing.bgp.message import Open, Reader
from appliance.routing.bgp.notification import Refusal
from appliance.routing.bgp.session import Session
from appliance.routing.route import Attributes

VERSION = 1


@dataclass(frozen=True)
class Left:
    """What a program leaves of one session, in JSON's terms (`as_json`), with times of the clock that goes on."""

    digest: str
    opened: bytes
    """The peer's OPEN."""
    local_address: Address
    inbound: bool
    established_at: float
    since: float
    exact: bool = False
    rest: bytes = b""
    """What has been read of a message that is not whole yet."""
    unsent: bytes = b""
    told: Mapping[Address, Attributes] | None = None
    ended: tuple[Family, ...] = ()
    """Families whose end of the RIB was sent."""
    again: tuple[Family, ...] = ()
    """Families that the peer has asked to hear again, and has not heard to their end."""
    sessions: int = 1
    attempts: int = 0

    def suddenly(self) -> Left:
        """Return what is still true of it once the session goes on."""
        return replace(self, exact=False, rest=b"", unsent=b"", told=None, ended=(), again=())

    def as_json(self) -> dict[str, Any]:
        """As JSON carries it."""
        groups: dict[Attributes, list[str]] = {}
        for vip, attributes in (self.told or {}).items():
            groups.setdefault(attributes, []).append(str(vip))
        return {
            "version": VERSION,
            "digest": self.digest,
            "opened": self.opened.hex(),
            "local": str(self.local_address),
            "inbound": self.inbound,
            "established_at": self.established_at,
            "since": self.since,
            "exact": self.exact,
            "rest": self.rest.hex(),
            "unsent": self.unsent.hex(),
            "told": [[_attributes_as_json(attributes), vips] for attributes, vips in groups.items()],
            "ended": [family.name for family in self.ended],
            "again": [family.name for family in self.again],
            "sessions": self.sessions,
            "attempts": self.attempts,
        }


def read(content: object) -> Left | None:
    """Return what a program of this or another version left; None for what makes no sense."""
    try:
        if not isinstance(content, Mapping) or content["version"] != VERSION:
            return None
        return Left(
            digest=str(content["digest"]),
            opened=bytes.fromhex(content["opened"]),
            local_address=_address(content["local"]),
            inbound=content["inbound"] is True,
            established_at=_seconds(content["established_at"]),
            since=_seconds(content["since"]),
            exact=content["exact"] is True,
            rest=bytes.fromhex(content["rest"]),
            unsent=bytes.fromhex(content["unsent"]),
            told={_address(vip): one for told, vips in content["told"] for one in (_attributes(told),) for vip in vips},
            ended=tuple(Family[name] for name in content["ended"]),
            again=tuple(Family[name] for name in content["again"]),
            sessions=_number(content["sessions"]),
            attempts=_number(content["attempts"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _attributes_as_json(one: Attributes) -> list[Any]:
    communities = [list(community.parts) for community in one.communities]
    return [str(one.next_hop), list(one.as_path), one.med, one.local_pref, communities]


def _attributes(told: list[Any]) -> Attributes:
    next_hop, path, med, preference, communities = told
    parts = tuple(Community(tuple(_number(part) for part in one)) for one in communities)
    med, preference = (None if one is None else _number(one) for one in (med, preference))
    return Attributes(_address(next_hop), tuple(_number(one) for one in path), med, preference, parts)


def _address(found: object) -> Address:
    if not isinstance(found, str):  # a number would be one, too
        raise TypeError(f"{found!r} is no address")
    return ip_address(found)


def _number(found: object) -> int:
    if type(found) is not int or not 0 <= found < 1 << 63:
        raise ValueError(f"{found!r} is no count")
    return found


def _seconds(found: object) -> float:
    if type(found) not in (int, float) or not math.isfinite(found):  # type: ignore[arg-type]
        raise ValueError(f"{found!r} are no seconds")
    return float(found)  # type: ignore[arg-type]


def digest(local: Local) -> str:
    """Return what stands for all that a session depends on: two with the same may be one session."""
    return hashlib.sha256(repr(terms(local)).encode()).hexdigest()


def terms(local: Local) -> tuple[object, ...]:
    """Return what was said in our OPEN, and what the socket was made with."""
    peer = local.peer
    return (
        *(local.router_id, peer.local_as, peer.remote_as, peer.hold_time, peer.source_ip, peer.password),
        *(peer.multihop, peer.ttl_security, peer.passive, peer.multiprotocol),
        *(peer.graceful_restart, peer.restart_time),
    )


def leave(session: Session, *, exact: bool, unsent: bytes = b"") -> Left | None:
    """Return what to leave of a session; None where there is none that is established."""
    serving, outbox = session.serving, session.outbox
    if serving is None or outbox is None or serving.local_address is None:
        return None
    return Left(
        digest=digest(session.local),
        opened=serving.opened_with,
        local_address=serving.local_address,
        inbound=serving.inbound,
        established_at=serving.established_at,
        since=session.since,
        exact=exact,
        rest=serving.reader.rest if exact else b"",
        unsent=unsent if exact else b"",
        told=dict(outbox.told) if exact else None,
        ended=outbox.ended_families if exact else (),
        again=outbox.unfinished_refreshes if exact else (),
        sessions=session.established_count,
        attempts=session.attempts,
    )


def resume(
    local: Local, left: Left, may_have_told: Iterable[Address], chance: Callable[[], float], now: float
) -> tuple[Session, Connection] | None:
    """Return a session that goes on, and its connection; None where it cannot.

    `may_have_told` are VIPs of which the peer may know if what was left is not exact.
    """
    if left.digest != digest(local):
        return None
    reader = Reader()
    reader.feed(left.opened)
    try:
        [opened] = reader.messages()
        if not isinstance(opened, Open):
            return None
        agreement = agree(local, opened)
    except (Refusal, ValueError):
        return None
    session = Session(local, chance, now)
    connection = session.resume(agreement, left.opened, left.local_address, now, inbound=left.inbound)
    connection.established_at, session.since = min(left.established_at, now), min(left.since, now)
    session.established_count, session.attempts = left.sessions, left.attempts
    connection.reader.feed(left.rest)
    connection.uncertain = not left.exact
    assert session.outbox is not None
    if left.exact:
        session.outbox.resume(left.told or {}, left.ended)
        for family in left.again:
            session.outbox.resend(family)
    else:
        session.outbox.suspect(may_have_told)
    return session, connection
