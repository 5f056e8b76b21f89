"""A boot under a booted systemd: it forwards when the interface comes, after a start without a fault."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.patience import wait_for
from tests.systemd.booting import boot, enabled
from tests.systemd.conftest import Site
from tests.systemd.test_units import text_of

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.appliance]


@pytest.fixture
def installed(site: Site) -> Iterator[Site]:
    with enabled(site.lab, site.system):
        yield site


def test_it_forwards_after_a_boot(installed: Site, capsys: pytest.CaptureFixture[str]) -> None:
    system = installed.system
    seen = boot(installed.lab, system)
    with capsys.disabled():
        print(f"\nboot: {seen} (bench's figure is the median of several)")
    assert 0 < seen.interface < seen.answered
    assert "1 of 1 services up" in text_of(system)
    wait_for("the prober", lambda: system.show("vc5-prober.service", "ActiveState") == "active", 20)
    for unit in ("vc5-netns.service", "vc5.service", "vc5-prober.service"):
        assert (system.show(unit, "ActiveState"), system.show(unit, "NRestarts")) == ("active", "0"), unit
    assert "waiting" not in text_of(system)
    assert "Traceback" not in system.journal("vc5*")
