"""Verbs that ask the running daemon to do something."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from appliance.cli.client import call
from appliance.cli.tables import count, printable
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


def drain(root: Root, arguments: Namespace) -> int:
    """`vc5 drain SERVICE BACKEND`."""
    return _operate(root, arguments, "draining: it keeps its flows and gets no new ones")


def undrain(root: Root, arguments: Namespace) -> int:
    """`vc5 undrain SERVICE BACKEND`."""
    return _operate(root, arguments, "back in service: it gets new flows as its health allows")


def reattach(root: Root, arguments: Namespace) -> int:
    """`vc5 reattach IFACE`."""
    result: Any = call(root, "reattach", interface=arguments.interface)
    if arguments.json:
        print(json.dumps(result))
        return 0
    message = result.get("message") if isinstance(result, dict) else None
    print(printable(str(message or f"{arguments.interface}: attached anew")))
    return 0


def _operate(root: Root, arguments: Namespace, done: str) -> int:
    result: Any = call(root, arguments.verb, service=arguments.service, backend=arguments.backend)
    if arguments.json:
        print(json.dumps(result))
        return 0
    message = result.get("message") if isinstance(result, dict) else None
    flows = result.get("flows") if isinstance(result, dict) else None
    known = f" ({count(flows)} flows)" if flows else ""
    text = str(message or f"{arguments.service} {arguments.backend} {done}{known}")
    print(printable(text))
    return 0
