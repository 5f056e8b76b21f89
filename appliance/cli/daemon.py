"""Verbs that ask the running daemon to do something."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from appliance.cli.arguments import UsageError
from appliance.cli.client import call
from appliance.cli.tables import printable
from appliance.paths import Root


def reload(root: Root, arguments: Namespace) -> int:
    """`vc5 reload`: comes back when the new configuration is in force, or with the reason why it is not."""
    given: dict[str, float] = {}
    if arguments.max_disruption is not None:
        given["max_disruption"] = _share(arguments.max_disruption)
    if arguments.confirm is not None:
        given["confirm"] = _seconds(arguments.confirm)
    result = call(root, "reload", **given)
    if arguments.json:
        print(json.dumps(result))
        return 0
    result = result if isinstance(result, dict) else {}
    for warning in result.get("warnings") or ():
        text = warning.get("message", "") if isinstance(warning, dict) else str(warning)
        print(f"warning: {printable(text)}", file=sys.stderr)
    print(printable(str(result.get("message") or "reloaded")))
    return 0


def reexec(root: Root, arguments: Namespace) -> int:
    """`vc5 reexec`: comes back when the installed program works, or with the reason why the running one goes on."""
    result: Any = call(root, "reexec")
    message = result.get("message") if isinstance(result, dict) else None
    print(json.dumps(result) if arguments.json else printable(str(message or "re-executed")))
    return 0


def confirm(root: Root, arguments: Namespace) -> int:
    """`vc5 confirm`: what `vc5 reload --confirm` put in force stays."""
    result: Any = call(root, "confirm")
    message = result.get("message") if isinstance(result, dict) else None
    print(json.dumps(result) if arguments.json else printable(str(message or "confirmed")))
    return 0


def _share(text: str) -> float:
    """Read 5% or 5. Raises UsageError."""
    try:
        share = float(text.strip().removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--max-disruption {printable(text[:40])!r}: write a share from 0% to 100%")
    return share


def _seconds(text: str) -> float:
    """Read a time span as the configuration has them. Raises UsageError."""
    from appliance.config.findings import Invalid
    from appliance.config.kinds import Duration
    from appliance.control.confirmation import LONGEST

    kind = Duration(1.0, LONGEST)
    try:
        return kind.parse(text)
    except Invalid as invalid:
        said = invalid.message or f"is not {kind.words()}"
        raise UsageError(f"--confirm {printable(text[:40])!r}: {said}; 60 is a minute, and so is 1m") from None


def reattach(root: Root, arguments: Namespace) -> int:
    """`vc5 reattach IFACE`."""
    result: Any = call(root, "reattach", interface=arguments.interface)
    if arguments.json:
        print(json.dumps(result))
        return 0
    message = result.get("message") if isinstance(result, dict) else None
    print(printable(str(message or f"{arguments.interface}: attached anew")))
    return 0
