"""What tests of BGP share: routers beside the balancer on its network, and configurations for the daemon.

10.1.10.2  2001:db8:10::2    FRR, AS 65000
10.1.10.3  2001:db8:10::3    BIRD, AS 4200000003
10.1.10.4  2001:db8:10::4    GoBGP, in the balancer's own AS
10.1.10.5  2001:db8:10::5    the balancer, AS 65001
10.1.10.6  2001:db8:10::6    a second balancer, where there is one
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from tests.lab.addresses import VIP, mac_of
from tests.lab.daemon import Daemon
from tests.lab.namespace import Namespace
from tests.lab.patience import wait_for
from tests.lab.site import VIP6, Network, Site, _settings
from tests.lab.topology import ROUTER_SETTINGS, _configure, _create

NETWORK = Network(10)
FRR, BIRD, GOBGP, BALANCER, SECOND = 2, 3, 4, 5, 6
OWN_AS = 65001
ASES = {FRR: 65000, BIRD: 4200000003, GOBGP: OWN_AS}

OTHER_VIP, OTHER_VIP6 = "203.0.113.20", "2001:db8:f::20"
"""Behind b2 alone; VIP and VIP6 are behind all backends."""
VIPS = (str(VIP), OTHER_VIP, str(VIP6), OTHER_VIP6)


def own(host: int) -> str:
    """The IPv4 address of a host."""
    return str(NETWORK.address(host))


def own6(host: int) -> str:
    """The IPv6 address of a host."""
    return str(NETWORK.address6(host))


def site_with_vips(backends: int = 2) -> Site:
    """The lab; when it stands, its backends are to be given the other VIPs, and its router is to forget all of them."""
    return Site([NETWORK], backends=backends)


def prepare(site: Site) -> None:
    """Give the backends the other VIPs; let the router know of none but by what it is told."""
    for backend in site.backends.values():
        lines = [f"address add {OTHER_VIP}/32 dev lo", f"address add {OTHER_VIP6}/128 dev lo nodad"]
        backend.namespace.run("ip", "-batch", "-", text="\n".join([*lines, ""]))
    site.router.run("ip", "-batch", "-", text=f"route delete {VIP}\nroute delete {VIP6}\n")


def add_host(site: Site, name: str, host: int, *, forwards: bool = False) -> Namespace:
    """Plug one more host into the network of the balancer."""
    namespace = Namespace(f"{site.name}-{name}")
    _create([namespace], [site._cable(namespace, "eth0", mac_of(NETWORK.address(host)), site.switch, name)])
    _configure(site.switch, (), [f"link set {name} master br-eth0 up"])
    lines = [f"address add {own(host)}/24 dev eth0", f"address add {own6(host)}/64 dev eth0 nodad", "link set eth0 up"]
    settings = _settings(("eth0",))
    if forwards:
        settings += (*ROUTER_SETTINGS, ("net/ipv6/conf/all/forwarding", "1"))
    _configure(namespace, ("eth0",), lines, settings)
    return namespace


def service(vip: str, servers: Sequence[str], **settings: Any) -> dict[str, Any]:
    """A service of the configuration, checked by GET /alive."""
    checks = [{"type": "http", "port": 80, "path": "/alive"}]
    return {"virtual": vip, "servers": list(servers), "policy": {"80/tcp": {"checks": checks}}, **settings}


def services(site: Site, **settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All four VIPs; `settings` by the names of VIPS: vip, other, vip6, other6."""
    both, alone = list(site.backends), list(site.backends)[-1:]
    rows = []
    for name, vip, behind in (
        *(("vip", str(VIP), both), ("other", OTHER_VIP, alone)),
        *(("vip6", str(VIP6), both), ("other6", OTHER_VIP6, alone)),
    ):
        version = ip_address(vip).version
        servers = [str(site.address(each, version)) for each in behind]
        rows.append(service(vip, servers, **settings.get(name, {})))
    return rows


def document(rows: Sequence[Mapping[str, Any]], bgp: Mapping[str, Any], host: int = BALANCER, **top: Any) -> str:
    """A whole configuration: quick checks, nothing waits, no console. JSON is YAML as well."""
    quick = {"interval": "100ms", "timeout": "1s", "rise": 1, "fall": 1, "hold_down": 0, "learn": 0}
    plain = {"interfaces": ["eth0"], "xdp": "native", "webserver": False, "router_id": own(host)}
    return json.dumps({**plain, **quick, **top, "services": list(rows), "bgp": dict(bgp)}, indent=1)


def peers(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """What the daemon says of its peers, by their addresses."""
    return {peer["address"]: peer for peer in daemon.ask("bgp")["peers"]}


def wait_peer(daemon: Daemon, address: str, state: str, seconds: float = 15.0) -> dict[str, Any]:
    """Wait until the daemon says that a peer is in a state, and return what it says."""
    wait_for(f"{address} to be {state}", lambda: peers(daemon)[address]["state"] == state, seconds)
    return peers(daemon)[address]
