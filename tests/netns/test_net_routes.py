"""The routes that the host watch sees against those that iproute2 lists, after every change; a real kernel.

The balancer has a second link, `eth1`, that is not watched.
"""

from __future__ import annotations

import json
import random
from ipaddress import ip_address, ip_network

import pytest

from appliance.model import Host, Route
from appliance.net.routes import MOST
from appliance.net.watch import HostWatch
from tests.lab.namespace import LabError
from tests.netns.watch_scene import FAR_MAC, V6, Scene, mac_of, read_until

pytestmark = pytest.mark.root


def listed(scene: Scene, *names: str) -> set[Route]:
    """Return the routes of the main table by these interfaces, as iproute2 lists them, in both families."""
    found = set()
    for family in ("-4", "-6"):
        links = {one["ifname"]: one["ifindex"] for one in json.loads(scene.balancer.run("ip", "-j", "link"))}
        for one in json.loads(scene.balancer.run("ip", "-j", family, "route", "show", "table", "main") or "[]"):
            if one.get("type", "unicast") != "unicast":
                continue
            everywhere = "0.0.0.0/0" if family == "-4" else "::/0"
            prefix = ip_network(everywhere if one["dst"] == "default" else one["dst"])
            for way in one.get("nexthops", [one]):
                via = way.get("gateway") or way.get("via", {}).get("host")
                if way.get("dev") in names and "dead" not in way.get("flags", []):
                    gateway = ip_address(via) if via else None
                    found.add(Route(prefix, gateway, links[way["dev"]], one.get("metric", 0)))
    return found


def agree(scene: Scene, watch: HostWatch, *names: str) -> Host:
    """Let the watch read until it says the same as iproute2."""
    try:
        return read_until(
            watch, lambda host: set(host.routes) == listed(scene, *(names or ("eth0",))), "the routes to agree"
        )
    except LabError:
        assert set(watch.snapshot().routes) == listed(scene, *(names or ("eth0",)))
        raise


def second_link(scene: Scene) -> None:
    scene.balancer.run("ip", "link", "add", "eth1", "type", "veth", "peer", "far1")
    for name in ("eth1", "far1"):
        scene.balancer.run("ip", "link", "set", name, "up")
    scene.balancer.run("ip", "address", "add", "198.51.100.1/24", "dev", "eth1")
    scene.balancer.run("ip", "address", "add", "2001:db8:1::1/64", "dev", "eth1", "nodad")


