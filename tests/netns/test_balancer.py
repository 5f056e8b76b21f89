"""The library, used by a program of its own in the balancer's namespace, with real traffic."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from appliance import paths
from appliance.balancer import Balancer, Destination
from appliance.balancer.unchecked import nameless
from appliance.dataplane.enums import Reason, State
from appliance.errors import AlreadyRunning, HostError, RequestError
from appliance.model import Address, Backend, Config, Service, ServiceKey
from tests.lab.addresses import BALANCER, ECHO, HTTP, VIP, mac_of
from tests.lab.debris import leftovers_of
from tests.lab.namespace import NAMESPACES, LabError
from tests.lab.topology import Lab
from tests.lab.traffic import LongFlows, Requests
from tests.lab.xdp_pass import XdpPass

pytestmark = [pytest.mark.root, pytest.mark.slow]

WEB = ServiceKey.parse(f"{VIP}:{HTTP}/tcp")
TALK = ServiceKey.parse(f"{VIP}:{ECHO}/tcp")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(backends=3) as standing:
        yield standing


def service(key: ServiceKey, *backends: Address, drain: float = 900.0) -> Service:
    """A service of backends of weight 1."""
    return Service(key, tuple(map(Backend, backends)), checks=(), drain_timeout=drain)


def config(*services: Service, idle: float = 900.0) -> Config:
    """A configuration on eth0."""
    return Config(("eth0",), services=services, idle=idle)


def keep_going(balancer: Balancer, what: str, look: Callable[[], bool], seconds: float = 15.0) -> None:
    """Drive a balancer until `look` says yes."""
    for _ in range(int(seconds / 0.05)):
        if look():
            return
        balancer.wait(seconds=0.05)
    raise LabError(f"waited {seconds:g} s in vain for {what}")


def by_address(balancer: Balancer, key: ServiceKey) -> dict[Address, Destination]:
    """The destinations of a service."""
    return {one.backend.address: one for one in balancer.destinations(key)}


def serve(lab: Lab, balancer: Balancer, count: int = 60) -> dict[str, int]:
    """Make requests, and return how many each backend served well."""
    balancer.refresh()
    with Requests(lab.client, count=count, rate=300) as requests:
        served = dict(requests.finish().backends())
    balancer.refresh()
    return served


def attached(lab: Lab) -> bool:
    """Whether there is a program on eth0."""
    return "xdp" in json.loads(lab.balancer.run("ip", "-json", "link", "show", "dev", "eth0"))[0]


def test_services_destinations_and_attachment(lab: Lab) -> None:
    b1, b2, b3 = (backend.address for backend in lab.backends.values())

    def use() -> None:
        balancer = Balancer(config(service(WEB, b1, b2)))
        with pytest.raises(RequestError, match="not open"):
            balancer.refresh()
        with balancer:
            assert [one.state for one in balancer.destinations(WEB)] == [State.AVAILABLE] * 2
            assert serve(lab, balancer).keys() == {"b1", "b2"}
            balancer.create_service(service(TALK, b3))
            with pytest.raises(RequestError, match=r"there is a service .* already"):
                balancer.create_service(service(TALK, b3))
            assert [one.key for one in balancer.services()] == [WEB, TALK]
            balancer.update_service(service(WEB, b3, b1))
            assert [one.leaving for one in by_address(balancer, WEB).values()] == [False, True, False]
            keep_going(balancer, "b3", lambda: by_address(balancer, WEB)[b3].state is State.AVAILABLE)
            assert serve(lab, balancer).keys() == {"b1", "b3"}
            balancer.update_destination(WEB, Backend(b3, 0))
            assert serve(lab, balancer).keys() == {"b1"}
            balancer.detach()
            assert not attached(lab)
            assert serve(lab, balancer, 5) == {}
            balancer.update_destination(WEB, Backend(b3, 2))
            assert not attached(lab)
            balancer.attach()
            assert serve(lab, balancer).keys() == {"b1", "b3"}
            assert balancer.reasons()[Reason.NOT_IP] > 0
            balancer.delete_service(TALK, drain=False)
            with pytest.raises(RequestError, match="there is no service"):
                balancer.destinations(TALK)
            with pytest.raises(RequestError, match="stays on its interfaces"):
                balancer.configure(replace(config(), interfaces=("eth1",)))
            with pytest.raises(RequestError, match="no namespace for probes"):
                balancer.inside(lambda: None)
            many = [service(ServiceKey(VIP, port, WEB.protocol), b2) for port in range(10000, 10300)]
            balancer.configure(config(service(WEB, b2), *many))
            assert len(balancer.services()) == 301
            assert serve(lab, balancer) == {"b2": 60}
        assert not attached(lab)
        balancer.close()

    lab.balancer.call(use)


def test_drains_end_and_slots_are_settled(lab: Lab) -> None:
    b1, b2, b3 = (backend.address for backend in lab.backends.values())

    def use() -> None:
        with Balancer(config(service(TALK, b1, b2, drain=2.0), idle=3.0)) as balancer:
            with LongFlows(lab.client, busy=40, idle=0) as flows:
                balancer.create_destination(TALK, Backend(b3))
                balancer.wait(seconds=0.5)
                assert flows.more(20).by_backend().keys() == {"b1", "b2", "b3"}
                balancer.delete_destination(TALK, b1)
                assert by_address(balancer, TALK)[b1].leaving
                keep_going(balancer, "the end of the drain", lambda: b1 not in by_address(balancer, TALK))
                assert all(flow.backend == "b1" for flow in flows.status().broken)
            instance = balancer._running()
            tables = instance.data.tables
            assert tables is not None
            keep_going(balancer, "slots to be settled", lambda: not any(tables.tracked().values()), 30)

    lab.balancer.call(use)


def test_neighbours_and_interfaces_are_followed(lab: Lab) -> None:
    b1 = lab.backends["b1"]

    def use() -> None:
        with Balancer(config(service(WEB, b1.address, IPv4Address("10.1.10.200")))) as balancer:
            nobody = by_address(balancer, WEB)[IPv4Address("10.1.10.200")]
            assert (nobody.state, nobody.mac, nobody.share) == (State.NONE, None, 0)
            assert serve(lab, balancer) == {"b1": 60}
            mac = "02:00:00:00:99:01"
            b1.namespace.run("ip", "link", "set", "eth0", "address", mac)
            b1.namespace.run("ip", "neighbour", "flush", "all")
            b1.namespace.call(_ask_for_the_balancer)
            keep_going(balancer, "the MAC", lambda: _mac(balancer, b1.address) == bytes.fromhex(mac.replace(":", "")))
            lab.router.run("ip", "neighbour", "flush", "dev", "lan")
            assert serve(lab, balancer) == {"b1": 60}
            _replace_interface(lab)
            keep_going(balancer, "the program on the new interface", lambda: attached(lab))
            keep_going(balancer, "the MAC there", lambda: _mac(balancer, b1.address) is not None)
            assert serve(lab, balancer) == {"b1": 60}

    lab.balancer.call(use)


def _mac(balancer: Balancer, address: Address) -> bytes | None:
    return by_address(balancer, WEB)[address].mac


def _ask_for_the_balancer() -> None:
    """Make this namespace ask for the balancer's MAC address, and thereby tell it its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        anything.sendto(b"", (str(BALANCER), 9))


