"""Real traffic in every mode and family: checks turn green, requests spread, and no established connection breaks."""

from __future__ import annotations

from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from appliance.cli.client import call
from appliance.dataplane.frame import Flow
from appliance.model import Protocol
from tests.lab.addresses import ECHO, HTTP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.requests import RequestRecord
from tests.lab.site import Site
from tests.lab.traffic import LongFlows
from tests.netns.scenario_site import (
    BOND,
    MODES,
    SOURCES,
    VIPS,
    configuration,
    flows,
    requests,
    serving,
    wait_available,
)

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.mark.parametrize(
    "mode", [pytest.param(one, marks=pytest.mark.appliance) if one == "mixed" else one for one in MODES]
)
def test_traffic(mode: str) -> None:
    with Site(MODES[mode], 3 if mode == "simple" else 2) as site, serving(site, mode) as daemon:
        for version in VIPS:
            report = requests(site, version)
            assert report.failed == []
            assert set(report.backends()) == set(site.backends)
            for request in report.requests[:8]:
                _check_explain(daemon, site, version, request)
        site.backends["b2"].kill_servers()
        others = [name for name in site.backends if name != "b2"]
        wait_available(daemon, site, *others)
        for version in VIPS:
            report = requests(site, version)
            assert report.failed == []
            assert set(report.backends()) == set(others)
        reasons = call(daemon.places, "status")["reasons"]
        assert reasons["probe-answer"] > 20


def test_untagged_in_and_tagged_out_and_back() -> None:
    """Clients' packets come untagged by eth0, then tagged by eth1; backends of all networks answer both times."""
    with Site(MODES["mixed"], 1) as site, serving(site, "mixed"):
        for network in site.networks:
            for vip in VIPS.values():
                site.route(vip, network)
            before = site.member_frames()
            for version in VIPS:
                report = requests(site, version)
                assert report.failed == [], f"in by {network}"
                assert set(report.backends()) == set(site.backends)
            assert all(now > then for now, then in zip(site.member_frames(), before, strict=True))


@pytest.mark.parametrize("mode", ["simple", "vlan", "multi-nic"])
def test_no_connection_breaks(mode: str) -> None:
    """A drain, a reload with other weights, a death of the daemon and its return, the drain taken back."""
    with Site(MODES[mode], 2) as site, serving(site, mode) as daemon, ExitStack() as stack:
        talks = {version: stack.enter_context(flows(site, version)) for version in VIPS}
        _drain(daemon, site, "b2")
        others = [name for name in site.backends if name != "b2"]
        _talk(talks, 10, others)
        daemon.configuration_file.write_text(configuration(site, mode, weights=" weight=3"))
        assert not call(daemon.places, "reload")["compiled"]
        daemon.kill9()
        _talk(talks, 0, list(site.backends))
        daemon.start()
        wait_available(daemon, site, *others, port=ECHO)
        _talk(talks, 10, others)
        for version in VIPS:
            call(daemon.places, "undrain", service=_echo(version), backend=str(site.address("b2", version)))
        _talk(talks, 10, list(site.backends))
        _finish(talks)


def test_a_family_is_added_and_taken_away_by_a_reload() -> None:
    """The other program takes over from the running one, and long connections of the first family go on."""
    with Site(MODES["simple"], 2) as site, serving(site, "simple", versions=(4,)) as daemon, flows(site, 4) as talk:
        daemon.configuration_file.write_text(configuration(site, "simple"))
        assert call(daemon.places, "reload")["compiled"]
        wait_available(daemon, site, *site.backends)
        _talk({4: talk}, 10, list(site.backends))
        assert set(requests(site, 6).backends()) == set(site.backends)
        daemon.configuration_file.write_text(configuration(site, "simple", versions=(4,)))
        call(daemon.places, "reload")
        _talk({4: talk}, 10, list(site.backends))
        _finish({4: talk})


def test_members_of_a_bond_share_flows() -> None:
    """The switch sends to one member of the bond after the other, on one CPU after the other, while flows move on."""
    with Site(BOND, 1, members=1) as site, serving(site, "vlan") as daemon, ExitStack() as stack:
        assert site.interfaces == ("eth0", "eth1")
        site.alternate(0.02)
        talks = {version: stack.enter_context(flows(site, version)) for version in VIPS}
        before, on_cpus = site.member_frames(), site.balancer_frames()
        _drain(daemon, site, "b2")
        _talk(talks, 10, [name for name in site.backends if name != "b2"])
        for version in VIPS:
            assert requests(site, version).failed == []
        frames = [now - then for now, then in zip(site.member_frames(), before, strict=True)]
        assert min(frames) > sum(frames) / 10
        busiest = sorted(now - then for now, then in zip(site.balancer_frames(), on_cpus, strict=True))[-2:]
        assert busiest[0] > sum(frames) / 10
        _finish(talks)


def _check_explain(daemon: Daemon, site: Site, version: int, request: RequestRecord) -> None:
    """Assert that `explain` tells of a request's first packet what became of it."""
    flow = Flow(Protocol.TCP, ip_address(request.source), request.port, VIPS[version], HTTP)
    answer = call(daemon.places, "explain", flow=str(flow))
    network, backend = site.network_of[request.backend], site.backends[request.backend]
    assert answer["backend"] == answer["now"] == str(site.address(request.backend, version))
    stays = network.interface == "eth0" and "mode: multi-nic" not in daemon.configuration_file.read_text()
    assert (answer["verdict"], answer["reason"]) == ("tx" if stays else "redirect", "forward")
    assert (answer["interface"], answer["vlan"]) == (network.interface, network.id if network.tagged else None)
    assert answer["frame"].startswith(backend.mac.replace(":", ""))
    tagged = answer["frame"][24:28] == "8100"
    assert tagged == network.tagged


def _echo(version: int) -> str:
    host = f"[{VIPS[version]}]" if version == 6 else str(VIPS[version])
    return f"{host}:{ECHO}/tcp"


def _drain(daemon: Daemon, site: Site, name: str) -> None:
    for version in VIPS:
        call(daemon.places, "drain", service=_echo(version), backend=str(site.address(name, version)))


def _talk(talks: dict[int, LongFlows], new: int, names: list[str]) -> None:
    """Assert that every busy connection goes on, and that new ones reach these backends only."""
    for version, talk in talks.items():
        before = {flow.number: flow.frames for flow in talk.status().flows}

        def all_spoke(talk: LongFlows = talk, before: dict[int, int] = before) -> bool:
            report = talk.status()
            assert report.broken == []
            return all(flow.frames >= before[flow.number] + 2 for flow in report.flows if not flow.idle)

        wait_for(f"all connections of IPv{version} to talk", all_spoke)
        if new:
            added = [flow for flow in talk.more(new).flows if flow.number not in before]
            assert {flow.state for flow in added} == {"open"}
            assert {flow.backend for flow in added} <= set(names)


def _finish(talks: dict[int, LongFlows]) -> None:
    for version, talk in talks.items():
        report = talk.stop()
        assert report.broken == []
        assert {flow.state for flow in report.flows} == {"done"}
        assert {flow.source for flow in report.flows} == {str(source) for source in SOURCES[version]}
        assert len(report.by_backend()) > 1
