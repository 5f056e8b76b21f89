"""NAT with real traffic in the other modes and over IPv6: ports mapped, segments clamped, datagrams, errors, fragments.

A VLAN's answers that leave tagged need VLAN interfaces, which this kernel may not have: here they come in tagged and
leave untagged. Where all is tagged is tests/vm/guest/test_vlan_modes.py.
"""

from __future__ import annotations

import pytest

from appliance.cli.client import call
from tests.lab.addresses import ECHO
from tests.lab.patience import wait_for
from tests.lab.site import Site
from tests.lab.traffic import UdpFlows
from tests.netns.scenario_nat import CLAMP, CLOSED, FORWARDING, REPEATED, ask, reasons, segments, translating
from tests.netns.scenario_site import MODES, SOURCES, VIPS, flows, requests

pytestmark = [pytest.mark.root, pytest.mark.slow]

TIMESTAMPS = 12
"""Bytes of each segment that options take."""
LONG = 4000
"""Bytes of a datagram that is sent in several pieces."""


@pytest.mark.parametrize("mode", ["simple", pytest.param("multi-nic", marks=pytest.mark.appliance), "mixed"])
def test_traffic_through_nat(mode: str) -> None:
    with Site(MODES[mode], 2 if mode == "simple" else 1) as site, translating(site, mode) as daemon:
        for version in VIPS:
            report = requests(site, version)
            assert report.failed == []
            assert set(report.backends()) == set(site.backends)
            with flows(site, version) as talk:
                assert {flow.state for flow in talk.opened.flows} == {"open"}
                assert segments(site.client, "dport") == {CLAMP - TIMESTAMPS}
                for backend in site.backends.values():
                    assert segments(backend.namespace, "sport") == {CLAMP - TIMESTAMPS}
                done = talk.stop()
                assert done.broken == []
                assert set(done.by_backend()) == set(site.backends)
        # Of IPv6 see below: these servers do not speak it.
        with UdpFlows(site.client, count=20, port=ECHO) as datagrams:
            wait_for("answers", lambda: all(flow.answered for flow in datagrams.status().flows))
            assert datagrams.stop().corrupt == 0
        counted = reasons(daemon)
        assert counted["return"] > 200
        assert "no-route" not in counted


@pytest.mark.parametrize("version", VIPS)
@pytest.mark.parametrize("mode", ["simple", "multi-nic", "mixed"])
def test_errors_and_fragments(mode: str, version: int) -> None:
    source = SOURCES[version][1]
    with Site(MODES[mode], 1) as site, translating(site, mode) as daemon:
        before = reasons(daemon)
        # A sum of 0 means none in IPv4; in IPv6 there must be one.
        plain = ("x,9,none",) if version == 4 else ()
        assert ask(site, version, REPEATED, source, "x,9,sum", *plain) == ["x" * 9] * (1 + len(plain))
        # Both ways in pieces, of which only the first has ports.
        assert ask(site, version, REPEATED, source, f"y,{LONG},sum") == ["whole"]
        assert reasons(daemon)["fragment-followed"] - before.get("fragment-followed", 0) == 4
        # The backend's "port unreachable" reaches the socket that asked.
        assert ask(site, version, CLOSED, source, "x,9,sum") == ["ConnectionRefusedError"]
        # So does the client's, which is to the VIP, the one that answered.
        told = ask(site, version, REPEATED, source, "remember,1,sum", "ask,1,sum")
        assert told == ["remember", "ConnectionRefusedError"]
        assert reasons(daemon).get("icmp-error", 0) == before.get("icmp-error", 0)


def test_a_host_that_does_not_forward_is_told_what_to_do() -> None:
    with Site(MODES["simple"], 1) as site, translating(site, "simple") as daemon:
        for family, path in FORWARDING.items():
            words = f"the host does not forward IPv{family} from eth0"

            def told(words: str = words) -> list[str]:
                warnings = call(daemon.places, "status")["warnings"]
                return [one["message"] for one in warnings if one["message"].startswith(words)]

            assert told() == []
            site.balancer.run("sh", "-c", f"echo 0 > {path}")
            wait_for("the warning", told)
            site.balancer.run("sh", "-c", f"echo 1 > {path}")
            wait_for("the end of it", lambda told=told: not told())  # type: ignore[misc]
        assert requests(site, 4).failed == []