def _replace_interface(lab: Lab) -> None:
    lab.balancer.run("ip", "link", "delete", "eth0")
    mac, switch = mac_of(BALANCER), lab.switch.name
    cable = ("type", "veth", "peer", "name", "balancer", "netns", switch)
    lab.balancer.run("ip", "link", "add", "eth0", "address", mac, *cable)
    lab.balancer.run("ethtool", "-K", "eth0", "tx", "off")
    lab.balancer.run("ip", "address", "add", f"{BALANCER}/24", "dev", "eth0")
    lab.switch.run("ip", "link", "set", "balancer", "master", "br0", "up")
    XdpPass(lab.switch, "balancer").close()
    lab.balancer.run("ip", "link", "set", "eth0", "up")


def test_probes_go_to_one_backend_through_the_vip(lab: Lab) -> None:
    places = lab.balancer.call(lambda: nameless(("eth0",)))
    addresses = [backend.address for backend in lab.backends.values()]

    def use() -> None:
        with Balancer(config(service(WEB, *addresses)), probes=True) as balancer:
            for name, backend in lab.backends.items():
                place = str(balancer.nat_address(WEB, backend.address))

                def ask(place: str = place) -> bytes:
                    with socket.create_connection((place, HTTP), 5) as connection:
                        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                        return connection.recv(4096)

                assert f"X-Backend: {name}".encode() in balancer.inside(ask)
            with pytest.raises(RequestError, match=r"has no backend 10\.1\.10\.99"):
                balancer.nat_address(WEB, IPv4Address("10.1.10.99"))
            assert leftovers_of(places) == [str(NAMESPACES / places.namespace)]

    lab.balancer.call(use)
    assert leftovers_of(places) == []


def test_a_root_outlives_its_process(lab: Lab) -> None:
    b1, b2, b3 = (backend.address for backend in lab.backends.values())
    root = paths.root(str(lab.root("library")))

    def use() -> None:
        with LongFlows(lab.client, busy=0, idle=0) as flows:
            with Balancer(config(service(TALK, b1, b2)), root=root) as balancer:
                assert flows.more(40).by_backend().keys() == {"b1", "b2"}
                with pytest.raises(AlreadyRunning):
                    Balancer(config(), root=root).open()
                counted = balancer.counters(TALK).flows
            assert attached(lab)
            assert flows.more(10).broken == []
            seed = root.seed_file.read_text()
            root.seed_file.write_text("no seed\n")
            with pytest.raises(HostError, match="32 hexadecimal digits"):
                Balancer(config(), root=root).open()
            root.seed_file.write_text(seed)
            assert attached(lab)
            balancer = Balancer(config(service(TALK, b2, b3)), root=root)
            balancer.open()
            assert attached(lab)
            balancer.close()
            with balancer:
                assert balancer.counters(TALK).flows >= counted + 10
                assert by_address(balancer, TALK)[b1].leaving
                keep_going(balancer, "b3", lambda: by_address(balancer, TALK)[b3].state is State.AVAILABLE)
                assert flows.more(20).by_backend().keys() == {"b1", "b2", "b3"}
                assert flows.stop().broken == []
                balancer.remove()
        assert not attached(lab)
        assert leftovers_of(root) == []

    lab.balancer.call(use)
