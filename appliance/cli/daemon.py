"""Verbs that ask the running daemon to do something."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from appliance.cli.client import call
from appliance.cli.tables import printable
from appliance.paths import Root


def reload(root: Root, arguments: Namespace) -> int:
    """`vc5 reload`: comes back when the new configuration is in force, or with the reason why it is not."""
    result = call(root, "reload")
    if arguments.json:
        print(json.dumps(result))
        return 0
    result = result if isinstance(result, dict) else {}
    for warning in result.get("warnings") or ():
        text = warning.get("message", "") if isinstance(warning, dict) else str(warning)
        print(f"warning: {printable(text)}", file=sys.stderr)
    print(printable(str(result.get("message") or "reloaded")))
    return 0


def reattach(root: Root, arguments: Namespace) -> int:
    """`vc5 reattach IFACE`."""
    result: Any = call(root, "reattach", interface=arguments.interface)
    if arguments.json:
        print(json.dumps(result))
        return 0
    message = result.get("message") if isinstance(result, dict) else None
    print(printable(str(message or f"{arguments.interface}: attached anew")))
    return 0
