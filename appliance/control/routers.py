"""How it stands with each router, for status, metrics and events: from sessions to routing/status.py. Reads only."""

from __future__ import annotations

import time
from collections.abc import Iterator

from appliance.control.announcing import Announcements
from appliance.routing.bgp.agreement import offer
from appliance.routing.bgp.capability import Family
from appliance.routing.bgp.connection import Ending
from appliance.routing.bgp.message import Keepalive, Notification, Open, RouteRefresh, Update
from appliance.routing.bgp.session import Session
from appliance.routing.capture import capability_words
from appliance.routing.policy import Policy
from appliance.routing.status import (
    BfdStatus,
    Direction,
    GracefulRestart,
    LastError,
    Messages,
    PeerStatus,
    RouteStatus,
    Traffic,
)


def last_error(at: float, ending: Ending) -> LastError:
    """Return why a session ended; `at` in wall-clock seconds."""
    return LastError(at, ending.direction, ending.text, ending.code, ending.subcode, ending.seen or ending.data)


def peer_status(
    session: Session, policy: Policy, announced: Announcements, now: float, bfd: BfdStatus | None, *, routes: bool
) -> PeerStatus:
    """Return how it stands with one peer; `now` in seconds of the sessions' clock."""
    peer, agreement, serving, outbox = session.local.peer, session.agreement, session.serving, session.outbox
    wall = time.time() - now
    offered = offer(session.local).capabilities
    connection = serving or next(iter(session.connections.values()), None)
    hold_time = agreement.hold_time if agreement else peer.hold_time
    families = (agreement or offered).families
    error, end = session.last_error, session.last_end
    if outbox is not None:
        withheld = len(announced.by_vip) - len(outbox.wanted) + len(outbox.refused)
    else:
        withheld = 0
    graceful = GracefulRestart(peer.graceful_restart)
    if agreement is not None and (theirs := agreement.graceful_restart) is not None:
        graceful = GracefulRestart(peer.graceful_restart, True, theirs.time, theirs.restarting)
    return PeerStatus(
        peer.address,
        session.state,
        wall + session.since,
        peer.local_as,
        agreement.remote_as if agreement else peer.remote_as,
        group=peer.group,
        remote_router_id=str(agreement.router_id) if agreement else None,
        local_address=connection.local_address if connection else None,
        passive=peer.passive,
        families=tuple(str(one).lower() for one in Family if one in families),
        hold_time=hold_time,
        keepalive=round(hold_time / 3, 3),
        capabilities_sent=tuple(capability_words(offered)),
        capabilities_received=tuple(capability_words(agreement.received)) if agreement else (),
        graceful_restart=graceful,
        advertised_ipv4=outbox.told_of(4) if outbox else 0,
        advertised_ipv6=outbox.told_of(6) if outbox else 0,
        told=tuple(sorted(outbox.told, key=lambda vip: (vip.version, int(vip)))) if outbox else (),
        pending=outbox.waiting if outbox is not None else 0,
        withheld=withheld,
        end_of_rib=outbox is not None and outbox.ended,
        sent=_traffic(session, Direction.SENT),
        received=_traffic(session, Direction.RECEIVED),
        sessions=session.established_count,
        attempts=session.attempts,
        errors=dict(session.errors),
        treated_as_withdraw=session.treated_as_withdraw,
        received_routes_ignored=session.ignored,
        last_error=last_error(wall + error[0], error[1]) if error else None,
        last_end=last_error(wall + end[0], end[1]) if end else None,
        next_attempt=max(0.0, round(session.next_attempt - now, 3)) if session.next_attempt is not None else None,
        hold_left=max(0.0, round(serving.hold_until - now, 3)) if serving and serving.hold_until else None,
        bfd=bfd,
        routes=tuple(_routes(session, policy, announced)) if routes else (),
    )


def _traffic(session: Session, direction: Direction) -> Traffic:
    opens, updates, notifications, keepalives, refreshes = (
        session.counts[direction, kind] for kind in (Open, Update, Notification, Keepalive, RouteRefresh)
    )
    return Traffic(Messages(opens, updates, notifications, keepalives, refreshes), session.octets[direction])


def _routes(session: Session, policy: Policy, announced: Announcements) -> Iterator[RouteStatus]:
    refused = session.outbox.refused if session.outbox else {}
    for vip, one in sorted(announced.by_vip.items(), key=lambda item: (item[0].version, int(item[0]))):
        why = refused.get(vip) or policy.why(vip, one.how, one.reason)
        attributes = None if vip in refused or session.outbox is None else policy.route_of(vip, one.how)
        if session.outbox is None and not why:
            why = "there is no session"
        yield RouteStatus(vip, attributes, why)
