"""What the running daemon says of itself: gathered here, put together by `report`."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterable, Mapping
from time import thread_time
from typing import TYPE_CHECKING, Any

from appliance import __version__
from appliance.control import fleet_face, report
from appliance.control.announcing import ALONE, ISOLATED
from appliance.control.socket import Encoded
from appliance.control.trouble import awaited
from appliance.errors import HostError
from appliance.net.link import link

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

TURN = 0.005
"""Seconds of processor time after which others have their turn."""


async def status(daemon: Daemon) -> Encoded:
    """What the daemon tells of itself, put together in as many turns of the loop as it takes.

    Each service is told of as it is when its turn comes. Raises HostError while the daemon is still starting.
    """
    instance = daemon.instance
    if instance.current is None:
        raise HostError("the daemon is still starting")
    prober = {
        "alive": not daemon.judging.prober_gone,
        "frozen": bool(daemon.judging.frozen()),
        "reason": daemon.judging.frozen(),
        "restarts": daemon.prober.restarts,
    }
    facts = report.Facts(
        version=__version__,
        pid=os.getpid(),
        started=daemon.started,
        now=time.monotonic(),
        wall=time.time(),
        file=str(daemon.file),
        loaded_at=daemon.loaded_at,
        generation=daemon.generation,
        prober=prober,
        warnings=daemon.warnings + _troubles(daemon),
        vips_since=instance.vips_since,
        loop=_loop(daemon),
        active_flows=instance.active_flows,
        governor=instance.governor,
        learned_at=daemon.routing.learned_at,
        rates=daemon.measuring.rates,
        drained=daemon.departing.current is not None,
        withdrawn=daemon.departing.withdrawn,
        last=daemon.routing.last,
        services_since=daemon.recorder.services_since,
    )
    facts.rates.look(facts.now)
    interfaces = [one for one in daemon.watch.snapshot().interfaces if one.name in instance.state.config.interfaces]
    head = report.overview(facts, instance.state, instance.current, instance.data, interfaces)
    head["waiting_for"] = waiting(daemon)
    head |= daemon.measuring.timing.told()
    head["logging"] = _logging(daemon)
    head["misroutes"] = daemon.measuring.misrouting.meter.as_json()
    for one in head["interfaces"]:
        one |= link(one["name"])
    head["bgp"] = daemon.routing.status().as_json()
    head["fleet"] = fleet_face.brief(daemon)
    head["config"]["trial"] = daemon.trials.standing()
    services = report.services(
        facts, instance.state, instance.current, instance.health, instance.assumed, instance.data
    )
    return await encoded(head, services)


async def encoded(head: Mapping[str, Any], services: Iterable[Mapping[str, Any]]) -> Encoded:
    """An answer with a list of services, put together in as many turns of the loop as it takes."""
    pieces = [f'{_encode(head)[:-1]}, "services": [']
    began = thread_time()
    for told in services:
        pieces += [_encode(told), ", "]
        if thread_time() - began > TURN:
            await asyncio.sleep(0)
            began = thread_time()
    return Encoded([*(pieces[:-1] if len(pieces) > 1 else pieces), "]}"])


def _encode(content: object) -> str:
    return json.dumps(content, allow_nan=False)


def _logging(daemon: Daemon) -> dict[str, int]:
    """How often the log could not be told to others."""
    numbers = daemon.telling.numbers()
    return {
        "elasticsearch_errors": int(numbers.get("ship_retries_total", 0)),
        "webhook_errors": sum(int(count) for count in numbers.get("alerts_failed_total", {}).values()),
    }


def _loop(daemon: Daemon) -> dict[str, Any]:
    turns = daemon.pulse.turns()
    return {
        "longest_ms": round(turns.longest * 1e3, 3),
        "longest_cpu_ms": round(turns.longest_cpu * 1e3, 3),
        "recent_ms": round(turns.recent * 1e3, 3),
        "recent_cpu_ms": round(turns.recent_cpu * 1e3, 3),
        "stalls": turns.stalls,
        "stalls_cpu": turns.stalls_cpu,
    }


def _troubles(daemon: Daemon) -> tuple[dict[str, Any], ...]:
    texts = [
        daemon.trials.note(),
        daemon.recorder.trouble(),
        daemon.measuring.tally.trouble,
        *daemon.watch.notes(),
        *daemon.instance.notes(),
    ]
    texts += [*daemon.instance.links.troubles(), *daemon.telling.troubles()]
    texts += daemon.routing.troubles()
    texts.append(daemon.judging.prober_gone)
    governor = daemon.instance.governor
    texts.append("" if not governor.isolated else ALONE if governor.alone else ISOLATED)
    return tuple({"severity": "warning", "message": text} for text in texts if text)


def summary(daemon: Daemon) -> str:
    """One line for `systemctl status`."""
    if (left := daemon.departing.left()) is not None:
        return f"stops when its traffic has ebbed, in {left:.0f} s at the latest"
    services = daemon.instance.current.services if daemon.instance.current else {}
    up = sum(1 for service in services.values() if service.up)
    parts = [f"reload refused, the old configuration is in force: {daemon.refusal}"] if daemon.refusal else []
    parts.append(f"{up} of {len(services)} services up")
    if awaits := waiting(daemon):
        parts.append(f"waiting for {', '.join(awaits)}")
    if (node := daemon.departing.current) is not None:
        parts.append(f"NODE DRAINED by {node.who}" + (f", {node.stage}" if node.withdrawn else ""))
    if frozen := daemon.judging.frozen():
        parts.append(f"HEALTH FROZEN: {frozen}")
    return "; ".join(parts)


def waiting(daemon: Daemon) -> list[str]:
    """What has yet to come before this can forward everything; nothing is waited for in vain where all works."""
    plan, host = daemon.instance.current, daemon.watch.snapshot()
    if plan is None:
        return []
    # A backend without a MAC address is a dead server like others as long as its service does without it.
    hops = plan.neighbours if any(not service.up for service in plan.services.values()) else ()
    return awaited(daemon.instance.state.config, host, hops)
