"""`vc5 netns`: what the daemon needs and may not make itself; run by vc5-netns.service."""

from __future__ import annotations

import json
from argparse import Namespace

from appliance.cli.progress import progress
from appliance.paths import Root


def run(root: Root, arguments: Namespace) -> int:
    """`vc5 netns up` and `vc5 netns down`."""
    from appliance.control import groundwork

    with progress("making the probe namespace" if arguments.action == "up" else "removing the probe namespace"):
        text = groundwork.lay(root, arguments.user) if arguments.action == "up" else groundwork.clear(root)
    print(json.dumps({"message": text}) if arguments.json else text)
    return 0
