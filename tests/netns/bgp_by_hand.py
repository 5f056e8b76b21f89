"""A lab with a router to play with: `python3 -m tests.netns.bgp_by_hand [bird|frr|gobgp]`, until Enter is pressed.

The router stands between client and balancer and forwards by what it learns; BFD watches the way where it can.
"""

from __future__ import annotations

import sys

from tests.lab.backend import REPOSITORY
from tests.lab.daemon import PROGRAM, Daemon
from tests.lab.routers import KINDS, Neighbour, Router, Setup
from tests.netns.bgp_scene import BALANCER, OWN_AS, document, own, own6, prepare, services, site_with_vips

ROUTER, ROUTER_AS = 1, 65000
VIP = "203.0.113.10"


def ways_to_ask(router: Router) -> dict[str, str]:
    """Return commands for people, by what they show."""
    where = router.directory
    inside = f"ip netns exec {router.namespace.name}"
    return {
        "bird": {"routes": f"birdc -s {where}/bird.ctl show route all", "log": f"tail -f {where}/bird.log"},
        "frr": {"routes": f"vtysh --vty_socket {where} -c 'show bgp ipv4 unicast'", "log": f"tail -f {where}/*.log"},
        "gobgp": {"routes": f"{inside} gobgp --target unix://{where}/api.sock global rib"},
    }[router.name]


def main(name: str) -> None:
    """Stand it up, say how to use it, and wait. Raises StopIteration for a router that there is not."""
    kind = next(one for one in KINDS if one.name == name)
    watched = 0.0 if name == "gobgp" else 0.3
    group = {"name": name, "peers": [own(ROUTER)], "remote_as": ROUTER_AS, "bfd": bool(watched)}
    with site_with_vips() as site:
        prepare(site)
        neighbour = Neighbour(own(BALANCER), OWN_AS, (4, 6), passive=True, bfd=watched)
        router = kind(site.router, site.directory / name, Setup(ROUTER_AS, own(ROUTER), (neighbour,)))
        bgp = {"as_number": OWN_AS, "hold_time": 9, "next_hop_6": own6(BALANCER), "groups": [group]}
        with router, Daemon(site.balancer, site.root(), document(services(site), bgp)) as daemon:
            router.wait_route(VIP)
            vc5 = f"PYTHONPATH={REPOSITORY} {' '.join(PROGRAM)} --root {daemon.root}"
            client = f"ip netns exec {site.client.name} curl -s http://{VIP}/"
            told = {"vc5": f"{vc5} bgp --routes", "drain": f"{vc5} drain --all", **ways_to_ask(router)}
            told |= {"kernel": f"ip -n {site.router.name} route", "client": client}
            told |= {"configuration": str(daemon.configuration_file)}
            for what, command in told.items():
                print(f"{what:14} {command}")
            input("Enter ends it. ")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else KINDS[0].name)
