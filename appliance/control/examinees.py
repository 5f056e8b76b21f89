"""What the daemon knows of backends that are to be examined: the request `examinees` of the control socket.

    {"all": false}  ->  {"pid": 812, "backends": [{...}, ...]}

with those that do not answer as they should, or cannot be reached; with `all` every one.

It only tells: what is sent to backends is sent by others, who hold the rights for it (examining.py).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from time import thread_time
from typing import TYPE_CHECKING, Any

from appliance.control.socket import Encoded
from appliance.control.standing import TURN
from appliance.control.trouble import mend, overhead
from appliance.errors import ControlError, HostError
from appliance.health import dns_message
from appliance.model import Backend, CheckKind, Forward, Health, Protocol, Service
from appliance.net import namespace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from appliance.control.daemon import Daemon
    from appliance.control.plan import Plan
    from appliance.dataplane.desired import Hop
    from appliance.model import Address

QUESTION_ID = 0x7635
"""The transaction id of a DNS question whose answer nobody reads."""


async def told(daemon: Daemon, arguments: Mapping[str, Any]) -> Encoded:
    """Return the answer, in as many turns of the loop as it takes. Raises ControlError, HostError."""
    wanted = arguments.get("all", False)
    if not isinstance(wanted, bool):
        raise ControlError("`all` is neither true nor false")
    plan = daemon.instance.current
    if plan is None:
        raise HostError("the daemon is still starting")
    hops = {one.key: {member.address: member.hop for member in one.members} for one in plan.desired.services}
    pieces: list[str] = []
    began = thread_time()
    for service in list(daemon.instance.state.services()):
        for row in _rows(daemon, plan, service, hops.get(service.key, {}), every=wanted):
            pieces += [json.dumps(row), ", "]
        if thread_time() - began > TURN:
            await asyncio.sleep(0)
            began = thread_time()
    return Encoded([f'{{"pid": {os.getpid()}, "backends": [', *pieces[:-1], "]}"])


def _rows(
    daemon: Daemon, plan: Plan, service: Service, hops: Mapping[Address, Hop | None], *, every: bool
) -> Iterator[dict[str, Any]]:
    instance = daemon.instance
    numbers = instance.data.tables.numbers(service.key) if instance.data.tables else {}
    for backend in service.backends:
        pair = (service.key, backend.address)
        health = instance.health.health(*pair)
        if health is Health.UNKNOWN:
            health = instance.assumed.get(pair, health)
        way = plan.ways.of(service, backend.address)
        troubles = [
            {"message": trouble.text, "remedy": mend(trouble)}
            for trouble in plan.ways.troubles_of(service, backend.address)
        ]
        resolved = hops.get(backend.address) is not None
        if not every and health is Health.UP and resolved and not troubles:
            continue
        standing = instance.health.standing(*pair)
        number = numbers.get(backend.address)
        probed = number is not None and daemon.instance.can_probe(service.key)
        yield {
            "service": str(service.key),
            "vip": str(service.key.vip),
            "port": service.key.port,
            "protocol": int(service.key.protocol),
            "backend": str(backend.address),
            "arrival": _arrival(service, backend),
            "nat": str(namespace.nat_address(number, service.key.vip.version)) if probed and number else None,
            "health": str(health),
            "diagnostic": standing.diagnostic if standing else "",
            "checked": bool(service.checks),
            "troubles": troubles,
            "resolved": resolved,
            "next_hop": str(way.neighbour[1]) if way.neighbour else None,
            "interface": way.holder.name if way.holder else "",
            "own": str(way.own) if way.own else None,
            "mtu": way.mtu,
            "grows": overhead(service, backend.address),
            "forward": str(service.forward),
            "tunnel": str(service.tunnel.kind) if service.tunnel else "",
            "tunnel_port": service.tunnel.port if service.tunnel else 0,
            "code": service.tunnel.code if service.tunnel else 0,
            "ask": _ask(service).hex(),
        }


def _arrival(service: Service, backend: Backend) -> int:
    """The port at which packets arrive at the backend."""
    return (backend.port or service.key.port) if service.forward is Forward.NAT else service.key.port


def _ask(service: Service) -> bytes:
    """What a server of this service would answer by UDP, as far as the checks tell."""
    if service.key.protocol is Protocol.UDP:
        for check in service.checks:
            if check.kind is CheckKind.DNS and check.transport is Protocol.UDP:
                return dns_message.message(QUESTION_ID, dns_message.question(check.query, check.qtype))
            if check.kind is CheckKind.UDP and check.send:
                return check.send
    return b""
