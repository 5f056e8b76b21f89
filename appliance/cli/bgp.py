"""`vc5 bgp`: what routers are told, how sessions are, and the messages that go to and fro."""

from __future__ import annotations

import ipaddress
import json
import time
from argparse import Namespace
from typing import Any

from appliance.cli.arguments import UsageError
from appliance.cli.client import call
from appliance.cli.tables import printable, screen
from appliance.errors import ControlError
from appliance.paths import Root

CAPTURE = "capture"
"""The word that stands where else a peer does."""


def run(root: Root, arguments: Namespace) -> int:
    """`vc5 bgp [PEER]` and `vc5 bgp capture [PEER]`."""
    if arguments.what == CAPTURE:
        from appliance.cli import bgp_capture

        return bgp_capture.run(root, arguments, address(arguments.peer))
    if arguments.peer is not None:
        raise UsageError(f"{arguments.peer!r} is one word too many; a second one goes with `{CAPTURE}`")
    if arguments.pcap is not None or arguments.seconds is not None:
        raise UsageError(f"--pcap and --seconds go with `{CAPTURE}`")
    wanted = address(arguments.what)
    given: dict[str, Any] = {"peer": wanted} if wanted else {"routes": True} if arguments.routes else {}
    body = call(root, "bgp", **given)
    if not isinstance(body, dict):
        raise ControlError("the daemon's answer is no JSON object; are daemon and command of one version?")
    from appliance.cli import bgp_view

    found = [peer for peer in bgp_view.peers_of(body) if wanted in (None, str(peer.get("address")))]
    if wanted and not found:
        raise ControlError(f"{wanted}: no peer of the running configuration; `vc5 bgp` lists them")
    if arguments.json:
        print(json.dumps({**body, "peers": found} if wanted else body))
    elif wanted:
        print("\n".join(bgp_view.detail(body, found[0], time.time(), screen())))
    else:
        print("\n".join(bgp_view.listing(body, time.time(), screen(), routes=arguments.routes)))
    return 0


def address(word: str | None) -> str | None:
    """Return a peer's address as the daemon writes it; raises UsageError."""
    if word is None:
        return None
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        raise UsageError(f"{printable(word)!r} is no address of a peer; write one, or `{CAPTURE}`") from None
