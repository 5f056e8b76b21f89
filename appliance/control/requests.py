"""What the control socket understands: one handler for each verb."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from appliance.control import alerting, dropping, examinees, fleet_face, foresight, standing
from appliance.control import reexec as reexecuting
from appliance.control import reload as reloading
from appliance.control.explain import explain_live
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

    async def metrics(request: Request) -> Any:
        return await daemon.measuring.snapshot()

    async def reload(request: Request) -> Any:
        wanted = reloading.wish(request.arguments)
        daemon.drilling.give_way(f"a reload was asked for, by {_who(request.peer)}")
        # What has begun is brought to its end even if the one who asked goes away.
        return await asyncio.shield(asyncio.ensure_future(reloading.reload(daemon, _who(request.peer), wanted)))

    async def reexec(request: Request) -> Any:
        daemon.drilling.give_way(f"another program was asked for, by {_who(request.peer)}")
        return await asyncio.shield(asyncio.ensure_future(reexecuting.reexec(daemon, request)))

    async def confirm(request: Request) -> Any:
        return await asyncio.shield(asyncio.ensure_future(daemon.trials.confirm(_who(request.peer))))

    async def plan(request: Request) -> Any:
        # A thread looks at the tables: nothing may replace them before it is done.
        return await asyncio.shield(asyncio.ensure_future(foresight.answer(daemon, request.arguments)))

    async def reattach(request: Request) -> Any:
        name = _interface(request.arguments)
        try:
            mode = daemon.instance.reattach(name)
        finally:
            daemon.upkeep.tell()
        daemon.record(EventKind.OPERATOR, f"{name}: attached anew, {mode}, by {_who(request.peer)}")
        return {"interface": name, "attach": str(mode), "message": f"{name}: attached anew, {mode}"}

    async def explain(request: Request) -> Any:
        return explain_live(daemon, request.arguments)

    async def examined(request: Request) -> Any:
        return await examinees.told(daemon, request.arguments)

    return {
        "status": status,
        "examinees": examined,
        "metrics": metrics,
        "plan": plan,
        "reload": reload,
        "reexec": reexec,
        "confirm": confirm,
        **overriding(daemon),
        "freeze": daemon.judging.freeze,
        "thaw": daemon.judging.thaw,
        "reattach": reattach,
        "explain": explain,
        "drops": dropping.handler(daemon),
        "drill": daemon.drilling.answer,
        "bgp": daemon.routing.answer,
        "fleet": fleet_face.handler(daemon),
        "bgp-capture": daemon.routing.capturing.answer,
        "alert": alerting.handler(daemon.telling.client),
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