VIA, OTHER_VIA = "192.0.2.7", "198.51.100.7"
STORIES = {
    "comes and goes": ["route add 10.0.0.0/8 via 192.0.2.7", "route del 10.0.0.0/8"],
    "default": ["route add default via 192.0.2.7 metric 7", "-6 route add default via fe80::7 dev eth0"],
    "IPv6 comes and goes": ["-6 route add 2001:db8:8::/48 via 2001:db8::7", "-6 route del 2001:db8:8::/48"],
    "several metrics": [
        "route add 10.0.0.0/8 via 192.0.2.7 metric 1",
        "route add 10.0.0.0/8 via 192.0.2.8 metric 2",
        "route del 10.0.0.0/8 metric 1",
    ],
    "replaced": [
        "route add 10.0.0.0/8 via 192.0.2.7",
        "route replace 10.0.0.0/8 via 192.0.2.8",
        "route replace 10.0.0.0/8 via 198.51.100.7",
        "route replace 10.0.0.0/8 via 192.0.2.9",
        "route replace blackhole 10.0.0.0/8",
    ],
    "IPv6 replaced": [
        "-6 route add 2001:db8:8::/48 via 2001:db8::7",
        "-6 route replace 2001:db8:8::/48 via 2001:db8::8",
        "-6 route replace 2001:db8:8::/48 via 2001:db8:1::7",
        "-6 route replace 2001:db8:8::/48 nexthop via 2001:db8::8 nexthop via 2001:db8::9 nexthop via 2001:db8:1::7",
        "-6 route replace 2001:db8:8::/48 nexthop via 2001:db8::a nexthop via 2001:db8::b",
        "-6 route replace 2001:db8:8::/48 via 2001:db8::8",
    ],
    "many ways": [
        "route add 10.0.0.0/8 nexthop via 192.0.2.7 nexthop via 192.0.2.8 weight 3 nexthop via 198.51.100.7",
        "route change 10.0.0.0/8 nexthop via 192.0.2.7 nexthop via 192.0.2.9",
        "route append 10.0.0.0/8 via 192.0.2.10",
        "route append 10.0.0.0/8 via 192.0.2.11",
        "route replace 10.0.0.0/8 via 192.0.2.12",
        "route del 10.0.0.0/8",
    ],
    "IPv6 in many ways": [
        "-6 route add 2001:db8:8::/48 nexthop via 2001:db8::7 nexthop via 2001:db8::8 nexthop via 2001:db8:1::7",
        "-6 route append 2001:db8:8::/48 via 2001:db8::9",
        "-6 route del 2001:db8:8::/48 via 2001:db8::8",
        "-6 route add 2001:db8:8::/48 via 2001:db8::a metric 7",
        "-6 route del 2001:db8:8::/48 metric 1024",
    ],
    "IPv6 with and without a gateway": [
        "-6 route add 2001:db8:8::/48 dev eth0",
        "-6 route append 2001:db8:8::/48 via 2001:db8::7",
        "-6 route append 2001:db8:8::/48 via 2001:db8::8",
        "-6 route replace 2001:db8:8::/48 dev eth0 mtu 1400",
        "-6 route replace 2001:db8:8::/48 via 2001:db8::9",
    ],
    "other tables, types, TOS": [
        "route add 10.0.0.0/8 via 192.0.2.7 table 100",
        "route add 10.1.0.0/16 via 192.0.2.7 table 1000",
        "route add unreachable 10.2.0.0/16",
        "-6 route add blackhole 2001:db8:8::/48",
    ],
    "by way of the other family": ["route add 10.0.0.0/8 via inet6 2001:db8::7", "route del 10.0.0.0/8"],
    "on the link": ["route add 10.0.0.0/8 dev eth0", "route add 10.1.0.0/16 via 172.16.0.1 dev eth0 onlink"],
    "nexthop objects": [
        "nexthop add id 5 via 192.0.2.7 dev eth0",
        "route add 10.0.0.0/8 nhid 5",
        "nexthop replace id 5 via 192.0.2.8 dev eth0",
        "nexthop add id 6 via 192.0.2.9 dev eth0",
        "nexthop add id 7 group 5/6",
        "route add 10.1.0.0/16 nhid 7",
        "nexthop del id 6",
        "nexthop del id 5",
    ],
    "IPv6 nexthop objects": [
        "nexthop add id 5 via 2001:db8::7 dev eth0",
        "nexthop add id 6 via 2001:db8::8 dev eth0",
        "nexthop add id 7 group 5/6",
        "-6 route add 2001:db8:8::/48 nhid 7",
        "-6 route add 2001:db8:9::/48 nhid 5",
        "nexthop replace id 6 via 2001:db8::9 dev eth0",
        "-6 route replace 2001:db8:9::/48 via 2001:db8::9",
        "nexthop del id 7",
    ],
    "link down and up": [
        "route add 10.0.0.0/8 via 192.0.2.7",
        "route add 10.1.0.0/16 nexthop via 192.0.2.7 nexthop via 198.51.100.7",
        "-6 route add 2001:db8:8::/48 via 2001:db8::7",
        "link set eth0 down",
        "link set eth0 up",
    ],
    "the other link down and up": [
        "route add 10.1.0.0/16 nexthop via 192.0.2.7 nexthop via 198.51.100.7",
        "link set eth1 down",
        "link set eth1 up",
    ],
    "down without a carrier": [
        "route add 10.0.0.0/8 via 192.0.2.7",
        "-n {far} link set eth0 down",
        "link set eth0 down",
        "-n {far} link set eth0 up",
    ],
    "address gone": [
        "address add 192.0.2.99/32 dev lo",
        "route add 10.0.0.0/8 via 192.0.2.7 src 192.0.2.99",
        "route add 10.1.0.0/16 via 192.0.2.7",
        "address del 192.0.2.99/32 dev lo",
        "address del 192.0.2.1/24 dev eth0",
        "address del 2001:db8::1/64 dev eth0",
    ],
    "link gone": ["route add 10.0.0.0/8 via 192.0.2.7", "link del eth0"],
    "renamed away": ["route add 10.0.0.0/8 via 192.0.2.7", "link set eth0 down", "link set eth0 name gone"],
    "flushed": ["route add 10.0.0.0/8 via 192.0.2.7", "route flush dev eth0"],
}


