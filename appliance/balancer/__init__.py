"""The library: a balancer inside a program of one's own.

    from appliance.balancer import Balancer
    from appliance.model import Backend, Config, Service, ServiceKey

    key = ServiceKey.parse("203.0.113.10:80/tcp")
    with Balancer(Config(interfaces=("eth0",), services=(Service(key, (Backend(address),), checks=()),))) as balancer:
        balancer.create_destination(key, Backend(another, weight=3))
        while balancer.wait(sys.stdin): ...         # or: balancer.refresh() in a loop of one's own

It renders, compiles and loads the program, keeps the tables right, and follows interfaces and neighbours: backends are
found at layer 2 as `vc5 run` finds them. It is `vc5 run` without health checks. `Service.checks` mean nothing here:
whether a backend lives is for the caller to decide, who sets a weight to 0 or deletes the destination. A destination
gets flows as soon as the MAC address of the way to it is known, and keeps them if its neighbour entry is lost later.
No established flow moves when destinations come, go or get other weights; those of one that goes are its own until
`drain_timeout` is over, unless it is cut.

Somebody must call `refresh`: whenever `fileno()` is readable, and several times a second (`TICK`); `wait` does it. In
between packets are forwarded, but new MAC addresses are not learned, drains do not end, slots are not settled.

Without a root nothing is on disk or pinned: everything ends with `close`, and with the process however it ends. With a
root (`appliance.paths.root`) programs, tables and links are pinned and outlive the process; the next Balancer of that
root goes on with them, and what its configuration does not name drains. Nothing here is safe to use from two threads.
"""

from __future__ import annotations

from appliance.balancer.balancer import Balancer
from appliance.balancer.destination import Counters, Destination
from appliance.balancer.running import TICK

__all__ = ["TICK", "Balancer", "Counters", "Destination"]
