"""What `vc5 alert` asks of a running daemon: handed on to the process that tells people what happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from appliance.control.socket import Request
from appliance.errors import ControlError

OUTLETS = ("slack", "teams", "syslog")
PATIENCE = 30.0
"""Seconds for all of them to have taken a message, or not."""


class Telemetry(Protocol):
    """The process beside the daemon that ships the log and tells people."""

    def ask(self, what: str, patience: float, **more: Any) -> Awaitable[dict[str, Any]]:
        """Return its answer; raises Vc5Error where there is none."""


def handler(telemetry: Telemetry) -> Callable[[Request], Awaitable[dict[str, Any]]]:
    """Return the handler of the verb `alert`."""

    async def alert(request: Request) -> dict[str, Any]:
        outlets = request.arguments.get("outlets", [])
        if not isinstance(outlets, list) or not all(one in OUTLETS for one in outlets):
            raise ControlError(f"outlets: must be a list of {', '.join(OUTLETS)}")
        return await telemetry.ask("alert", PATIENCE, outlets=outlets)

    return alert
