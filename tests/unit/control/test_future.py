"""Files that a later version has written: what this one knows of them it takes over, and it crashes over none."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from appliance.control import confirmation, store
from appliance.control.confirmation import Trial
from appliance.control.overrides import Overrides
from appliance.control.state import State
from appliance.health.governor import Governor
from appliance.health.judge import HealthTable, of_our_form
from appliance.model import (
    Backend,
    Check,
    CheckKind,
    Config,
    Health,
    Outcome,
    ProbeResult,
    Protocol,
    Service,
    ServiceKey,
)

KEY = ServiceKey(IPv4Address("203.0.113.10"), 80, Protocol.TCP)
STAYS, LEAVES = IPv4Address("10.1.10.11"), IPv4Address("10.1.10.12")
CHECKS = (Check(CheckKind.TCP, 80),)
BEFORE = Config(("eth0",), services=(Service(KEY, (Backend(STAYS, 1), Backend(LEAVES, 1)), CHECKS, drain_timeout=60),))
AFTER = Config(("eth0",), services=(Service(KEY, (Backend(STAYS, 1),), CHECKS, drain_timeout=60),))


def _saved() -> tuple[dict[str, Any], dict[str, Any]]:
    """A state with one of everything, and the verdicts."""
    state = State(BEFORE)
    state.overrides = Overrides().drain(KEY, BEFORE.services[0].backends[0], "op", 5.0)
    state.reconfigure(AFTER, 100)
    health = HealthTable()
    health.configure(AFTER.services, 1.0)
    health.observe(ProbeResult(KEY, STAYS, 0, Outcome.OK, "", at=2.0, total_ns=1), 2.0)
    return json.loads(json.dumps(state.snapshot())), json.loads(json.dumps(health.snapshot()))


def _richer(content: Any) -> Any:
    """The same with a key more in each object that has fields (and not names of somebody's)."""
    if isinstance(content, dict):
        more = {name: _richer(value) for name, value in content.items()}
        return (
            more if any(":" in name or name[:1].isdigit() for name in content) else more | {"of_tomorrow": {"x": [1]}}
        )
    return [_richer(one) for one in content] if isinstance(content, list) else content


def test_what_is_known_is_taken_over() -> None:
    kept, verdicts = (_richer(one) for one in _saved())
    del verdicts["services"][str(KEY)][str(STAYS)]["checks"]["of_tomorrow"]
    state = State(AFTER)
    assert state.restore(kept) == 0
    assert list(state.leaving) == [(KEY, LEAVES)]
    assert state.leaving[KEY, LEAVES].service.checks == CHECKS
    assert list(state.overrides.drains) == [(KEY, STAYS)]
    health = HealthTable()
    health.configure(AFTER.services, 3.0)
    verdicts["services"].pop("of_tomorrow", None)
    assert health.restore(verdicts) == 0
    assert health.health(KEY, STAYS) is Health.UP


def test_what_is_not_known_is_left_out_and_counted() -> None:
    kept, verdicts = _saved()
    kept["leaving"][0]["checks"].append({"kind": "telepathy", "port": 1})
    kept["overrides"].append({**kept["overrides"][0], "override": "hibernate"})
    kept["blocks"] = [{"prefix": "tomorrow"}]
    state = State(AFTER)
    assert state.restore(kept) == 2
    assert state.leaving[KEY, LEAVES].service.checks == CHECKS
    assert not of_our_form(verdicts | {"version": 2})
    health = HealthTable()
    assert health.restore(verdicts | {"version": 2}) == 1
    assert Governor().restore({"held": [["?", "?"]], "of_tomorrow": 1}, 1.0) == 1


FUTURE: list[dict[str, Any]] = [{"version": 2}, {"phase": "dreaming"}, {"until": "noon"}]


@pytest.mark.parametrize("change", FUTURE)
def test_a_trial_of_tomorrow_is_no_trial(change: dict[str, Any]) -> None:
    content = Trial(BEFORE, AFTER, 1000.0, 60.0, "op").as_json()
    assert confirmation.parsed(_at_top(content, {"of_tomorrow": 1})).until == 1000.0
    with pytest.raises(ValueError, match=r".+"):
        confirmation.parsed(_at_top(content, change))


def _at_top(content: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(content | change))  # type: ignore[no-any-return]


def test_a_configuration_with_more_in_it_is_refused() -> None:
    content = json.loads(json.dumps(Trial(BEFORE, AFTER, 1000.0, 60.0, "op").as_json()))
    content["before"]["services"][0]["colour"] = "red"
    with pytest.raises(ValueError, match="Service has no colour"):
        confirmation.parsed(content)


def test_a_copy_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text("half a st")
    assert store.load_state(file)[0] == {}
    assert store.set_aside(file) == f"; a copy is kept as {file}.unusable"
    assert (tmp_path / "state.json.unusable").read_text() == "half a st"
    assert store.set_aside(tmp_path / "none") == ""
