"""`vc5 fleet`: the other balancers, in what they differ from this one, and why."""

from __future__ import annotations

import json
import time
from argparse import Namespace

from appliance.cli.client import call
from appliance.cli.tables import screen
from appliance.errors import EXIT_FAILED, EXIT_OK, ControlError
from appliance.paths import Root


def run(root: Root, arguments: Namespace) -> int:
    """`vc5 fleet [SERVICE]`; EXIT_FAILED where the answer says that something is not well."""
    given = {} if arguments.service is None else {"service": arguments.service}
    body = call(root, "fleet", **given)
    if body is not None and not isinstance(body, dict):
        raise ControlError("the daemon's answer is no JSON object; are daemon and command of one version?")
    if arguments.json:
        print(json.dumps(body))
    else:
        from appliance.cli import fleet_view

        print("\n".join(fleet_view.lines(body, time.time(), screen(), arguments.service)))
    return EXIT_OK if body is None or body.get("well") is True else EXIT_FAILED
