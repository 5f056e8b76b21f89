"""What becomes of the fleet's settings: nodes, keys that nobody gets to see, and VIPs that keep their route."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path

import pytest

from appliance import config
from appliance.config.settings import default_of
from appliance.control import kept_config
from appliance.errors import ConfigError
from appliance.model import Config
from appliance.model_address import Endpoint
from appliance.model_fleet import Fleet, LastAnnouncer

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "config"
KEY = "a-long-secret-text"
SEED = "hash_seed: 8d969eef6ecad3c29a3a629280e686cf"
KEEP, WITHDRAW = LastAnnouncer.KEEP, LastAnnouncer.WITHDRAW


def golden() -> config.Loaded:
    return config.load_text((GOLDEN / "fleet.yaml").read_text(), "fleet.yaml")


def found(*lines: str) -> tuple[Config, list[str]]:
    """Return the configuration, and the codes of its warnings."""
    loaded = config.load_text("\n".join(lines), "f")
    return loaded.config, [issue.code for issue in loaded.warnings]


def test_every_setting_reaches_the_model() -> None:
    loaded = golden().config
    assert loaded.fleet == Fleet(
        keys=(b"the-new-secret-text", b"0123456789012345"),
        peers=(
            Endpoint(ip_address("10.1.1.1"), 9877),
            Endpoint(ip_address("10.1.1.2"), 9999),
            Endpoint(ip_address("2001:db8::3"), 9877),
            Endpoint(ip_address("2001:db8::4"), 9999),
        ),
        group=Endpoint(ip_address("ff05::5:9"), 9876),
        source=ip_address("10.1.1.1"),
        port=9877,
        rate=12_000_000,
        quorum=True,
    )
    assert loaded.leave == 90
    assert golden().warnings == ()
    assert kept_config.config(json.loads(json.dumps(kept_config.as_json(loaded)))) == loaded


def test_what_is_not_said_is_as_the_model_has_it() -> None:
    made, warnings = found(SEED, f"fleet: {{key: {KEY}, peers: 10.1.1.2}}")
    assert made.fleet == Fleet((KEY.encode(),), (Endpoint(ip_address("10.1.1.2"), 9876),))
    assert (default_of("rate"), default_of("quorum")) == (made.fleet.rate, made.fleet.quorum)
    assert warnings == []


def test_a_group_alone_exchanges_nothing() -> None:
    made, warnings = found("multicast: 224.0.0.1:9999")
    assert made.fleet is None
    assert made.multicast == Endpoint(ip_address("224.0.0.1"), 9999)
    assert warnings == ["fleet"]


def test_a_group_is_enough() -> None:
    made, warnings = found(SEED, "multicast: 224.0.0.1:9999", f"fleet: {{key: {KEY}}}")
    assert made.fleet == Fleet((KEY.encode(),), group=made.multicast)
    assert warnings == []


def test_nodes_without_a_common_seed_are_warned() -> None:
    assert found(f"fleet: {{key: {KEY}, peers: [10.1.1.2]}}")[1] == ["hash-seed"]


@pytest.mark.parametrize("peers", ["", ", peers: []", ", peers: "])
def test_a_fleet_of_nobody_is_refused(peers: str) -> None:
    with pytest.raises(ConfigError) as caught:
        found(SEED, f"fleet: {{key: {KEY}{peers}}}")
    assert [(issue.path, issue.code) for issue in caught.value.issues] == [("fleet", "missing")]


def test_nobody_gets_to_see_a_key() -> None:
    """Neither those who ask what is in force, nor those who read messages and logs."""
    loaded = golden()
    shown = json.dumps(config.expand(loaded)) + config.explain_text(loaded) + repr(loaded) + str(loaded.config)
    assert '"key": ["***", "***"]' in shown
    for key in ("the-new-secret-text", "0123456789012345"):
        assert key not in shown
        text = (GOLDEN / "mistakes-fleet.yaml").read_text().replace("another-secret-text", key)
        with pytest.raises(ConfigError) as caught:
            config.load_text(text, "f")
        assert key not in str(caught.value) + repr(caught.value)


def test_the_text_for_people_names_the_others() -> None:
    lines = [line for line in config.explain_text(golden()).splitlines() if line.startswith(("fleet", "leave"))]
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        (
            "key *** ***, to the group [ff05::5:9]:9876, to 10.1.1.1:9877 10.1.1.2:9999 [2001:db8::3]:9877 "
            "[2001:db8::4]:9999, from 10.1.1.1 port 9877, at most 12M bytes a second, quorum"
        ),
        "90s",
    ]


def test_one_service_says_for_its_vip_what_becomes_of_the_route() -> None:
    said = {str(service.key): service.last_announcer for service in golden().config.services}
    assert said == {
        "203.0.113.10:80/tcp": WITHDRAW,
        "203.0.113.10:443/tcp": WITHDRAW,
        "203.0.113.11:22/tcp": WITHDRAW,
        "203.0.113.11:80/tcp": WITHDRAW,
        "203.0.113.11:443/tcp": WITHDRAW,
        "[2001:db8:f::1]:53/udp": KEEP,
    }


def test_services_of_a_vip_must_agree() -> None:
    entries = [
        "- {virtual: 203.0.113.1, servers: [10.1.1.5], policy: {http: }, last_announcer: keep}",
        "- {virtual: 203.0.113.1, servers: [10.1.1.5], policy: {https: {last_announcer: withdraw}}}",
    ]
    with pytest.raises(ConfigError) as caught:
        found("interfaces: [eth0]", "services:", *entries)
    [issue] = caught.value.issues
    assert (issue.path, issue.code) == ("services[1].policy.https.last_announcer", "conflict")
