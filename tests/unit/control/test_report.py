"""The body of `vc5 status`: what an operator is told, before there is a data plane and with one."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from appliance.control.overrides import Overrides
from appliance.control.plan import Openings, plan
from appliance.control.report import Facts, overview, services
from appliance.control.state import Pair, State
from appliance.dataplane.shape import shape_for
from appliance.dataplane.sync import DataPlane
from appliance.health.judge import HealthTable
from appliance.model import Backend, Config, Health, Outcome, ProbeResult, ServiceKey, Tunnel, TunnelKind, Vlan
from tests.unit.control.sample import ETH0, SEED, TLS, WEB, Planner, address, config, drained, host, mac, service

FACTS = Facts(
    version="1.2",
    pid=7,
    started=100.0,
    now=160.0,
    wall=1_000.0,
    file="/etc/vc5/config.yaml",
    loaded_at=940.0,
    generation=3,
    prober={"pid": 8},
    warnings=(),
    vips_since={WEB.vip: 150.0},
)


def told(state: State, health: HealthTable, data: DataPlane, facts: Facts = FACTS, **assumed: Health) -> dict[str, Any]:
    """The report, through JSON. `assumed` is by backend: b2=..."""
    known: dict[Pair, Health] = {(WEB, address(int(name[1:]))): found for name, found in assumed.items()}

    def verdict(key: ServiceKey, backend: Any) -> Health:
        found = health.health(key, backend)
        return known.get((key, backend), found) if found is Health.UNKNOWN else found

    made = plan(state, verdict, host(1, 2), seed=SEED, now=160.0, openings=Openings())
    if data.generation is not None:
        data.apply(made.desired)
    body = overview(facts, state, made, data, [ETH0])
    body["services"] = list(services(facts, state, made, health, known, data))
    found: dict[str, Any] = json.loads(json.dumps(body))
    return found


def judged(one: Config, **outcomes: Outcome) -> HealthTable:
    """Verdicts on backends of the web service, each from one result at 990 s that took 3 ms."""
    health = HealthTable()
    health.configure(one.services, 900.0)
    for name, outcome in outcomes.items():
        result = ProbeResult(WEB, address(int(name[1:])), 0, outcome, f"saw {outcome}", 990.0, 3_000_000)
        health.observe(result, 990.0)
    return health


def by_address(found: dict[str, Any], at: int = 0) -> dict[str, dict[str, Any]]:
    """The backends of a service."""
    return {one["address"].removeprefix("10.1.10."): one for one in found["services"][at]["backends"]}


def test_a_disabled_vip_is_told(tmp_path: Path) -> None:
    one = config(service(WEB, 1, 2, vip_enabled=False))
    found = told(State(one), judged(one, b1=Outcome.OK), DataPlane(tmp_path, None, 1, pinned=False))
    (vip,) = found["vips"]
    assert (vip["announce"], vip["reason"]) == ("no", "disabled in the configuration")


@pytest.mark.parametrize(
    ("enabled", "up", "expected"),
    [
        (True, True, ("demote", "this node is drained")),
        (True, False, ("no", "down")),
        (False, True, ("no", "disabled in the configuration")),
    ],
)
def test_all_that_a_drained_node_announces_is_a_last_resort(
    tmp_path: Path, enabled: bool, up: bool, expected: tuple[str, str]
) -> None:
    one = config(service(WEB, 1, vip_enabled=enabled))
    state = State(one, Overrides().drain_node("ann", 10.0))
    health = judged(one, b1=Outcome.OK if up else Outcome.NONE)
    data = DataPlane(tmp_path, None, 1, pinned=False)
    (vip,) = told(state, health, data, facts=replace(FACTS, drained=True))["vips"]
    assert (vip["announce"], vip["reason"]) == expected
    (vip,) = told(state, health, data, facts=replace(FACTS, drained=True, withdrawn=True))["vips"]
    assert vip["announce"] == "no"


def test_before_there_is_a_data_plane(tmp_path: Path) -> None:
    one = config(service(WEB, 1, 2, name="shop", need=2), service(TLS, 1))
    data = DataPlane(tmp_path, None, 1, pinned=False)
    found = told(State(one), judged(one, b1=Outcome.OK), data)
    assert (found["version"], found["pid"], found["uptime_s"], found["mode"]) == ("1.2", 7, 60.0, "simple")
    assert found["interfaces"] == [
        {
            "name": "eth0",
            "index": 2,
            "attach": "none",
            "mac": "02:00:00:00:00:10",
            "address": "10.1.0.1/16",
            "mtu": 1500,
            "up": True,
            "standby": False,
        }
    ]
    assert found["vips"] == [{"vip": "203.0.113.10", "up": False, "since_s": 10.0, "announce": "no", "reason": "down"}]
    assert found["flow_table"] == {"size": 0, "used": 0, "refused": 0}
    assert (found["reasons"], found["clock_s"]) == ({}, 0)
    assert found["config"] == {"file": "/etc/vc5/config.yaml", "loaded_at": 940.0, "generation": 3}
    web = found["services"][0]
    assert (web["service"], web["name"], web["need"], web["up"], web["slots"]) == (str(WEB), "shop", 2, False, 0)
    backends = by_address(found)
    assert (backends["1"]["health"], backends["1"]["took_ms"], backends["1"]["since_s"]) == ("up", 3.0, 10.0)
    assert backends["1"]["diagnostic"] == "http 80: saw ok"
    assert (backends["2"]["health"], backends["2"]["state"], backends["2"]["took_ms"]) == ("unknown", "none", 0.0)


def test_an_interface_that_is_missing_is_shown(tmp_path: Path) -> None:
    state = State(replace(config(service(WEB, 1)), interfaces=("eth7", "eth0")))
    found = told(state, judged(state.config), DataPlane(tmp_path, None, 1, pinned=False))
    assert [(one["name"], one["attach"]) for one in found["interfaces"]] == [("eth0", "none"), ("eth7", "missing")]


def test_why_a_backend_drains(tmp_path: Path) -> None:
    state = State(config(service(WEB, 1, 2, 3, 4)))
    state.reconfigure(config(service(WEB, 1, 2, 3)), 100)
    state.overrides = drained((WEB, address(2)))
    health = judged(replace(state.config, services=state.services()), b1=Outcome.OK, b2=Outcome.OK, b3=Outcome.WRONG)
    backends = by_address(told(state, health, DataPlane(tmp_path, None, 1, pinned=False), b4=Health.UP))
    assert {name: (one["state"], one["health"], one["drained_by"]) for name, one in backends.items()} == {
        "1": ("available", "up", None),
        "2": ("draining", "up", "ann"),
        "3": ("draining", "wrong", None),
        "4": ("draining", "up", "removed"),
    }


def test_how_backends_are_reached_and_what_is_missing(tmp_path: Path) -> None:
    far = Backend(ip_address("10.9.0.1"))
    near = (Backend(address(1)), Backend(address(3)))
    tunnel = Tunnel(TunnelKind.IPIP)
    one = replace(config(service(WEB, backends=(*near, far)), service(TLS, backends=(far,), tunnel=tunnel)))
    made = replace(one, vlans=(Vlan(7, ip_network("10.1.0.0/16"), address(1)),))
    found = told(State(made), judged(made), DataPlane(tmp_path, None, 1, pinned=False))
    web, tls = (service["backends"] for service in found["services"])
    way = {"interface": "eth0", "vlan": None, "via": None, "own": "10.1.0.1", "mtu": 1500}
    assert [one["way"] for one in web] == [way, way, None]
    assert [one["way"] for one in tls] == [way | {"via": str(address(1))}]
    reasons = [[trouble["reason"] for trouble in one["troubles"]] for one in web + tls]
    assert reasons == [[], ["unresolved"], ["no-network"], []]
    (warning,) = found["warnings"]
    assert warning == {"severity": "warning", "message": web[2]["troubles"][0]["message"]}
    assert "10.9.0.1" in warning["message"]


def test_the_planner_and_the_report_agree(tmp_path: Path) -> None:
    planner = Planner(State(config(service(WEB, 1, 2))))
    health = judged(planner.state.config, b1=Outcome.OK, b2=Outcome.NONE)
    planner.set(WEB, {2: Health.DEAD})
    made = planner.plan()
    found = told(planner.state, health, DataPlane(tmp_path, None, 1, pinned=False))
    assert found["services"][0]["available"] == made.services[WEB].available == 1
    assert found["vips"][0]["up"] is made.desired.vips[WEB.vip] is True


@pytest.mark.root
def test_with_a_data_plane(tmp_path: Path) -> None:
    one = config(service(WEB, 1, 2, 3))
    data = DataPlane(tmp_path, None, 1, pinned=False)
    try:
        data.install(data.prepare(shape_for(one, 1)))
        health = judged(one, b1=Outcome.OK, b2=Outcome.OK, b3=Outcome.NONE)
        found = told(State(one), health, data)
        assert data.generation is not None
        memory = data.generation.memory
        (web,) = found["services"]
        backends = by_address(found)
        assert web["slots"] > 0
        assert web["tracked_slots"] == 0
        assert sum(b["slots"] for b in backends.values()) == web["slots"]
        assert abs(backends["1"]["share"] - 0.5) < 0.02
        assert (backends["3"]["slots"], backends["3"]["share"]) == (0, 0.0)
        assert {name: b["mac"] for name, b in backends.items()} == {
            "1": mac(1).hex(":"),
            "2": mac(2).hex(":"),
            "3": "",
        }
        assert found["flow_table"]["size"] == memory.shape.sets * 8
        assert data.tables is not None
        memory.set_counter(data.tables.numbers(WEB)[address(1)], "packets", 5)
        memory.set_counter(data.tables.numbers(WEB)[address(2)], "packets", 7)
        health.observe(ProbeResult(WEB, address(3), 0, Outcome.OK, "ok", 995.0, 1), 995.0)
        health.observe(ProbeResult(WEB, address(3), 0, Outcome.OK, "ok", 996.0, 1), 996.0)
        found = told(State(one), health, data)
        (web,) = found["services"]
        assert (web["packets"], by_address(found)["2"]["packets"]) == (12, 7)
        assert 0 < web["tracked_slots"] < web["slots"] / 2
        assert by_address(found)["3"]["slots"] > 0
    finally:
        data.close()
