"""Real traffic in every mode and family: checks turn green, requests spread, a backend that is killed is left out."""

from __future__ import annotations

import pytest

from appliance.cli.client import call
from tests.lab.site import Site
from tests.netns.scenario_site import MODES, VIPS, requests, serving, wait_available

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.mark.parametrize("mode", MODES)
def test_traffic(mode: str) -> None:
    with Site(MODES[mode], 3 if mode == "simple" else 2) as site, serving(site, mode) as daemon:
        for version in VIPS:
            report = requests(site, version)
            assert report.failed == []
            assert set(report.backends()) == set(site.backends)
        site.backends["b2"].kill_servers()
        others = [name for name in site.backends if name != "b2"]
        wait_available(daemon, site, *others)
        for version in VIPS:
            report = requests(site, version)
            assert report.failed == []
            assert set(report.backends()) == set(others)
        reasons = call(daemon.places, "status")["reasons"]
        assert reasons["probe-answer"] > 20
