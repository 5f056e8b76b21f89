"""What `vc5 alert` asks of a running daemon: handed on to the process that tells people what happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from appliance.control.socket import Request
from appliance.errors import ControlError, RequestError

OUTLETS = ("slack", "teams", "syslog")


class Telemetry(Protocol):
    """The process beside the daemon that ships the log and tells people."""

    def ask(self, question: dict[str, Any]) -> Awaitable[dict[str, Any]]:
        """Return its answer; raises Vc5Error where there is none."""


def handler(telemetry: Callable[[], Telemetry | None]) -> Callable[[Request], Awaitable[dict[str, Any]]]:
    """Return the handler of the verb `alert`."""

    async def alert(request: Request) -> dict[str, Any]:
        outlets = request.arguments.get("outlets", [])
        if not isinstance(outlets, list) or not all(one in OUTLETS for one in outlets):
            raise ControlError(f"outlets: must be a list of {', '.join(OUTLETS)}")
        found = telemetry()
        if found is None:
            raise RequestError("nobody is told anything: the process vc5-telemetry does not run; the log may say why")
        return await found.ask({"alert": "test", "outlets": outlets})

    return alert
