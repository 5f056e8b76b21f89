"""What `vc5 overrides` prints."""

from __future__ import annotations

from appliance.cli.overrides import listed
from appliance.cli.tables import Screen

ROW = {"service": "203.0.113.10:80/tcp", "backend": "10.1.10.11", "who": "uid 0 (ann)", "since": 1e9}


def test_the_table() -> None:
    rows = [{**ROW, "override": "drain", "weight": None}, {**ROW, "override": "weight", "weight": 7}]
    head, first, second = listed({"overrides": rows}, Screen(200))
    assert head.split() == ["SERVICE", "BACKEND", "OVERRIDE", "BY", "SINCE"]
    assert "10.1.10.11  drain     uid 0 (ann)  2001-09-0" in first
    assert "10.1.10.11  weight 7  uid 0 (ann)  2001-09-0" in second


def test_nothing_and_nonsense() -> None:
    assert listed({"overrides": []}, Screen()) == ["nothing is overridden"]
    assert listed({"overrides": [7]}, Screen()) == ["nothing is overridden"]
    assert len(listed({"overrides": [{}]}, Screen())) == 2
    assert listed({"overrides": [], "node": 7}, Screen()) == ["nothing is overridden"]


def test_the_whole_node_comes_first() -> None:
    node = {"who": "uid 0 (ann)", "since": 1e9}
    rows = [{**ROW, "override": "drain", "weight": None}]
    _, first, second = listed({"overrides": rows, "node": node}, Screen(200))
    assert first.split() == ["(the", "whole", "node)", "drain", "uid", "0", "(ann)", *second.split()[-2:]]