@pytest.mark.parametrize("story", STORIES)
def test_routes_are_those_that_iproute2_lists(scene: Scene, story: str) -> None:
    scene.connect()
    second_link(scene)
    watch = scene.watch()
    seen = {agree(scene, watch).routes}
    for command in STORIES[story]:
        scene.balancer.run("ip", *command.format(far=scene.far.name).split())
        seen.add(agree(scene, watch).routes)
    assert watch.overruns == 0
    assert set(scene.watch().snapshot().routes) == set(watch.snapshot().routes)
    if story != "other tables, types, TOS":
        assert len(seen) > 1


def test_random_changes_read_in_lumps(scene: Scene) -> None:
    scene.connect()
    second_link(scene)
    watch = scene.watch()
    chance = random.Random(7)
    for _ in range(8):
        lines = []
        for _ in range(40):
            six = chance.random() < 0.5
            verb = chance.choice(["add", "append", "replace", "replace", "del"])
            prefix = f"2001:db8:{chance.randint(8, 10)}::/48" if six else f"10.{chance.randint(0, 2)}.0.0/16"
            nets = ("2001:db8::", "2001:db8:1::") if six else ("192.0.2.", "198.51.100.")
            ways = [f"via {chance.choice(nets)}{chance.randint(7, 9)}" for _ in range(chance.randint(1, 3))]
            text = ways[0] if len(ways) == 1 or verb == "append" else " ".join(f"nexthop {way}" for way in set(ways))
            metric = f"metric {chance.randint(1, 2)}"
            lines.append(f"route {verb} {prefix} {metric} {text}" if verb != "del" else f"route del {prefix} {metric}")
        scene.balancer.run("sh", "-c", "ip -force -batch - 2>/dev/null || true", text="\n".join(lines))
        agree(scene, watch)


def test_overrun_ends_in_the_true_routes(scene: Scene) -> None:
    scene.connect()
    watch = scene.watch(receive_buffer=4096)
    for verb in ("add", "change"):
        lines = [f"route {verb} 10.1.{n >> 4}.{n % 16 * 16}/28 via 192.0.2.{7 + (verb == 'add')}" for n in range(600)]
        scene.balancer.run("ip", "-batch", "-", text="\n".join(lines))
    scene.balancer.run("ip", "route", "delete", "10.1.0.0/28")
    watch.read()
    assert watch.overruns == 1
    assert set(watch.snapshot().routes) == listed(scene, "eth0")
    assert len(watch.snapshot().routes) > 599


def test_link_local_gateway_is_resolved_where_its_route_leaves(scene: Scene) -> None:
    scene.connect()
    (address,) = (
        one["local"]
        for link in json.loads(scene.far.run("ip", "-j", "-6", "address", "show", "dev", "eth0"))
        for one in link["addr_info"]
        if one["scope"] == "link"
    )
    watch = scene.watch()
    watch.want([ip_address(address)])
    watch.refresh(0.0)
    assert mac_of(watch.snapshot(), ip_address(address)) == ""
    scene.balancer.run("ip", "-6", "route", "add", "default", "via", address, "dev", "eth0")
    host = read_until(watch, lambda host: mac_of(host, ip_address(address)) == FAR_MAC, "the gateway")
    assert [route.gateway for route in host.routes if route.prefix.prefixlen == 0] == [ip_address(address)]


