"""BFD with routers, as the daemon wants it: what a way that is broken means for sessions, and what is told of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from appliance.model import Address, EventKind, Severity
from appliance.model_bgp import Peer
from appliance.routing.bfd.client import BfdClient
from appliance.routing.bfd.messages import GRACE, BfdSession, SessionState
from appliance.routing.bfd.packet import State
from appliance.routing.speaker import Speaker
from appliance.routing.status import BfdState, BfdStatus
from appliance.telemetry.routing import bfd_details

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

STATES = dict(zip(State, (BfdState.ADMIN_DOWN, BfdState.DOWN, BfdState.INIT, BfdState.UP), strict=True))


class PathsWatched:
    """The ways to routers that BFD watches."""

    def __init__(self, daemon: Daemon, speaker: Speaker) -> None:
        self._daemon, self._speaker = daemon, speaker
        self.client = BfdClient(daemon.root, self._changed, starts=not daemon.instance.apart)
        self._up: dict[Address, bool] = {}
        self._flaps: Counter[Address] = Counter()
        self._begun = False

    def follow(self, peers: Iterable[Peer]) -> None:
        """Watch the ways to these peers, as far as they want it; cheap to be called each second."""
        watched = [peer for peer in peers if peer.bfd is not None]
        if not watched and not self._begun:
            return
        self._begun = True
        grace = max((float(one.restart_time) for one in watched if one.graceful_restart), default=GRACE)
        self.client.follow([self._session(one) for one in watched], grace)
        gone = self._up.keys() - {one.address for one in watched}
        for address in gone:
            del self._up[address]
            self._speaker.bfd(address, down=False, why="")

    def _session(self, peer: Peer) -> BfdSession:
        assert peer.bfd is not None
        # As the route says where nothing is configured: what the session uses is known too late, and may change.
        return BfdSession(peer.address, peer.bfd.interval, peer.bfd.multiplier, peer.multihop > 1, peer.source_ip)

    async def stop(self, *, forever: bool) -> None:
        """Leave the process: it goes on for those who follow, or tells all peers of the end."""
        if self._begun:
            await self.client.stop(forever)

    def _changed(self, peer: Address, state: State, diagnostic: int, why: str) -> None:
        found = self.client.states().get(peer)
        if found is None:
            return
        self._speaker.bfd(peer, down=found.broken, why=why)
        up, was = state is State.UP, self._up.get(peer)
        if up == was or (was is None and not up) or state is State.INIT:
            return
        self._up[peer] = up
        if was:
            self._flaps[peer] += 1
        status = self.status(peer)
        assert status is not None
        self._daemon.record(
            EventKind.BFD,
            f"BFD {'up' if up else 'down'}{f': {why}' if why else ''}",
            peer=peer,
            outcome="up" if up else "down",
            before="down" if up else "up",
            reason=why,
            severity=Severity.NOTICE if up else Severity.ERROR,
            details=bfd_details(status),
        )
        self._daemon.recorder.flush_soon()

    def status(self, peer: Address) -> BfdStatus | None:
        """Return how it stands with one; None where nothing is known of it."""
        found: SessionState | None = self.client.states().get(peer)
        if found is None:
            return None
        wall = time.time() - time.monotonic()
        return BfdStatus(
            STATES[found.state],
            wall + found.since,
            STATES[found.remote_state] if found.packets_in else None,
            found.why if found.state is not State.UP else "",
            interval=found.interval,
            detection=found.detection,
            multihop=found.multihop,
            sent=found.packets_out,
            received=found.packets_in,
            dropped=found.bad,
            flaps=self._flaps[peer],
        )
