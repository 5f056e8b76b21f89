"""What the control socket understands: one handler for each verb."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from appliance.control import standing
from appliance.control.overriding import handlers as overriding
from appliance.control.socket import Handler, Peer, Request
from appliance.errors import ControlError
from appliance.model import EventKind

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon


def handlers(daemon: Daemon) -> dict[str, Handler]:
    """The handlers of a daemon, by verb."""

    async def status(request: Request) -> Any:
        return await standing.status(daemon)

    async def reload(request: Request) -> Any:
        # What has begun is brought to its end even if the one who asked goes away.
        return await asyncio.shield(asyncio.ensure_future(daemon.reload(_who(request.peer))))

    async def reattach(request: Request) -> Any:
        name = _interface(request.arguments)
        try:
            mode = daemon.instance.reattach(name)
        finally:
            daemon.upkeep.tell()
        daemon.record(EventKind.OPERATOR, f"{name}: attached anew, {mode}, by {_who(request.peer)}")
        return {"interface": name, "attach": str(mode), "message": f"{name}: attached anew, {mode}"}

    async def explain(request: Request) -> Any:
        from appliance.control.explain import explain_live

        return explain_live(daemon, request.arguments)

    return {
        "status": status,
        "reload": reload,
        **overriding(daemon),
        "freeze": daemon.judging.freeze,
        "thaw": daemon.judging.thaw,
        "reattach": reattach,
        "explain": explain,
        "block": daemon.blocking.add,
        "unblock": daemon.blocking.remove,
        "blocked": daemon.blocking.list,
        "prefixes": daemon.blocking.prefixes,
    }


def _who(peer: Peer) -> str:
    return f"uid {peer.uid} (pid {peer.pid})"


def _interface(arguments: Mapping[str, Any]) -> str:
    name = arguments.get("interface")
    if not isinstance(name, str):
        raise ControlError("the request names no interface")
    return name
