"""`vc5 status`: asks the daemon and shows the answer."""

from __future__ import annotations

import json
from argparse import Namespace

from appliance.cli import status_view
from appliance.cli.arguments import UsageError
from appliance.cli.client import call
from appliance.cli.tables import printable, screen
from appliance.errors import ControlError
from appliance.paths import Root
from appliance.web.document import document


def run(root: Root, arguments: Namespace) -> int:
    """`vc5 status [SERVICE]`; with --json the body of /status.json, of one service with that alone in `services`."""
    name = arguments.service
    if name is not None and arguments.all:
        raise UsageError("--all shows all services, and SERVICE one: write one of them")
    body = call(root, "status")
    if not isinstance(body, dict):
        raise ControlError("the daemon's status is no JSON object; are daemon and command of one version?")
    if name is not None:
        services = status_view.found(body, name)
        if not services:
            raise ControlError(
                f"no service and no VIP is called {printable(name[:80])}; `vc5 status --all` lists them: write "
                "VIP:PORT/tcp, the VIP, or the service's name"
            )
        body = {**body, "services": services}
    if arguments.json:
        print(json.dumps(document(body)))
    elif name is not None:
        print("\n".join(status_view.details(body, body["services"], screen())))
    else:
        print("\n".join(status_view.lines(body, screen(), arguments.all)))
    return 0
