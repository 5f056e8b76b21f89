"""`vc5 status`: asks the daemon and shows the answer."""

from __future__ import annotations

import json
from argparse import Namespace

from appliance.cli import status_view
from appliance.cli.client import call
from appliance.cli.tables import screen
from appliance.errors import ControlError
from appliance.paths import Root
from appliance.web.document import document


def run(root: Root, arguments: Namespace) -> int:
    """`vc5 status`; with --json the body of /status.json."""
    body = call(root, "status")
    if not isinstance(body, dict):
        raise ControlError("the daemon's status is no JSON object; are daemon and command of one version?")
    if arguments.json:
        print(json.dumps(document(body)))
    else:
        print("\n".join(status_view.lines(body, screen())))
    return 0
