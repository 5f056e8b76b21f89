"""The host watch against a real kernel; see `watch_scene` for the picture."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from ipaddress import IPv4Address, ip_address, ip_interface

import pytest

from appliance.model import Address, Host
from appliance.net.watch import HostWatch
from tests.lab.namespace import LabError
from tests.netns.watch_scene import FAR_MAC, NEW_MAC, V4, V6, Scene, mac_of, read_until

pytestmark = pytest.mark.root


def test_first_snapshot(scene: Scene) -> None:
    scene.connect()
    (interface,) = scene.watch("missing", "eth0").snapshot().interfaces
    assert (interface.name, interface.mtu, interface.up) == ("eth0", 1500, True)
    assert interface.index == scene.balancer.call(lambda: socket.if_nametoindex("eth0"))
    assert interface.mac.hex(":") in scene.balancer.run("ip", "-o", "link", "show", "eth0")
    assert {ip_interface("192.0.2.1/24"), ip_interface("2001:db8::1/64")} <= set(interface.addresses)


@pytest.mark.parametrize("address", [V4, V6], ids=str)
def test_cold_neighbour_is_resolved_when_wanted(scene: Scene, address: Address) -> None:
    scene.connect()
    watch = scene.watch()
    assert mac_of(watch.snapshot(), address) == ""
    watch.want([address, ip_address("203.0.113.1")])
    host = read_until(watch, lambda host: mac_of(host, address) != "", f"{address} to be resolved")
    assert mac_of(host, address) == FAR_MAC
    assert scene.changes >= 1
    assert watch.refused == 0


def test_neighbour_that_appears_later_is_resolved(scene: Scene) -> None:
    """The kernel gives up after three seconds; the watch does not."""
    scene.connect()
    scene.far.run("ip", "link", "set", "eth0", "arp", "off")
    scene.balancer.run("sysctl", "-qw", "net.ipv4.neigh.eth0.retrans_time_ms=10")
    watch = scene.watch()
    watch.want([V4])
    failed = f"{V4} dev eth0 FAILED"

    def gave_up(_host: Host) -> bool:
        return failed in scene.balancer.run("ip", "neigh", "show").replace("  ", " ")

    read_until(watch, gave_up, "the kernel to give up")
    assert mac_of(watch.snapshot(), V4) == ""
    scene.far.run("ip", "link", "set", "eth0", "arp", "on")
    read_until(watch, lambda host: mac_of(host, V4) == FAR_MAC, "the late neighbour")


def test_stale_entry_is_confirmed(scene: Scene) -> None:
    scene.connect()
    scene.balancer.run("sysctl", "-qw", "net.ipv4.neigh.eth0.delay_first_probe_time=0")
    scene.balancer.run("sysctl", "-qw", "net.ipv4.neigh.eth0.retrans_time_ms=10")
    scene.balancer.run("ip", "neigh", "replace", str(V4), "lladdr", NEW_MAC, "dev", "eth0", "nud", "stale")
    watch = scene.watch()
    assert mac_of(watch.snapshot(), V4) == NEW_MAC
    watch.want([V4])
    # Nobody answers at that MAC, so the entry fails, is asked for anew, and found at the right one.
    read_until(watch, lambda host: mac_of(host, V4) == FAR_MAC, "the wrong MAC to be corrected")


def test_permanent_entry_stays_permanent(scene: Scene) -> None:
    scene.connect()
    scene.balancer.run("ip", "neigh", "replace", str(V4), "lladdr", NEW_MAC, "dev", "eth0", "nud", "permanent")
    watch = scene.watch()
    watch.want([V4])
    for second in range(20):
        watch.refresh(float(second))
        watch.read()
    assert "PERMANENT" in scene.balancer.run("ip", "neigh", "show", str(V4))
    assert mac_of(watch.snapshot(), V4) == NEW_MAC


@pytest.mark.parametrize("announce", ["1", "0"], ids=["announced", "not announced"])
def test_changed_mac_is_followed(scene: Scene, announce: str) -> None:
    scene.connect()
    scene.far.run("sysctl", "-qw", f"net.ipv4.conf.eth0.arp_notify={announce}")
    watch = scene.watch()
    watch.want([V4])
    read_until(watch, lambda host: mac_of(host, V4) == FAR_MAC, "the first MAC")
    before = scene.changes
    scene.far.run("ip", "link", "set", "eth0", "address", NEW_MAC)
    if announce == "0":  # the far end asks for somebody, as any host does that speaks again
        scene.far.run("ip", "neigh", "flush", "dev", "eth0")
        with scene.far.call(lambda: socket.socket(type=socket.SOCK_DGRAM)) as speaker:
            speaker.sendto(b"", ("192.0.2.1", 9))
    read_until(watch, lambda host: mac_of(host, V4) == NEW_MAC, "the new MAC", asking=False)
    assert scene.changes > before


def test_one_read_is_one_change(scene: Scene) -> None:
    scene.connect()
    watch = scene.watch()
    watch.read()
    scene.changes = 0
    for last in range(10, 60):
        scene.balancer.run("ip", "neigh", "add", f"192.0.2.{last}", "lladdr", FAR_MAC, "dev", "eth0")
    watch.read()
    assert (scene.changes, len(by_hand(watch.snapshot()))) == (1, 50)
    scene.balancer.run("ip", "neigh", "change", "192.0.2.10", "lladdr", FAR_MAC, "dev", "eth0", "nud", "stale")
    before = watch.snapshot()
    watch.read()
    watch.read()
    assert (scene.changes == 1) is (watch.snapshot() is before)
    assert by_hand(watch.snapshot()) == by_hand(before)


def test_link_down_and_up(scene: Scene) -> None:
    scene.connect()
    watch = scene.watch()
    watch.want([V4])
    read_until(watch, lambda host: mac_of(host, V4) == FAR_MAC, "the neighbour")
    for where in (scene.balancer, scene.far):  # by hand, and for want of a carrier
        where.run("ip", "link", "set", "eth0", "down")
        read_until(watch, lambda host: not host.interfaces[0].up and mac_of(host, V4) == "", "the link to be down")
        where.run("ip", "link", "set", "eth0", "up")
        read_until(watch, lambda host: host.interfaces[0].up and mac_of(host, V4) == FAR_MAC, "all to be back")


def test_interface_deleted_and_created_anew(scene: Scene) -> None:
    scene.connect()
    watch = scene.watch()
    watch.want([V4])
    host = read_until(watch, lambda host: mac_of(host, V4) == FAR_MAC, "the neighbour")
    index = host.interfaces[0].index
    scene.balancer.run("ip", "link", "delete", "eth0")
    read_until(watch, lambda host: host == Host(), "the interface to be gone")
    scene.balancer.run("ip", "link", "add", "blocker", "type", "veth", "peer", "other")  # takes the old index
    scene.connect()
    host = read_until(watch, lambda host: mac_of(host, V4) == FAR_MAC, "the neighbour on the new interface")
    assert host.interfaces[0].index != index
    assert {key[0] for key in host.neighbours} == {host.interfaces[0].index}


def test_interface_renamed_brings_its_addresses_and_neighbours(scene: Scene) -> None:
    scene.connect("before")
    scene.balancer.run("ip", "neigh", "add", str(V4), "lladdr", FAR_MAC, "dev", "before")
    watch = scene.watch()
    assert watch.snapshot() == Host()
    try:
        scene.balancer.run("ip", "link", "set", "before", "name", "eth0")
    except LabError:
        pytest.skip("this kernel renames an interface only while it is down, when it has no neighbours")
    host = read_until(watch, lambda host: bool(host.interfaces), "the new name")
    assert ip_interface("192.0.2.1/24") in host.interfaces[0].addresses
    assert mac_of(host, V4) == FAR_MAC


def test_address_comes_and_goes(scene: Scene) -> None:
    scene.connect()
    watch = scene.watch()
    extra = ip_interface("198.51.100.1/24")
    far = ip_address("198.51.100.7")
    scene.far.run("ip", "address", "add", "198.51.100.7/24", "dev", "eth0")
    watch.want([far])
    scene.balancer.run("ip", "address", "add", str(extra), "dev", "eth0")
    read_until(watch, lambda host: mac_of(host, far) == FAR_MAC, "the neighbour in the new subnet")
    scene.balancer.run("ip", "address", "delete", str(extra), "dev", "eth0")
    read_until(watch, lambda host: extra not in host.interfaces[0].addresses, "the address to go")


def test_overrun_ends_in_the_truth(scene: Scene) -> None:
    scene.connect()
    watch = scene.watch(receive_buffer=4096)
    scene.balancer.run("ip", "neigh", "add", str(V4), "lladdr", FAR_MAC, "dev", "eth0")
    scene.balancer.run("ip", "-batch", "-", text=batch("add", FAR_MAC, 600))
    scene.balancer.run("ip", "-batch", "-", text=batch("change", NEW_MAC, 600))
    scene.balancer.run("ip", "neigh", "delete", str(V4), "dev", "eth0")
    watch.read()
    assert watch.overruns == 1
    known = by_hand(watch.snapshot())
    assert known == by_hand(scene.watch().snapshot())
    assert (len(known), set(known.values())) == (600, {bytes.fromhex(NEW_MAC.replace(":", ""))})
    assert scene.changes == 1
    # What comes afterwards is followed again.
    scene.balancer.run("ip", "neigh", "delete", "10.9.0.5", "dev", "eth0")
    read_until(watch, lambda host: len(by_hand(host)) == 599, "the next message")
    assert watch.overruns == 1


def by_hand(host: Host) -> dict[tuple[int, Address], bytes]:
    """Return the IPv4 neighbours; the kernel makes multicast ones of IPv6 by itself."""
    return {key: mac for key, mac in host.neighbours.items() if key[1].version == 4}


def batch(verb: str, mac: str, count: int) -> str:
    first = int(IPv4Address("10.9.0.0"))
    return "".join(f"neigh {verb} {IPv4Address(first + n)} lladdr {mac} dev eth0 nud permanent\n" for n in range(count))


def test_in_an_event_loop(scene: Scene) -> None:
    scene.connect()
    watch = scene.watch()
    watch.want([V4])

    async def run() -> None:
        loop = asyncio.get_running_loop()
        resolved = asyncio.Event()

        def read() -> None:
            watch.read()
            if mac_of(watch.snapshot(), V4):
                resolved.set()

        async def ask() -> None:
            while True:
                watch.refresh(loop.time())
                await asyncio.sleep(0.1)

        loop.add_reader(watch.fileno(), read)
        asking = loop.create_task(ask())
        try:
            await asyncio.wait_for(resolved.wait(), 10)
        finally:
            asking.cancel()
            loop.remove_reader(watch.fileno())

    asyncio.run(run())
    assert mac_of(watch.snapshot(), V4) == FAR_MAC


@pytest.mark.parametrize(("capabilities", "resolves"), [("cap_net_admin=ep", True), ("=", False)])
def test_cap_net_admin_is_enough_and_without_it_only_asking_fails(
    scene: Scene, capabilities: str, resolves: bool
) -> None:
    scene.connect()
    watches: list[HostWatch] = []

    def follow() -> tuple[str, bool]:
        """Runs in a thread that ends afterwards, so that giving up capabilities concerns nobody else."""
        library = ctypes.CDLL("libcap.so.2", use_errno=True)
        library.cap_from_text.restype = ctypes.c_void_p
        library.cap_set_proc.argtypes = (ctypes.c_void_p,)
        assert library.cap_set_proc(library.cap_from_text(capabilities.encode())) == 0
        watch = HostWatch(("eth0",), lambda: None)
        watches.append(watch)
        watch.want([V4])
        read_until(watch, lambda host: bool(mac_of(host, V4)) or watch.refused > 0, "an answer")
        return mac_of(watch.snapshot(), V4), watch.refused > 0

    try:
        assert scene.balancer.call(follow) == ((FAR_MAC, False) if resolves else ("", True))
    finally:
        for watch in watches:
            watch.close()


def test_closing_leaves_no_descriptor(scene: Scene) -> None:
    scene.connect()
    before = len(os.listdir("/proc/self/fd"))
    scene.balancer.call(lambda: HostWatch(("eth0",), lambda: None)).close()
    assert len(os.listdir("/proc/self/fd")) == before
