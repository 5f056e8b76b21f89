"""Configurations on trial: what a daemon begins with, when it goes back, and what outlives it."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import load
from appliance.control import kept_config
from appliance.control.confirmation import LONGEST, Phase, Trial, at_start, begun, note, parsed
from appliance.errors import ConfigError
from appliance.model import Config, Mode, Tunnel, TunnelKind, Vlan
from tests.unit.control.sample import WEB, config, service
from tests.unit.house.tree import ROOT

OLD, NEW, OTHER = config(service(WEB, 1)), config(service(WEB, 2)), config(service(WEB, 3))
RICH = config(
    service(WEB, 1, tunnel=Tunnel(TunnelKind.GUE, 666), sticky=True),
    mode=Mode.VLAN,
    hash_seed=bytes(range(16)),
    vlans=(Vlan(5, ip_network("10.1.0.0/24")), Vlan(6, ip_network("2001:db8::/64"))),
    block=(ip_network("198.51.100.0/24"),),
)
WAITING = Trial(OLD, NEW, 1060.0, 60.0, "uid 0")
BACK = WAITING.back()

# trial, what the file says, when -> what it begins with, the phase that is left
STARTS: dict[str, tuple[Trial | None, Config, float, Config, Phase | None]] = {
    "no trial": (None, NEW, 1000.0, NEW, None),
    "within the time": (WAITING, NEW, 1059.0, NEW, Phase.WAITING),
    "after it": (WAITING, NEW, 1060.0, OLD, Phase.BACK),
    "long after it": (WAITING, NEW, 9e9, OLD, Phase.BACK),
    "back, the file as it was": (BACK, NEW, 2000.0, OLD, Phase.BACK),
    "back, the file corrected": (BACK, OTHER, 2000.0, OTHER, None),
    "back, the file put back": (BACK, OLD, 2000.0, OLD, None),
    "the file changed within the time": (WAITING, OTHER, 1059.0, OTHER, Phase.WAITING),
    "the file changed, after it": (WAITING, OTHER, 1061.0, OTHER, None),
    "the clock was set back": (WAITING, NEW, 10.0, NEW, Phase.WAITING),
}


@pytest.mark.parametrize(("trial", "file", "now", "begins", "phase"), STARTS.values(), ids=STARTS)
def test_a_start(trial: Trial | None, file: Config, now: float, begins: Config, phase: Phase | None) -> None:
    found, left = at_start(trial, file, now)
    assert found == begins
    assert (left.phase if left else None) is phase
    if left is not None:
        assert left.before == OLD
        assert left.left(now) <= 60.0
        again = at_start(left, file, now)
        assert again == (found, left), "another start right away begins with the same"


def test_what_an_unconfirmed_one_replaces_is_none_to_go_back_to() -> None:
    first = begun(None, OLD, NEW, 1000.0, 60.0, "uid 0")
    assert (first.before, first.after, first.until) == (OLD, NEW, 1060.0)
    second = begun(first, NEW, OTHER, 1030.0, 60.0, "uid 0")
    assert (second.before, second.after, second.until) == (OLD, OTHER, 1090.0)
    assert begun(first.back(), OLD, OTHER, 1100.0, 60.0, "").before == OLD


@pytest.mark.parametrize(("now", "due"), [(1000.0, False), (1059.9, False), (1060.0, True), (0.0, False)])
def test_when_it_goes_back(now: float, due: bool) -> None:
    assert WAITING.due(now) is due
    assert not BACK.due(now)


def test_what_is_told() -> None:
    assert note(None, 0.0, "f.yaml") == ""
    assert "`vc5 confirm` within 18 s" in note(WAITING, 1042.0, "f.yaml")
    assert note(BACK, 1042.0, "f.yaml").startswith("f.yaml is not in force")


@pytest.mark.parametrize("trial", [WAITING, BACK, Trial(RICH, OLD, 1.5, LONGEST, "")])
def test_it_outlives_the_process(trial: Trial) -> None:
    assert parsed(json.loads(json.dumps(trial.as_json()))) == trial


EXAMPLES = sorted(ROOT.glob("tests/golden/config/*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=[file.stem for file in EXAMPLES])
def test_every_configuration_can_be_kept(file: Path) -> None:
    try:
        found = load(file).config
    except ConfigError:
        return
    assert kept_config.config(json.loads(json.dumps(kept_config.as_json(found)))) == found


def test_a_later_version_adds_fields_and_takes_none_away() -> None:
    content = kept_config.as_json(OLD)
    del content["idle"], content["services"][0]["sticky"]
    assert kept_config.config(content) == OLD
    content["services"][0]["colour"] = "blue"
    with pytest.raises(ValueError, match="Service has no colour"):
        kept_config.config(content)


BROKEN: list[Any] = [
    {},
    {"version": 2},
    WAITING.as_json() | {"until": "soon"},
    WAITING.as_json() | {"until": None},
    WAITING.as_json() | {"seconds": True},
    WAITING.as_json() | {"phase": "lost"},
    WAITING.as_json() | {"before": None},
    WAITING.as_json() | {"after": []},
    WAITING.as_json() | {"after": {"services": [{"key": "x"}]}},
    WAITING.as_json() | {"after": {"mode": 7}},
    WAITING.as_json() | {"after": {"max_flows": "many"}},
    WAITING.as_json() | {"after": {"block": ["nowhere"]}},
]


@pytest.mark.parametrize("content", BROKEN)
def test_what_makes_no_sense_is_refused(content: Any) -> None:
    with pytest.raises(ValueError):
        parsed(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["services", "block", "vlans", "mode", "interfaces", "hash_seed", "idle", "max_flows"])


@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_whatever_is_there_is_a_configuration_or_refused(content: dict[str, Any]) -> None:
    try:
        parsed(replace(WAITING).as_json() | {"after": content})
    except ValueError:
        pass
