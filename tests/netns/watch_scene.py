"""Two namespaces with a link between them, and a host watch in one: what the tests of the watch have in common.

balancer (scratch)                               far (scratch)
eth0 192.0.2.1/24, 2001:db8::1/64  <-- veth -->  eth0 192.0.2.7/24, 2001:db8::7/64
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from appliance.model import Address, Host
from appliance.net import netns
from appliance.net.watch import HostWatch
from tests.lab.namespace import Namespace
from tests.lab.patience import wait_for

V4, V6 = ip_address("192.0.2.7"), ip_address("2001:db8::7")
FAR_MAC = "02:00:00:00:00:07"
NEW_MAC = "02:00:00:00:00:77"


class Scene:
    """Two namespaces, and a watch in one of them."""

    def __init__(self, balancer: Namespace, far: Namespace) -> None:
        self.balancer = balancer
        self.far = far
        self.changes = 0
        self._watches: list[HostWatch] = []

    def connect(self, name: str = "eth0") -> None:
        """Make the link, addresses included."""
        self.balancer.run("ip", "link", "add", name, "type", "veth", "peer", "eth0", "netns", self.far.name)
        self.far.run("ip", "link", "set", "eth0", "address", FAR_MAC)
        for where, interface, last in ((self.balancer, name, 1), (self.far, "eth0", 7)):
            where.run("ip", "address", "add", f"192.0.2.{last}/24", "dev", interface)
            where.run("ip", "address", "add", f"2001:db8::{last}/64", "dev", interface, "nodad")
            where.run("ip", "link", "set", interface, "up")
        # The kernel tells a little later that there is a carrier.
        wait_for(f"{name} to run", lambda: "state UP" in self.balancer.run("ip", "link", "show", name))

    def watch(self, *names: str, receive_buffer: int = 1 << 20) -> HostWatch:
        """Start a watch; it is closed at the end."""

        def changed() -> None:
            self.changes += 1

        watch = self.balancer.call(lambda: HostWatch(names or ("eth0",), changed, receive_buffer=receive_buffer))
        self._watches.append(watch)
        return watch

    def close(self) -> None:
        for watch in self._watches:
            watch.close()


@contextmanager
def make_scene() -> Iterator[Scene]:
    """Make the namespaces, still without a link, and remove them at the end."""
    names = [f"vc5watch{os.getpid()}-{end}" for end in ("balancer", "far")]
    made = Scene(*map(Namespace, names))
    try:
        with netns.lock():
            for name in names:
                netns.create(name)
        yield made
    finally:
        made.close()
        for name in names:
            netns.remove(name)


def read_until(watch: HostWatch, condition: Callable[[Host], bool], what: str, *, asking: bool = True) -> Host:
    """Let the watch read whatever comes, and ask once a second, until the snapshot is as it should be."""
    steps = 0

    def look() -> bool:
        nonlocal steps
        if asking:
            watch.refresh(steps * 0.01)  # wait_for looks every 10 ms
        steps += 1
        if select.select([watch], [], [], 0)[0]:
            watch.read()
        return condition(watch.snapshot())

    wait_for(what, look)
    return watch.snapshot()


def mac_of(host: Host, address: Address) -> str:
    macs = [mac for (_, neighbour), mac in host.neighbours.items() if neighbour == address]
    return macs[0].hex(":") if macs else ""
