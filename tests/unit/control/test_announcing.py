"""How VIPs are announced, and why not as usual."""

from __future__ import annotations

import pytest

from appliance.control.announcing import announcement
from appliance.model import Config

# up, seconds, isolated, last resort allowed -> how, and a word of the reason
CASES = [
    (False, 100.0, False, True, "no", "down"),
    (False, 100.0, True, True, "no", "down"),
    (True, 4.9, False, True, "no", "up for less than 5s (hold_down)"),
    (True, 4.9, True, True, "no", "hold_down"),
    (True, 5.0, False, True, "yes", ""),
    (True, 5.0, True, True, "demote", "cut off"),
    (True, 5.0, True, False, "no", "cut off"),
]


@pytest.mark.parametrize(("up", "seconds", "isolated", "demote", "how", "reason"), CASES)
def test_a_vip(up: bool, seconds: float, isolated: bool, demote: bool, how: str, reason: str) -> None:
    told = announcement(Config(demote=demote), up=up, for_seconds=seconds, isolated=isolated)
    assert str(told.how) == how
    assert reason in told.reason


def test_a_disabled_vip_is_not_announced_whatever_its_health() -> None:
    told = announcement(Config(), up=True, for_seconds=100.0, isolated=False, enabled=False)
    assert (str(told.how), told.reason) == ("no", "disabled in the configuration")


def test_without_a_hold_down_it_is_announced_at_once() -> None:
    told = announcement(Config(hold_down=0.0), up=True, for_seconds=0.0, isolated=False)
    assert str(told.how) == "yes"
