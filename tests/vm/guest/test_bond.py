"""Mode vlan as it is run in earnest: a trunk that is a bond, and on the bond the kernel's own VLAN interfaces.

                                 bond0.10  10.1.10.5, 2001:db8:10::5
    switch -- eth0 -.            bond0.20  10.1.20.5, 2001:db8:20::5
                     `-- bond0 -'
    switch -- eth1 -'            active-backup: one member carries all, the other one waits

The rest of the lab is that of tests.vm.trunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from appliance import config
from appliance.cli.client import call
from appliance.control import doctor
from appliance.net import nic
from tests.lab.addresses import ECHO, HTTP
from tests.lab.daemon import Daemon
from tests.lab.flows import FlowRecord
from tests.lab.patience import wait_for
from tests.lab.site import BALANCER, FIRST
from tests.lab.traffic import LongFlows
from tests.netns.scenario_site import SOURCES, TRUNK, VIPS, wait_available
from tests.vm import ahead
from tests.vm.trunk import Trunk, head

pytestmark = pytest.mark.root

MEMBERS = ("eth0", "eth1")


def stripping(site: Trunk) -> list[str]:
    """The members that take tags off before the program sees the frame."""
    return [name for name in MEMBERS if site.balancer.call(lambda name=name: nic.read(name)).vlan_stripping]  # type: ignore[misc]


def configuration() -> str:
    lines = head(*MEMBERS)
    for version, vip in VIPS.items():
        hosts = [network.address(FIRST) if version == 4 else network.address6(FIRST) for network in TRUNK]
        servers = ", ".join(f"'{host}'" for host in hosts)
        lines += [f"  - virtual: '{vip}'", f"    servers: [{servers}]"]
        lines += [f"    policy: {{{ECHO}/tcp: {{checks: [{{type: http, port: {HTTP}, path: /alive}}]}}}}"]
    return "\n".join([*lines, ""])


AHEAD = [configuration()]


@pytest.fixture
def site() -> Iterator[Trunk]:
    with Trunk(members=1) as standing:
        yield standing


def flows(site: Trunk, version: int) -> LongFlows:
    """Open conversations of a family, not too lively for an emulated machine."""
    vip, sources = VIPS[version], SOURCES[version]
    return LongFlows(site.client, busy=16, idle=4, vip=vip, sources=sources, interval=0.5, alternate=1.0)


def all_speak(talks: list[LongFlows]) -> None:
    """Assert that every busy connection goes on, where it was."""
    for talk in talks:
        before = {flow.number: flow for flow in talk.status().flows}

        def spoke(talk: LongFlows = talk, before: dict[int, FlowRecord] = before) -> bool:
            report = talk.status()
            assert report.broken == []
            return all(flow.idle or flow.frames >= before[flow.number].frames + 2 for flow in report.flows)

        wait_for("all connections to talk", spoke)


def carries(site: Trunk, member: str, talks: list[LongFlows]) -> None:
    """Assert that soon everything leaves by this member alone, and that the balancer's own host is reached."""

    def alone() -> bool:
        before = site.member_frames()
        all_speak(talks)
        left = [now - then for now, then in zip(site.member_frames(), before, strict=True)]
        return [name for name, frames in zip(MEMBERS, left, strict=True) if frames] == [member]

    wait_for(f"{member} to be active", lambda: site.carrier() == member)
    wait_for(f"everything to leave by {member}", alone)
    ping = ("ping", "-c", "10", "-i", "0.2", "-W", "5", str(TRUNK[0].address(BALANCER)))
    assert " 0% packet loss" in site.router.run(*ping)


def test_a_member_of_the_bond_goes_and_comes_back(site: Trunk) -> None:
    assert stripping(site) == list(MEMBERS)
    daemon = Daemon(site.balancer, site.root(), configuration())
    ahead.give(daemon.places)
    with daemon, ExitStack() as stack:
        wait_available(daemon, site, *site.backends)
        attached = [(row["name"], row["attach"]) for row in call(daemon.places, "status")["interfaces"]]
        assert [row for row in attached if row[0] in MEMBERS] == [(name, "native") for name in MEMBERS]
        assert stripping(site) == []
        talks = [stack.enter_context(flows(site, version)) for version in VIPS]
        # The kernel makes that one active whose link came first.
        first = site.carrier()
        [second] = set(MEMBERS) - {first}
        carries(site, first, talks)
        site.balancer.run("ip", "link", "set", first, "down")
        carries(site, second, talks)
        site.balancer.run("ip", "link", "set", first, "up")
        carries(site, second, talks)
        site.balancer.run("ip", "link", "set", second, "down")
        carries(site, first, talks)
        wait_available(daemon, site, *site.backends)
        for talk in talks:
            report = talk.stop()
            assert (report.broken, set(report.by_backend())) == ([], set(site.backends))
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
        assert "Traceback" not in daemon.errors
    assert stripping(site) == list(MEMBERS)


def test_the_doctor_finds_a_member_without_the_program(site: Trunk) -> None:
    file = site.root() / "lab.yaml"
    found = {}
    for names in ("eth0, eth1", "eth0"):
        file.write_text(configuration().replace(", ".join(MEMBERS), names))
        wanted = config.load(config.Source(file)).config
        told = site.balancer.call(lambda wanted=wanted: doctor.examine(wanted, doctor.look(wanted)))  # type: ignore[misc]
        found[names] = [one.what for one in told["eth0"]]
    missing = "eth1 is a member of bond0 too, and not in `interfaces`"
    assert missing not in found["eth0, eth1"]
    assert missing in found["eth0"]
