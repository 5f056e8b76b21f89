"""The daemon's end of `vc5 drops`: reads the records of dropped packets where the program keeps them.

    {"reason": null or NAME}
    {"reasons": [{"reason": NAME, "meaning": TEXT, "count": N, "packets": [
        {"at": 1764000000.1, "interface": "eth0", "length": 60, "data": "ffff...", "text": "IPv4 ..."}]}]}

`count` is that of all packets that left for the reason; packets are the newest first, `data` the first bytes of each in
hexadecimal. Without a reason those are left out for which nothing was dropped.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from appliance.control.dropped import told, wanted
from appliance.control.socket import Handler, Request
from appliance.dataplane.drops import dropped
from appliance.dataplane.enums import Reason
from appliance.dataplane.memory import Memory
from appliance.errors import HostError

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon


def handler(daemon: Daemon) -> Handler:
    """Return what answers the verb."""

    async def drops(request: Request) -> dict[str, Any]:
        """Answer; raises ControlError for a reason that there is not, HostError while the daemon is starting."""
        only = wanted(request.arguments.get("reason"))
        generation = daemon.instance.data.generation
        if generation is None:
            raise HostError("the daemon is still starting")
        memory, boot = generation.memory, time.time() - time.monotonic()
        interfaces = {one.index: one.name for one in daemon.watch.snapshot().interfaces}
        reasons = []
        for reason, packets in dropped(memory):
            if (only is None and (packets or _is_drop(memory, reason))) or only is reason:
                reasons.append(told(reason, memory.reason(reason), packets, interfaces, boot))
                await asyncio.sleep(0)
        return {"reasons": reasons}

    return drops


def _is_drop(memory: Memory, reason: Reason) -> bool:
    """Whether packets were dropped for a reason, going by the counters and the settings alone."""
    passed = reason is Reason.UNKNOWN_PORT and memory.settings.get(0, "pass_unknown_port")
    return not passed and memory.reason(reason) > 0
