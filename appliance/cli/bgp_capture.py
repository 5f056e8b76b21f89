"""`vc5 bgp capture`: BGP messages as they go to and fro, as text or in a file for Wireshark."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any

from appliance.cli.arguments import UsageError
from appliance.cli.client import call
from appliance.errors import ControlError
from appliance.paths import Root

POLL = 5.0
"""Seconds for which the daemon waits for something to tell, before it is asked again."""
LONGEST = 7 * 86400.0

Write = Callable[[dict[str, Any]], None]


def run(root: Root, arguments: Namespace, peer: str | None) -> int:
    """Print or write what is captured until the time is over, or until interrupted, which is its regular end."""
    seconds = _seconds(arguments.seconds)
    if arguments.routes:
        raise UsageError("--routes does not go with `capture`")
    if arguments.pcap is not None and arguments.json:
        raise UsageError("a file for Wireshark (--pcap) is no JSON; choose one of the two")
    # The first answer comes at once: a daemon that is not there, or that does not know the peer, leaves no file.
    after = _ask(root, peer, 0.0, None)["after"]
    with _writer(arguments) as write:
        if sys.stdout.isatty() or arguments.pcap:
            print("vc5: capturing; interrupt this to end it", file=sys.stderr, flush=True)
        try:
            _follow(root, peer, after, seconds, write)
        except KeyboardInterrupt:
            pass
    return 0


def _follow(root: Root, peer: str | None, after: Any, seconds: float, write: Write) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        answer = _ask(root, peer, min(left, POLL), after)
        if lost := answer.get("lost"):
            print(f"vc5: {lost} messages were not captured: too many came at once", file=sys.stderr, flush=True)
        for message in answer["messages"]:
            write(message)
        after = answer["after"]


def _ask(root: Root, peer: str | None, seconds: float, after: Any) -> dict[str, Any]:
    answer = call(root, "bgp-capture", peer=peer, seconds=seconds, after=after)
    try:
        if isinstance(answer["messages"], list) and isinstance(answer["after"], int):
            return dict(answer)
    except (TypeError, KeyError):
        pass
    raise ControlError("the daemon's answer has no messages; are daemon and command of one version?")


@contextlib.contextmanager
def _writer(arguments: Namespace) -> Iterator[Write]:
    """Give what writes a message down, in the form that was asked for, and flushes."""
    if arguments.pcap is None:
        yield _print_json if arguments.json else _print_text
        return
    raise NotImplementedError


def _print_json(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def _print_text(message: dict[str, Any]) -> None:
    print(message, flush=True)


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
