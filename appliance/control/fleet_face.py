"""How a daemon tells of its fleet: the answer to request `fleet`, and the member `fleet` of the status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from appliance.control.socket import Handler, Request
from appliance.errors import RequestError
from appliance.fleet.difference import Ranges
from appliance.fleet.status import FleetStatus
from appliance.model import ServiceKey

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

BRIEF = 20
"""Differences in the status; the request has `LISTED` of fleet_differences.py."""


class Face(Protocol):
    """What a fleet shows of itself."""

    def status(self, service: ServiceKey | None = None, most: int | None = None) -> FleetStatus:
        """Return how it stands, with at most so many differences (None: as many as are told of at most).

        With `service`, only with differences that concern it.
        """
        ...

    async def ranges(self, service: ServiceKey) -> tuple[Ranges, ...]:
        """Ask all others for their table of a service, and compare it with this node's; one for each of them."""
        ...


def brief(daemon: Daemon) -> dict[str, Any] | None:
    """Return the member `fleet` of the status; None: no fleet is configured."""
    face = daemon.telling.showing.fleet
    return None if face is None else face.status(most=BRIEF).as_json()


def handler(daemon: Daemon) -> Handler:
    """The handler of request `fleet`, with a `service` or without; its result is null where no fleet is configured."""

    async def fleet(request: Request) -> Any:
        face, named = daemon.telling.showing.fleet, request.arguments.get("service")
        if face is None:
            return None
        if named is None:
            return face.status().as_json()
        key = _service(daemon, named)
        return face.status(key).as_json(await face.ranges(key))

    return fleet


def _service(daemon: Daemon, named: object) -> ServiceKey:
    """Return which service is meant. Raises RequestError."""
    if not isinstance(named, str):
        raise RequestError("the request names its service otherwise than by a text")
    try:
        return ServiceKey.parse(named)
    except ValueError as error:
        matching = [one.key for one in daemon.instance.state.services() if one.name == named]
        if len(matching) == 1:
            return matching[0]
        many = f"{named!r} is the name of {len(matching)} services; write which one, VIP:PORT/tcp or VIP:PORT/udp"
        raise RequestError(many if matching else str(error)) from None
