"""`vc5 drops`: why packets were dropped, and what the last of them were."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from appliance.cli.arguments import UsageError
from appliance.cli.client import call
from appliance.cli.tables import Column, Screen, Style, count, printable, screen, table
from appliance.errors import ControlError
from appliance.paths import Root

PACKETS = (
    Column("TIME"),
    Column("INTERFACE", drop=1),
    Column("BYTES", right=True),
    Column("PACKET", least=30),
)
LONGEST = 128
"""Bytes that are kept of a packet."""
NOTHING = "no packet is known to have been dropped"


@dataclass(frozen=True)
class _Packet:
    at: float
    interface: str
    length: int
    octets: bytes
    text: str


def run(root: Root, arguments: Namespace) -> int:
    """Print what was dropped, or write it into a file for Wireshark."""
    if arguments.pcap is not None and arguments.json:
        raise UsageError("a file for Wireshark (--pcap) is no JSON; choose one of the two")
    answer = call(root, "drops", **({} if arguments.reason is None else {"reason": arguments.reason}))
    groups = [(one, [_packet(each) for each in _list(one, "packets")]) for one in _list(answer, "reasons")]
    if arguments.json:
        print(json.dumps(answer))
    elif arguments.pcap is not None:
        _write(arguments.pcap, sorted((one for _, packets in groups for one in packets), key=lambda one: one.at))
    else:
        print("\n".join(listed(groups, screen())))
    return 0


def listed(groups: Iterable[tuple[Mapping[str, Any], list[_Packet]]], to: Screen) -> list[str]:
    """Return the lines: each reason with its count, what it means, and the last packets."""
    lines: list[str] = []
    for reason, packets in groups:
        if not (reason.get("count") or packets):
            continue
        number = count(reason.get("count"))
        head = f"{printable(str(reason.get('reason')))}  {number} packet{'' if number == '1' else 's'}"
        lines += [""] * bool(lines)
        lines += [to.paint(head, Style.HEAD), f"  {printable(str(reason.get('meaning')))}"]
        rows = [(_time(one.at), one.interface, str(one.length), one.text) for one in packets]
        lines += table(PACKETS, rows, to, "  ") or ["  none of them was kept"]
    return lines or [NOTHING]


def _write(path: str, packets: list[_Packet]) -> None:
    from appliance import pcap
    from appliance.cli.pcap_file import opened

    if not packets:
        print(f"vc5: {NOTHING}; the file holds none", file=sys.stderr)
    with opened(path) as file:
        file.write(pcap.header(pcap.Link.ETHERNET, LONGEST))
        for one in packets:
            file.write(pcap.record(one.at, one.octets, one.length))


def _time(at: float) -> str:
    return datetime.fromtimestamp(at).isoformat(" ", "milliseconds")


def _list(body: Any, name: str) -> list[dict[str, Any]]:
    found = body.get(name) if isinstance(body, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ControlError(f"the daemon's answer has no {name}; are daemon and command of one version?")
    return found


def _packet(body: Mapping[str, Any]) -> _Packet:
    try:
        at, length, octets = float(body["at"]), int(body["length"]), bytes.fromhex(body["data"])
        datetime.fromtimestamp(at)
        return _Packet(at, str(body["interface"]), length, octets, str(body["text"]))
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        raise ControlError("the daemon's answer has an odd packet; are daemon and command of one version?") from None
