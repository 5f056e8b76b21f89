"""`vc5 bgp capture`: BGP messages as they go to and fro, as text or in a file for Wireshark."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import math
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from appliance.cli.arguments import UsageError
from appliance.cli.bgp_view import peers_of
from appliance.cli.client import ask
from appliance.cli.pcap_file import opened
from appliance.cli.tables import printable
from appliance.errors import ControlError
from appliance.paths import Root
from appliance.routing.capture import PCAP_HEADER, Packets, Transcript

POLL = 5.0
"""Seconds for which the daemon waits for something to tell, before it is asked again."""
LONGEST = 7 * 86400.0

Json = dict[str, Any]


def run(root: Root, arguments: Namespace, peer: str | None) -> int:
    """Print or write what is captured until the time is over, or until interrupted, which is its regular end."""
    seconds = _seconds(arguments.seconds)
    if arguments.routes:
        raise UsageError("--routes does not go with `capture`")
    if arguments.pcap is not None and arguments.json:
        raise UsageError("a file for Wireshark (--pcap) is no JSON; choose one of the two")
    # The first answer comes at once: a daemon that is not there, or that does not know the peer, leaves no file.
    after = _ask(root, peer, 0.0, None)["after"]
    known = {str(one.get("address")): one for one in peers_of(ask(root, "bgp"))}
    try:
        with _writer(arguments, known) as write:
            if sys.stderr.isatty():
                print("vc5: capturing; interrupt this to end it", file=sys.stderr, flush=True)
            _follow(root, peer, after, seconds, write)
    except KeyboardInterrupt:
        pass
    return 0


def _follow(root: Root, peer: str | None, after: Any, seconds: float, write: Callable[[Json], None]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        answer = _ask(root, peer, min(left, POLL), after)
        if lost := answer.get("lost"):
            print(f"vc5: {lost} messages were not captured: too many came at once", file=sys.stderr, flush=True)
        for message in answer["messages"]:
            write(message)
        after = answer["after"]


def _ask(root: Root, peer: str | None, seconds: float, after: Any) -> dict[str, Any]:
    answer = ask(root, "bgp-capture", peer=peer, seconds=seconds, after=after)
    try:
        if isinstance(answer["messages"], list) and isinstance(answer["after"], int):
            return dict(answer)
    except (TypeError, KeyError):
        pass
    raise ControlError("the daemon's answer has no messages; are daemon and command of one version?")


@contextlib.contextmanager
def _writer(arguments: Namespace, known: dict[str, Json]) -> Iterator[Callable[[Json], None]]:
    """Give what writes a message down in the form that was asked for; `known` is what there is of each peer."""
    if arguments.json:
        yield lambda message: print(json.dumps(message), flush=True)
    elif arguments.pcap is None:
        yield _Text(known).write
    else:
        with opened(arguments.pcap) as file:
            yield _Pcap(known, file).write


class _Text:
    """Messages in words, in UTC."""

    def __init__(self, known: dict[str, Json]) -> None:
        self._known = known
        self._sessions: dict[str, Transcript] = {}

    def write(self, message: Json) -> None:
        peer, at, sent, data = _read(message)
        if peer not in self._sessions:
            internal = bool(self._known.get(peer, {}).get("ibgp"))
            self._sessions[peer] = Transcript(ipaddress.ip_address(peer), internal=internal)
        for line in self._sessions[peer].lines(at, sent=sent, data=data):
            print(printable(line), flush=True)


class _Pcap:
    """Messages in made-up packets, each written at once, so that a pipe can be followed."""

    def __init__(self, known: dict[str, Json], file: BinaryIO) -> None:
        self._known = known
        self._file = file
        self._sessions: dict[str, Packets] = {}
        file.write(PCAP_HEADER)
        file.flush()

    def write(self, message: Json) -> None:
        peer, at, sent, data = _read(message)
        if peer not in self._sessions:
            there = ipaddress.ip_address(peer)
            nowhere = "0.0.0.0" if there.version == 4 else "::"
            here = ipaddress.ip_address(str(self._known.get(peer, {}).get("local_address") or nowhere))
            self._sessions[peer] = Packets(here, there)
        self._file.write(self._sessions[peer].records(at, sent=sent, data=data))
        self._file.flush()


def _read(message: Json) -> tuple[str, float, bool, bytes]:
    """Return the peer, the moment, whether we sent it, and the bytes."""
    try:
        peer, at = str(ipaddress.ip_address(message["peer"])), float(message["at"])
        return peer, at, message["direction"] == "sent", bytes.fromhex(message["hex"])
    except (KeyError, TypeError, ValueError):
        raise ControlError("the daemon's answer has an odd message; are daemon and command of one version?") from None


def _seconds(text: str | None) -> float:
    if text is None:
        return math.inf
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= LONGEST:
        raise UsageError(f"--seconds {text!r}: write a number of seconds, up to {LONGEST:.0f}")
    return seconds
