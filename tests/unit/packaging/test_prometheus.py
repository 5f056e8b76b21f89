"""The shipped alert rules and dashboard: of metrics that there are, and rules that fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance.telemetry.metrics import METRICS, MetricType
from tests.lab.scraping import EXAMPLE, RULES, configuration
from tests.unit.house.tree import ROOT

CASES = Path(__file__).with_name("vc5.rules.test.yaml")
DASHBOARD = ROOT / "packaging/grafana/vc5.json"
KNOWN = {one.name: one for one in METRICS}
NAME = re.compile(r"\bvc5_[a-z_]+")
SELECTOR = re.compile(r"\b(vc5_[a-z_]+)\{([^}]*)\}")
promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="there is no promtool; `tests/setup.sh servers` installs it"
)


def check(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text("utf-8"))["groups"][0]["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


@promtool
def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    status, text = check("check", "rules", str(RULES))
    assert status == 0, text
    file = tmp_path / "prometheus.yml"
    file.write_text(configuration("127.0.0.1:9090"))
    status, text = check("check", "config", str(file))
    assert status == 0, text


@promtool
def test_rules_fire_when_they_should_and_not_before() -> None:
    status, text = check("test", "rules", str(CASES))
    assert status == 0, text


@promtool
def test_a_rule_that_does_not_fire_is_found(tmp_path: Path) -> None:
    text = RULES.read_text("utf-8")
    (tmp_path / "vc5.rules.yaml").write_text(text.replace("vc5_vip_up == 0", "vc5_vip_up == 7"))
    case = tmp_path / "case.yaml"
    case.write_text(re.sub(r"rule_files: .*", "rule_files: [vc5.rules.yaml]", CASES.read_text("utf-8")))
    status, said = check("test", "rules", str(case))
    assert status == 1
    assert "Vc5VipDown" in said


def test_every_rule_has_a_case_in_which_it_fires() -> None:
    tests = yaml.safe_load(CASES.read_text("utf-8"))["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    fired = Counter(case["alertname"] for case in cases if case.get("exp_alerts"))
    calm = Counter(case["alertname"] for case in cases if not case.get("exp_alerts"))
    names = {rule["alert"] for rule in rules()}
    assert set(fired) == set(calm) == names


def test_rules_say_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description"}
        assert "$labels.instance" in rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["description"].endswith((".", "?"))
    assert len({rule["alert"] for rule in rules()}) == len(rules())


@pytest.mark.parametrize(("where", "expression"), [*expressions()])
def test_expressions_are_of_metrics_and_labels_that_there_are(where: str, expression: str) -> None:
    names = NAME.findall(expression)
    assert names or expression.startswith("up{"), where
    for name in names:
        base = re.sub("_(bucket|count|sum)$", "", name)
        assert name in KNOWN or KNOWN[base].type is MetricType.HISTOGRAM, where
        metric = KNOWN.get(name) or KNOWN[base]
        if metric.type in (MetricType.COUNTER, MetricType.HISTOGRAM):
            assert re.search(rf"\b(rate|increase)\({name}\b", expression), f"{where}: {name} is a counter"
    for name, selector in SELECTOR.findall(expression):
        metric = KNOWN.get(name) or KNOWN[re.sub("_(bucket|count|sum)$", "", name)]
        labels = set(re.findall(r"([a-z_]+)\s*(?:=|!)", selector))
        assert labels <= {*metric.labels, "instance", "job", "le"}, where


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    assert (board["title"], board["uid"]) == ("vc5", "vc5-overview")
    assert board.keys() & {"id", "iteration", "__requires"} == set()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {one["name"] for one in board["templating"]["list"]}
    assert variables == {"datasource", "instance", "service"}
    used = set(re.findall(r"\$\{?([a-z]+)", json.dumps(board["panels"])))
    assert used <= variables
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["description"]
            assert panel["targets"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_the_files_name_no_machine() -> None:
    for file in (RULES, EXAMPLE, DASHBOARD):
        assert not re.search(r"\b(10|192)\.\d+\.\d+\.\d+", file.read_text("utf-8"))
