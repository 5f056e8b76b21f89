"""How VIPs are announced, why not as usual, and until when."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import replace
from typing import Any

import pytest

from appliance.control.announcing import (
    REMOVED,
    Announce,
    Announcing,
    Standing,
    announcement,
    learned_at,
    withheld,
)
from appliance.model import Config, LastAnnouncer, Protocol, Service, ServiceKey
from appliance.model_bgp import Bgp, VipRoutes

VIPS = [ipaddress.ip_address(text) for text in ("203.0.113.10", "203.0.113.11", "2001:db8::10", "203.0.113.99")]
WEB, SHOP, SIX, GONE = VIPS


def service(vip: Any, *, enabled: bool = True) -> Service:
    return Service(ServiceKey(vip, 80, Protocol.TCP), (), (), vip_enabled=enabled)


CONFIG = Config(services=(service(WEB), service(SHOP), service(SIX)))

# up, seconds, isolated, last resort allowed -> how, a word of the reason, what is left
CASES = [
    (False, 100.0, False, True, "down", "down", None),
    (False, 100.0, True, True, "down", "down", None),
    (False, 100.0, True, False, "no", "down", None),
    (True, 4.5, False, True, "down", "up for less than 5s (hold_down)", 0.5),
    (True, 4.5, True, True, "down", "hold_down", 0.5),
    (True, 4.5, True, False, "no", "hold_down", 0.5),
    (True, 5.0, False, True, "yes", "", None),
    (True, 5.0, True, True, "demote", "cut off", None),
    (True, 5.0, True, False, "no", "cut off", None),
]


@pytest.mark.parametrize(("up", "seconds", "isolated", "demote", "how", "reason", "left"), CASES)
def test_a_vip(
    up: bool, seconds: float, isolated: bool, demote: bool, how: str, reason: str, left: float | None
) -> None:
    told = announcement(Config(demote=demote), up=up, for_seconds=seconds, isolated=isolated)
    assert (str(told.how), told.left) == (how, left)
    assert reason in told.reason


# what the configuration says -> how an up VIP is announced, isolated or not
WANTED = [
    ({}, False, "yes", ""),
    ({"wanted": Announce.DEMOTE}, False, "demote", "`announce: demote`"),
    ({"wanted": Announce.DEMOTE}, True, "demote", "cut off"),
    ({"withheld": "disabled in the configuration"}, False, "no", "disabled in the configuration"),
    ({"withheld": "disabled", "learning": 3.0}, False, "no", "disabled"),
    ({"learning": 11.2}, False, "no", "learning, 12 s left"),
    ({"learning": 11.2}, True, "no", "learning"),
    ({"last": True}, False, "yes", ""),
    ({"last": True}, True, "demote", "cut off"),
]

# What is said of a VIP that no other node announces -> how it is announced while it is down, up for a moment, isolated
LAST_OF_ALL = [
    ({}, False, 100.0, False, "last", "down, and no other node announces it (last_announcer)"),
    ({}, False, 100.0, True, "last", "no other node announces it"),
    ({}, True, 4.5, False, "last", "up for less than 5s (hold_down)"),
    ({"learning": 3.0}, False, 100.0, False, "no", "learning"),
    ({"withheld": "disabled"}, False, 100.0, False, "no", "disabled"),
]


@pytest.mark.parametrize(("said", "isolated", "how", "reason"), WANTED)
def test_what_is_wanted(said: dict[str, Any], isolated: bool, how: str, reason: str) -> None:
    told = announcement(Config(), up=True, for_seconds=100.0, isolated=isolated, **said)
    assert str(told.how) == how
    assert reason in told.reason


@pytest.mark.parametrize(("said", "up", "seconds", "isolated", "how", "reason"), LAST_OF_ALL)
@pytest.mark.parametrize("demote", [True, False])
def test_the_last_that_announces_a_vip(
    said: dict[str, Any], up: bool, seconds: float, isolated: bool, how: str, reason: str, demote: bool
) -> None:
    told = announcement(Config(demote=demote), up=up, for_seconds=seconds, isolated=isolated, last=True, **said)
    assert str(told.how) == how
    assert reason in told.reason


def test_only_vips_that_are_to_keep_their_route_do() -> None:
    kept = replace(service(WEB), last_announcer=LastAnnouncer.KEEP)
    announcing = Announcing(Config(services=(kept, service(SHOP))))

    def told(last: frozenset[Any] | None) -> list[str]:
        standing = Standing(1000.0, last=last)
        return [str(announcing.of(vip, up=False, since=0.0, standing=standing).how) for vip in (WEB, SHOP)]

    assert told(None) == ["last", "down"]
    assert told(frozenset()) == ["down", "down"]
    assert told(frozenset({WEB, SHOP})) == ["last", "down"]


def test_a_node_that_has_left_announces_nothing() -> None:
    kept = replace(service(WEB), last_announcer=LastAnnouncer.KEEP)
    for up in (True, False):
        told = Announcing(Config(services=(kept,))).of(WEB, up=up, since=0.0, standing=Standing(1000.0, withdrawn=True))
        assert (str(told.how), told.reason) == ("no", "this node is drained, and its routes are withdrawn")


def test_without_a_hold_down_it_is_announced_at_once() -> None:
    told = announcement(Config(hold_down=0.0), up=True, for_seconds=0.0, isolated=False)
    assert str(told.how) == "yes"


def test_what_is_down_is_not_announced_unless_somebody_says_so() -> None:
    assert [str(how.usual) for how in Announce] == ["yes", "demote", "last", "no", "no"]


@pytest.mark.parametrize(
    ("learn", "resumed", "at"), [(None, False, 1000.0), (20.0, False, 1020.0), (20.0, True, 1000.0)]
)
def test_when_a_daemon_has_learned(learn: float | None, resumed: bool, at: float) -> None:
    assert learned_at(Config(learn=learn), 1000.0, resumed=resumed) == at


def test_what_the_configuration_withholds() -> None:
    said = {WEB: VipRoutes(Announce.NO), SHOP: VipRoutes(Announce.NO), SIX: VipRoutes(Announce.DEMOTE)}
    config = Config(services=(service(WEB, enabled=False), service(SHOP), service(SIX)), bgp=Bgp(vips=said))
    assert withheld(config) == {
        WEB: "disabled in the configuration",
        SHOP: "`announce: no` in the configuration",
    }
    told = Announcing(config).all(dict.fromkeys(said, True), {}, Standing(1000.0))
    assert {str(vip): str(how) for vip, how in told.how.items()} == {
        "203.0.113.10": "no",
        "203.0.113.11": "no",
        "2001:db8::10": "down",
    }


def test_one_that_leaves_the_configuration_is_withdrawn() -> None:
    told = Announcing(CONFIG).of(GONE, up=True, since=0.0, standing=Standing(1000.0))
    assert (told.how, told.reason) == (Announce.NO, REMOVED)


def test_all_of_a_start_in_its_order() -> None:
    """The daemon acts at each moment that it is told, and meets every change at once."""
    config = replace(CONFIG, learn=20.0, hold_down=5.0)
    announcing, at = Announcing(config), learned_at(config, 1000.0, resumed=False)
    up = {WEB: True, SHOP: True, SIX: False}
    since = {WEB: 1003.0, SHOP: 1018.0, SIX: 1000.0}
    now, seen = 1000.0, []
    while math.isfinite(now):
        told = announcing.all(up, since, Standing(now, at))
        seen.append((now, *(str(told.how[vip]) for vip in up)))
        now = math.inf if told.until is None else told.until
    assert seen == [
        (1000.0, "no", "no", "no"),
        (1020.0, "yes", "down", "down"),
        (1023.0, "yes", "yes", "down"),
    ]
