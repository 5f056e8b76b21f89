"""What the control socket understands of backends: drain, disable, weigh, and take that back; and of the whole node."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from appliance.control.overrides import Overrides
from appliance.control.socket import Handler, Request
from appliance.errors import ControlError
from appliance.model import Address, Backend, EventKind, ServiceKey

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

Change = Callable[[Overrides, ServiceKey, Backend, str, float], Overrides]

CHANGES: dict[str, Change] = {
    "drain": Overrides.drain,
    "undrain": lambda overrides, key, backend, who, now: overrides.undrain(key, backend),
    "disable": Overrides.disable,
    "enable": Overrides.enable,
}
NODE_VERBS = ("drain", "undrain")
LONGEST = 24 * 3600.0
"""Seconds that a drain of the node may wait at most before routes are withdrawn."""
NAME = 32
"""Characters of the name that an operator goes by."""


def handlers(daemon: Daemon) -> dict[str, Handler]:
    """The handlers of a daemon, by verb."""

    async def change(request: Request) -> Any:
        if request.arguments.get("all") is True and request.verb in NODE_VERBS:
            return _put_node(daemon, request)
        key, address, result = _put(daemon, request, request.verb, CHANGES[request.verb])
        overrides = daemon.instance.state.overrides
        if request.verb.endswith("drain"):
            return {**result, "drained": (key, address) in overrides.drains}
        return {**result, "enabled": request.verb == "enable"}

    async def weight(request: Request) -> Any:
        value = _weight(request.arguments)

        def weigh(overrides: Overrides, key: ServiceKey, backend: Backend, who: str, now: float) -> Overrides:
            return overrides.weigh(key, backend, value, who, now)

        text = "default" if value is None else str(value)
        key, address, result = _put(daemon, request, f"weight {text}", weigh)
        configured = daemon.instance.configured(key, address).weight
        result["weight"] = configured if value is None else value
        now = f"{result['weight']}, as configured" if value is None else f"{value} instead of {configured}"
        return {**result, "message": f"{key} {address} has weight {now}"}

    async def overrides(request: Request) -> Any:
        found = daemon.instance.state.overrides
        return {"overrides": found.snapshot(), "node": found.node_snapshot()}

    return {**dict.fromkeys(CHANGES, change), "weight": weight, "overrides": overrides}


def tell_dropped(daemon: Daemon) -> None:
    """Write down which overrides went with their backends."""
    state = daemon.instance.state
    dropped, state.dropped = state.dropped, ()
    for one in dropped:
        daemon.record(EventKind.OPERATOR, one.message, service=one.service, backend=one.backend)


def _put(daemon: Daemon, request: Request, text: str, change: Change) -> tuple[ServiceKey, Address, dict[str, Any]]:
    """Make a change, keep it and act on it; where it cannot be kept or acted on, it is as if it had not been asked."""
    key, address = _pair(request.arguments)
    state, who = daemon.instance.state, who_asks(request)
    daemon.drilling.give_way(f"{who} said `{text}` of {address}", key)
    before = state.overrides
    state.overrides = change(before, key, daemon.instance.configured(key, address), who, round(time.time(), 3))
    try:
        daemon.changed()
    except BaseException:
        state.overrides = before
        raise
    daemon.record(EventKind.OPERATOR, f"{text}, by {who}", service=key, backend=address, reason=f"by {who}")
    return key, address, {"service": str(key), "backend": str(address)}


def _put_node(daemon: Daemon, request: Request) -> dict[str, Any]:
    """Drain the whole node or take that back: keep it, then tell the routers; where it cannot be kept, neither."""
    state, who, now = daemon.instance.state, who_asks(request), round(time.time(), 3)
    before = state.overrides
    if request.verb == "drain":
        seconds = _deadline(request.arguments)
        rate = daemon.departing.began() if before.node is None else None
        state.overrides = before.drain_node(who, now, rate=rate, until=None if seconds is None else now + seconds)
    else:
        state.overrides = before.undrain_node()
    try:
        daemon.instance.save()
    except BaseException:
        state.overrides = before
        raise
    drained = state.overrides.node is not None
    if not drained:
        daemon.departing.returned()
    text = "the whole node is drained" if drained else "the whole node is drained no more"
    daemon.record(EventKind.OPERATOR, f"{text}, by {who}", reason=f"by {who}")
    daemon.recorder.flush_soon()
    daemon.routing.look(time.monotonic())
    peers = len(state.config.bgp.peers)
    told = sum(peer.established for peer in daemon.routing.status().peers)
    routers = f"{told} of {peers} routers" if peers else "no router is configured (`bgp`), so none"
    how = "as last resorts; connections go on" if drained else "as usual"
    message = f"{text}: {routers} told of its routes {how}"
    return {"node": state.overrides.node_snapshot(), "peers": peers, "told": told, "message": message}


def _deadline(arguments: Mapping[str, Any]) -> float | None:
    """Return after how many seconds routes are to be withdrawn whatever still comes; None: never."""
    value = arguments.get("deadline")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST:
        raise ControlError(f"deadline: must be 0 to {LONGEST:.0f} seconds")
    return float(value)


def who_asks(request: Request) -> str:
    """Return who asks: the user id is the kernel's word, the name in brackets their own."""
    name = request.arguments.get("name")
    known = isinstance(name, str) and 0 < len(name) <= NAME and name.isprintable()
    return f"uid {request.peer.uid} ({name if known else f'pid {request.peer.pid}'})"


def _pair(arguments: Mapping[str, Any]) -> tuple[ServiceKey, Address]:
    try:
        key = ServiceKey.parse(str(arguments["service"]))
        return key, ipaddress.ip_address(str(arguments["backend"]))
    except KeyError as error:
        raise ControlError(f"the request names no {error.args[0]}") from None
    except ValueError as error:
        raise ControlError(str(error)) from None


def _weight(arguments: Mapping[str, Any]) -> int | None:
    value = arguments.get("weight", "")
    if value is not None and type(value) is not int:
        raise ControlError("the request names no weight: a whole number from 0 to 100, or null for the configured one")
    return value
