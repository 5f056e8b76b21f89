"""What the exchange wants done, and what it asks of the node whose voice it is. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple, Protocol

from appliance.fleet.members import Member
from appliance.fleet.records import Facts, Record, TableOf
from appliance.model_address import Endpoint, ServiceKey


class Send(NamedTuple):
    """A datagram is to go out now; `to` None: to the group, and to each configured peer."""

    data: bytes
    to: Endpoint | None


class Learn(NamedTuple):
    """Somebody has told something. In the order in which he told it, each record once, unless by `sync`."""

    member: Member
    records: tuple[Record, ...]
    sync: bool = False
    """Whether it is a part of the whole state that this node has asked for."""


class Joined(NamedTuple):
    """Another node is there: it has proved that it lives, and has our key."""

    member: Member


class Why(StrEnum):
    """Why a member is gone."""

    SILENT = "silent"
    """It has not been heard for SILENCE seconds."""
    LEFT = "left"
    """It has said goodbye."""
    RESTARTED = "restarted"
    """Its successor has come: the same name, at the same address."""


class Gone(NamedTuple):
    """A member is not there any more. Its own facts (view, load, announcements) are to be forgotten."""

    member: Member
    why: Why


class Synced(NamedTuple):
    """What this node had asked of a member has come whole; from here on the member's stream goes on without a gap."""

    member: Member


class TableTold(NamedTuple):
    """A table that was asked for with `ask_table` has come; None: it has not, or the member has no such service."""

    member: Member
    service: ServiceKey
    table: TableOf | None


class Failed(NamedTuple):
    """The node's own records could not be told, or not be read: an error of this program, for the log."""

    what: str


Order = Send | Learn | Joined | Gone | Synced | TableTold | Failed


class Local(Protocol):
    """The node whose voice the exchange is. None of these raises, and none of them waits."""

    def hello(self) -> Facts:
        """Return the node's own facts as they are now. Asked for several times a second."""
        ...

    def state(self, shared: bool) -> Iterator[Record]:
        """Yield everything for a node that knows nothing: own facts (View, Load, Tables, Announces), each whole.

        With `shared` also what is true for the whole fleet (Slots, Flows), whoever has told it. It is read lazily, in
        pieces over some seconds: give a few hundred entries in each record, and mind that tables change meanwhile.
        """
        ...

    def table(self, service: ServiceKey) -> TableOf | None:
        """Return the slots of a service; None where there is no such service."""
        ...
