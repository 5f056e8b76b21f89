"""What the exchange keeps of a member, besides what everybody may see of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from appliance.fleet.members import Member, SyncState
from appliance.fleet.receipts import Taken
from appliance.fleet.records import Record, ServiceDown, View
from appliance.fleet.replay import Window
from appliance.fleet.stream import Incoming, Repeats


class Viewing:
    """Puts a view together from its parts, which come in their order."""

    def __init__(self) -> None:
        self._parts: list[View] = []

    def take(self, part: View) -> View | None:
        """Take a part; returns the whole view, once it is."""
        if part.part == 0:
            self._parts = []
        elif not self._parts or (part.part, part.of, part.digest) != self._expected():
            self._parts = []
            return None
        self._parts.append(part)
        if len(self._parts) < part.of:
            return None
        services: list[ServiceDown] = []
        for one in self._parts:
            for service in one.services:
                if services and services[-1].service == service.service:
                    services[-1] = ServiceDown(service.service, services[-1].down + service.down)
                else:
                    services.append(service)
        self._parts = []
        return View(part.digest, tuple(services))

    def _expected(self) -> tuple[int, int, bytes]:
        return len(self._parts), self._parts[0].of, self._parts[0].digest


@dataclass
class Peer:
    """A member, and where we are with it."""

    member: Member
    window: Window
    nonce: int
    """Its latest one; we echo it."""
    oldest: int = 1
    """Number of the oldest datagram of its stream that it keeps."""
    stream: Incoming = field(default_factory=Incoming)
    repeats: Repeats = field(default_factory=Repeats)
    viewing: Viewing = field(default_factory=Viewing)
    taken: Taken = field(default_factory=Taken)
    own_from: int = 0
    """What its stream says of itself up to this number is older than what it has told when asked."""
    greeted: bool = False
    """Whether a HELLO with its nonce was sent since it has joined: before that it does not listen to us."""
    ask_after: float = -inf
    """When it may be asked for everything again."""

    def note(self) -> None:
        """Note what has been taken in of it."""
        if self.stream.next is not None and self.member.sync is SyncState.DONE:
            self.member.taken = self.stream.next - 1
            self.taken.have(self.member.taken)
            self.member.whole_at = self.taken.at

    def whole(self, records: list[Record]) -> list[Record]:
        """Return records with views whole; the latest is remembered."""
        found: list[Record] = []
        for record in records:
            if isinstance(record, View):
                view = self.viewing.take(record)
                if view is not None:
                    self.member.view = view
                    found.append(view)
            else:
                found.append(record)
        return found
