"""`vc5 drill` where backends stand in several networks, for both families, and behind NAT."""

from __future__ import annotations

import json

import pytest

from tests.lab.addresses import HTTP, VIP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.site import Site
from tests.lab.topology import Lab
from tests.netns.scenario_site import MODES, VIPS, serving
from tests.netns.test_nat import behind_nat, configuration, states

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.appliance]

LONG = 120.0
"""Seconds that a drill in a busy lab may take."""


def passes(daemon: Daemon, service: str) -> None:
    """Two backends are taken out, and each flow stays with its own."""
    done = daemon.vc5("drill", service, "--backends", "2", "--seconds", "20", "--json", timeout=LONG)
    assert done.stdout, done.stderr
    body = json.loads(done.stdout)
    assert (done.returncode, body["verdict"], body["reasons"]) == (0, "PASS", [])
    assert [(one["flows"], one["open"], one["moved"]) for one in body["backends"]] == [(4, 4, 0)] * len(
        body["backends"]
    )
    assert body["new_flows"] == {"opened": 12, "refused": 0, "to_withdrawn": 0}
    assert all(one["answered"] for one in body["backends"])


@pytest.mark.parametrize("mode", ["vlan", "multi-nic"])
def test_in_several_networks_and_both_families(mode: str) -> None:
    with Site(MODES[mode], 2) as site, serving(site, mode) as daemon:
        for version, vip in VIPS.items():
            passes(daemon, f"[{vip}]:{HTTP}/tcp" if version == 6 else f"{vip}:{HTTP}/tcp")


def test_behind_nat() -> None:
    with (
        Lab(backends=2) as lab,
        behind_nat(lab),
        Daemon(lab.balancer, lab.root(), configuration(lab, "b1", "b2")) as daemon,
    ):
        wait_for("green backends", lambda: states(daemon) == {"available"}, 20)
        passes(daemon, f"{VIP}:{HTTP}/tcp")
