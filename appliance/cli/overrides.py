"""`vc5 drain`, `undrain`, `disable`, `enable`, `weight` and `overrides`: what an operator says of single backends.

`vc5 drain --all`, `vc5 undrain --all`: what routers are to be told of the whole node.
`vc5 health`: what an operator says of all verdicts.
"""

from __future__ import annotations

import json
import os
import pwd
from argparse import Namespace
from typing import Any

from appliance.cli.arguments import UsageError
from appliance.cli.client import call
from appliance.cli.tables import Column, Screen, count, moment, printable, screen, table
from appliance.errors import ControlError
from appliance.paths import Root

LIST = (Column("SERVICE"), Column("BACKEND"), Column("OVERRIDE"), Column("BY"), Column("SINCE"))
DONE = {
    "drain": "draining: it keeps its flows and gets no new ones",
    "undrain": "back in service: it gets new flows as its health allows",
    "disable": "disabled: it keeps its flows and gets no new ones, until it is enabled",
    "enable": "enabled: it gets new flows as its health allows",
}


def operate(root: Root, arguments: Namespace) -> int:
    """`vc5 disable|enable SERVICE BACKEND`."""
    return _ask(root, arguments)


def drain(root: Root, arguments: Namespace) -> int:
    """`vc5 drain|undrain SERVICE BACKEND`, and with --all in place of both."""
    if not arguments.all:
        if arguments.backend is None:
            raise UsageError("write SERVICE and BACKEND, or --all for the whole node")
        for name in ("wait", "no_wait", "deadline") if arguments.verb == "drain" else ():
            if getattr(arguments, name):
                raise UsageError(f"--{name.replace('_', '-')} is for --all")
        return _ask(root, arguments)
    if arguments.service is not None:
        raise UsageError(f"--all is the whole node, and {printable(arguments.service)!r} is too much")
    from appliance.cli import leaving

    given = leaving.given(arguments) if arguments.verb == "drain" else {}
    result: Any = call(root, arguments.verb, all=True, **given, **name_of_caller(os.environ))
    message = result.get("message") if isinstance(result, dict) else None
    waits = arguments.verb == "drain" and leaving.waits(arguments, result)
    if not arguments.json:
        print(printable(str(message or "done")), flush=True)
        return leaving.follow(root) if waits else 0
    status = leaving.follow(root, result) if waits else 0
    print(json.dumps(result))
    return status


def weight(root: Root, arguments: Namespace) -> int:
    """`vc5 weight SERVICE BACKEND N|default`."""
    text: str = arguments.weight
    if text != "default" and not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 100):
        raise UsageError(f"{printable(text)!r}: write a whole number from 0 to 100, or default")
    return _ask(root, arguments, weight=None if text == "default" else int(text))


def _ask(root: Root, arguments: Namespace, **more: Any) -> int:
    result: Any = call(
        root, arguments.verb, service=arguments.service, backend=arguments.backend, **name_of_caller(os.environ), **more
    )
    if arguments.json:
        print(json.dumps(result))
        return 0
    message = result.get("message") if isinstance(result, dict) else None
    flows = result.get("flows") if isinstance(result, dict) else None
    known = f" ({count(flows)} flows)" if flows else ""
    done = DONE.get(arguments.verb, "done")
    print(printable(str(message or f"{arguments.service} {arguments.backend} {done}{known}")))
    return 0


def health(root: Root, arguments: Namespace) -> int:
    """`vc5 health freeze|thaw`."""
    result: Any = call(root, arguments.action, **name_of_caller(os.environ))
    message = result.get("message") if isinstance(result, dict) else None
    print(json.dumps(result) if arguments.json else printable(str(message or "done")))
    return 0


def name_of_caller(environment: Any) -> dict[str, str]:
    """Return the name that goes beside the user id: behind `sudo`, that of the one who called it."""
    name = environment.get("SUDO_USER")
    if not name:
        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            return {}
    return {"name": name}


def overrides(root: Root, arguments: Namespace) -> int:
    """`vc5 overrides`."""
    result: Any = call(root, "overrides")
    if not isinstance(result, dict) or not isinstance(result.get("overrides"), list):
        raise ControlError("the daemon's answer has no list of overrides; are daemon and command of one version?")
    if arguments.json:
        print(json.dumps(result))
    else:
        print("\n".join(listed(result, screen())))
    return 0


def listed(result: dict[str, Any], to: Screen) -> list[str]:
    """Return the lines of `vc5 overrides`."""
    rows = [
        (str(one.get("service")), str(one.get("backend")), words(one), str(one.get("who")), moment(one.get("since")))
        for one in result["overrides"]
        if isinstance(one, dict)
    ]
    node = result.get("node")
    if isinstance(node, dict):
        rows.insert(0, ("(the whole node)", "", "drain", str(node.get("who")), moment(node.get("since"))))
    return table(LIST, rows, to) if rows else ["nothing is overridden"]


def words(one: dict[str, Any]) -> str:
    """Return an override in the words of the command."""
    weight_ = one.get("weight")
    return str(one.get("override")) + (f" {weight_}" if weight_ is not None else "")
