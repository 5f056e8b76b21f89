"""`vc5 block` and `vc5 prefixes`: who is shut out, and who sends most."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from appliance.cli.arguments import UsageError
from appliance.cli.client import call
from appliance.cli.tables import Column, Screen, count, duration, printable, screen, table
from appliance.errors import ControlError
from appliance.paths import Root

LIST = (Column("PREFIX"), Column("BY"), Column("LEFT", right=True), Column("NOTE"))
BIGGEST = (
    Column("PREFIX"),
    Column("PACKETS/S", right=True),
    Column("+-", right=True),
    Column("SHARE", right=True),
    Column("PACKETS", right=True),
    Column("BLOCKED"),
)


def block(root: Root, arguments: Namespace) -> int:
    """`vc5 block add|remove|list`."""
    if (arguments.action == "list") != (arguments.prefix is None):
        raise UsageError("`list` takes no prefix" if arguments.prefix else f"say which prefix to {arguments.action}")
    if arguments.action != "add" and (arguments.duration or arguments.note or arguments.force):
        raise UsageError("--for, --note and --force go with `add`")
    if arguments.action == "list":
        return _list(root, arguments)
    if arguments.action == "remove":
        result = call(root, "unblock", prefix=arguments.prefix)
    else:
        given = {"for": arguments.duration, "note": arguments.note, "force": arguments.force}
        result = call(root, "block", prefix=arguments.prefix, **{name: value for name, value in given.items() if value})
    result = _object(result)
    if arguments.json:
        print(json.dumps(result))
        return 0
    for warning in result.get("warnings") or ():
        print(f"warning: {printable(str(warning))}", file=sys.stderr)
    print(printable(str(result.get("message") or "done")))
    return 0


def _list(root: Root, arguments: Namespace) -> int:
    result = _object(call(root, "blocked"))
    if arguments.json:
        print(json.dumps(result))
    else:
        print("\n".join(listed(result, time.time(), screen())))
    return 0


def listed(result: dict[str, Any], now: float, to: Screen) -> list[str]:
    """Return the lines of `vc5 block list`; `now` in wall-clock seconds."""
    rows: list[Sequence[str]] = [(prefix, "configuration", "", "") for prefix in result.get("configuration") or ()]
    for entry in result.get("operator") or ():
        until = entry.get("until")
        left = duration(max(0.0, until - now)) if until is not None else ""
        rows.append((str(entry.get("prefix")), str(entry.get("who")), left, str(entry.get("note") or "")))
    if not rows:
        return ["nothing is blocked"]
    dropped = count(result.get("dropped"))
    return [*table(LIST, rows, to), f"{dropped} packets dropped so far"]


def prefixes(root: Root, arguments: Namespace) -> int:
    """`vc5 prefixes`: the biggest; with --json alone, the counters of all 1,048,576 prefixes."""
    top = _top(arguments.top)
    if arguments.json and top is None:
        print(json.dumps(_all(_object(call(root, "prefixes", all=True))), separators=(",", ":")))
        return 0
    result = _object(call(root, "prefixes", **({} if top is None else {"top": top})))
    if arguments.json:
        print(json.dumps(result))
    else:
        print("\n".join(biggest(result, screen())))
    return 0


def _all(result: dict[str, Any]) -> list[int]:
    """Return packets by prefix, from 0.0.0.0/20 on: the form of the former /prefixes.json."""
    import base64
    import zlib
    from array import array

    try:
        counts = array("I", zlib.decompress(base64.b64decode(str(result["counts"]))))
        if result["byteorder"] != sys.byteorder:
            counts.byteswap()
        sample = int(result["sample"])
    except (KeyError, ValueError, TypeError, zlib.error):
        raise ControlError("the daemon's counters cannot be read; are daemon and command of one version?") from None
    return [number * sample for number in counts]


def biggest(result: dict[str, Any], to: Screen) -> list[str]:
    """Return the lines of `vc5 prefixes`."""
    found = result.get("top") or []
    if not found:
        return ["no packets to VIPs have been counted yet"]
    rows = [
        (
            str(row.get("prefix")),
            count(row.get("rate")),
            count(row.get("rate_error")),
            f"{100 * float(row.get('share') or 0):.1f}%",
            count(row.get("packets")),
            {"no": "", "yes": "yes"}.get(str(row.get("blocked")), str(row.get("blocked"))),
        )
        for row in found
    ]
    known = f"{count(result.get('rate'))} packets/s over {duration(result.get('seconds'))}"
    rate = known if result.get("rate") is not None else f"{count(result.get('packets'))} packets, rates not known yet"
    total = f"to VIPs, from {count(result.get('prefixes'))} IPv4 prefixes: {rate}"
    lines = [f"{total}; one of {result.get('sample')} is counted", *table(BIGGEST, rows, to)]
    free = next((str(row.get("prefix")) for row in found if row.get("blocked") == "no"), None)
    return [*lines, f"to drop what comes from one: vc5 block add {printable(free)} --for 1h"] if free else lines


def _top(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text)):
        raise UsageError(f"--top {printable(text)!r}: write a whole number of prefixes")
    return int(text)


def _object(result: Any) -> dict[str, Any]:
    if not isinstance(result, dict):
        raise ControlError("the daemon's answer is no JSON object; are daemon and command of one version?")
    return result
