"""What the daemon says, in the journal of a booted system: one entry for each event, with its fields."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab.patience import wait_for
from tests.systemd.booted import Booted
from tests.systemd.conftest import Site
from tests.systemd.test_units import started

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.appliance]


def entries(system: Booted, *matches: str) -> list[dict[str, Any]]:
    """Return what the journal has of these fields."""
    text = system.run("journalctl", "--no-pager", "--output=json", *matches)
    return [json.loads(line) for line in text.splitlines()]


def test_events_have_fields_in_the_journal(site: Site) -> None:
    system = site.system
    started(site)
    wait_for("the end of the learning", lambda: entries(system, "VC5_KIND=daemon", "VC5_OUTCOME=learned"), 30)
    found = entries(system, "VC5_KIND=backend")
    assert {(one["VC5_BEFORE"], one["VC5_OUTCOME"]) for one in found} == {("unknown", "up")}
    assert len({one["VC5_BACKEND"] for one in found}) == len(found) == 2
    one = found[0]
    assert one["VC5_SERVICE"].startswith(one["VC5_VIP"])
    assert (one["SYSLOG_IDENTIFIER"], one["_SYSTEMD_UNIT"], one["PRIORITY"]) == ("vc5", "vc5.service", "5")
    assert one["_TRANSPORT"] == "journal"
    assert "unknown -> up" in one["MESSAGE"]

    (vip,) = entries(system, "VC5_KIND=vip")
    assert (vip["VC5_OUTCOME"], vip["PRIORITY"], vip["VC5_REASON"]) == ("up", "3", "1 of 1 services up")
    (learned,) = entries(system, "VC5_OUTCOME=learned")
    assert learned["PRIORITY"] == "6"
    assert learned["MESSAGE"] == "after the start everything is up: 1 VIP, 1 service, 2 backends"

    site.lab.balancer.run("ip", "link", "set", "eth0", "down")
    try:
        (down,) = wait_for("the event", lambda: entries(system, "VC5_KIND=interface", "VC5_OUTCOME=down"), 10)
        assert (down["VC5_INTERFACE"], down["VC5_REASON"]) == ("eth0", "no link, or switched off")
        (vip,) = wait_for("the VIP to go", lambda: entries(system, "VC5_KIND=vip", "VC5_OUTCOME=down"), 30)
        assert (vip["PRIORITY"], vip["VC5_BEFORE"]) == ("3", "up")
    finally:
        site.lab.balancer.run("ip", "link", "set", "eth0", "up")
    # Lines that are no events come by the same way, and everything is once there.
    text = system.journal("vc5.service")
    assert text.count("interface") >= 1
    assert len([line for line in text.splitlines() if line.startswith("started, version")]) == 1
