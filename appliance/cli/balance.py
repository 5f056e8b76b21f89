"""`vc5 balance IFACE VIP[:PORT] BACKEND...`: balances at once, without a configuration file, until standard input ends.

Also the library's example: what it does to the data plane are calls of a `Balancer`, and nothing else.
"""

from __future__ import annotations

import signal
import sys
from argparse import Namespace
from contextlib import ExitStack

from appliance.balancer import Balancer
from appliance.cli.arguments import UsageError
from appliance.cli.balance_text import COMMANDS, Rows, backend, counted, refuse, say, service_key, show, standing
from appliance.cli.progress import progress
from appliance.errors import RequestError, Vc5Error
from appliance.model import Config, Service, ServiceKey
from appliance.paths import Root


def run(_: Root, arguments: Namespace) -> int:
    """Balance until the end of standard input, `quit`, SIGINT or SIGTERM."""
    if sys.stdin is None:
        raise UsageError("standard input is closed, and commands come from there")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        key = service_key(arguments.vip)
        service = Service(key, tuple(backend(text) for text in arguments.backends), checks=())
    except ValueError as error:
        raise UsageError(str(error)) from None
    try:
        with ExitStack() as stack:
            with progress("compiling and attaching"):
                balancer = stack.enter_context(Balancer(Config((arguments.interface,), services=(service,))))
            say(f"balancing {key} on {arguments.interface}; {COMMANDS}")
            for line in balancer.lines(sys.stdin):
                if line == "quit":
                    break
                try:
                    show(obey(balancer, key, line.split()), arguments.json)
                except (Vc5Error, ValueError) as error:
                    refuse(str(error), arguments.json)
    except KeyboardInterrupt:
        pass  # on its way here it has closed the balancer
    return 0


def obey(balancer: Balancer, key: ServiceKey, words: list[str]) -> Rows:
    """Do what a line says, and return what it asks for. Raises Vc5Error or ValueError saying what is wrong with it."""
    match words:
        case ["add", address, *weight] if len(weight) < 2:
            balancer.create_destination(key, backend(address, *weight))
        case ["weight", address, weight]:
            balancer.update_destination(key, backend(address, weight))
        case ["remove", address]:
            balancer.delete_destination(key, backend(address).address)
        case ["remove", address, "cut"]:
            balancer.delete_destination(key, backend(address).address, drain=False)
        case ["list"]:
            return [standing(destination) for destination in balancer.destinations(key)]
        case ["stats"]:
            each = [counted(str(one.backend.address), one.counters) for one in balancer.destinations(key)]
            return [*each, counted("all", balancer.counters(key))]
        case [_, *_]:
            raise RequestError(f"{' '.join(words)[:80]!r} is no command; write one of: {COMMANDS}")
    return []