def test_only_usable_ipv6_addresses_are_seen(scene: Scene) -> None:
    scene.connect()
    watch = scene.watch()
    assert [str(address) for address in watch.snapshot().interfaces[0].addresses] == ["192.0.2.1/24", "2001:db8::1/64"]
    for change, expected in (
        (("add", "2001:db8:2::1/64"), ["2001:db8::1/64", "2001:db8:2::1/64"]),
        (("change", "2001:db8:2::1/64", "preferred_lft", "0"), ["2001:db8::1/64"]),
        (("change", "2001:db8:2::1/64", "preferred_lft", "forever"), ["2001:db8::1/64", "2001:db8:2::1/64"]),
        (("add", str(V6) + "/64"), ["2001:db8::1/64", "2001:db8:2::1/64"]),  # a duplicate of the far one
        (("del", "2001:db8:2::1/64"), ["2001:db8::1/64"]),
    ):
        scene.balancer.run("ip", "address", *change, "dev", "eth0")

        def right(host: Host, expected: list[str] = expected) -> bool:
            return [str(one) for one in host.interfaces[0].addresses if one.version == 6] == expected

        read_until(watch, right, f"the addresses after {change}")

    def failed(_host: Host) -> bool:
        return "dadfailed" in scene.balancer.run("ip", "-6", "address", "show", "dev", "eth0")

    host = read_until(watch, failed, "the duplicate to be found out")
    assert right(host)


def test_what_lies_on_and_above_an_interface_but_is_neither_vlan_nor_bond_is_left_out(scene: Scene) -> None:
    scene.connect()
    watch = scene.watch()
    scene.balancer.run("ip", "link", "add", "mac0", "link", "eth0", "type", "macvlan")
    scene.balancer.run("ip", "link", "set", "mac0", "up")
    scene.balancer.run("ip", "link", "set", "eth0", "mtu", "1400")
    (interface,) = read_until(watch, lambda host: host.interfaces[0].mtu == 1400, "the MTU").interfaces
    scene.balancer.run("ip", "link", "del", "mac0")
    scene.balancer.run("ip", "link", "add", "bridge0", "type", "bridge")
    scene.balancer.run("ip", "link", "set", "eth0", "master", "bridge0")
    scene.balancer.run("ip", "link", "set", "eth0", "mtu", "1300")
    (interface,) = read_until(watch, lambda host: host.interfaces[0].mtu == 1300, "the MTU").interfaces
    assert (interface.master, interface.vlan, interface.parent) == (0, None, 0)


def test_a_full_table_is_cut_and_told_and_comes_back_when_there_is_room(scene: Scene) -> None:
    scene.connect()
    watch = scene.watch()
    assert watch.notes() == ()
    before = len(watch.snapshot().routes)
    more, gone = MOST + 500, 2500
    prefixes = [f"10.{n >> 12 & 255}.{n >> 4 & 255}.{n % 16 * 16}/28" for n in range(more)]
    scene.balancer.run("ip", "-batch", "-", text="".join(f"route add {one} via 192.0.2.7\n" for one in prefixes))
    scene.balancer.run("ip", "-6", "route", "add", "default", "via", "2001:db8::7")
    host = read_until(watch, lambda host: watch.routes_left_out == before + 500, "the routes")
    assert len(host.routes) == MOST + 1
    assert any(route.prefix.prefixlen == 0 for route in host.routes)
    (note,) = watch.notes()
    assert f"{before + 500} routes" in note
    fresh = scene.watch()
    assert (len(fresh.snapshot().routes), fresh.routes_left_out) == (MOST + 1, before + 500)
    scene.balancer.run("ip", "-batch", "-", text="".join(f"route del {one}\n" for one in prefixes[:gone]))
    read_until(watch, lambda host: len(host.routes) == before + 1 + more - gone, "the rest of the routes")
    assert watch.notes() == ()
