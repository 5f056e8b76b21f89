"""Each panel of the shipped dashboards, asked of a real Elasticsearch that holds the product's own documents."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

import pytest

from appliance.cli.main import main
from tests.kibana import panels
from tests.kibana.__main__ import SHIPPED
from tests.lab.elasticsearch import Elasticsearch
from tests.telemetry import scenario

PANELS = list(panels.read(SHIPPED).panels())
MORNING = panels.Range(scenario.BEGIN, scenario.END)


@pytest.fixture(scope="module")
def filled(elasticsearch: Elasticsearch) -> Iterator[Elasticsearch]:
    """A server that was prepared by the product's own verb, and has its documents."""
    elasticsearch.wipe()
    assert main(["elasticsearch", "install", "--url", elasticsearch.url]) == 0
    sent = scenario.store(elasticsearch)
    assert elasticsearch.count("logs-vc5.*") == sent
    yield elasticsearch
    elasticsearch.wipe()


def shown(elasticsearch: Elasticsearch, panel: panels.Panel, when: panels.Range = MORNING) -> int:
    index, body = panels.request(panel, when)
    answer = elasticsearch.search(index, body)
    assert answer["_shards"]["failed"] == 0
    return panels.found(panel, answer)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.id)
def test_a_panel_has_something_to_show(filled: Elasticsearch, panel: panels.Panel) -> None:
    assert shown(filled, panel) > 0
    assert panels.found(panel, filled.search(*panels.request(panel, MORNING))) == shown(filled, panel)
    assert shown(filled, panel, panels.Range(0, 3600)) == 0, "it shows something where nothing happened"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.id)
def test_a_panel_with_a_wrong_name_shows_nothing_or_less(filled: Elasticsearch, panel: panels.Panel) -> None:
    """So the test above would notice: every field of a panel matters."""
    before = filled.search(*panels.request(panel, MORNING))
    for name in sorted(panels.fields(panel) - {"@timestamp"}):
        text = json.dumps(panel.object).replace(name, f"{name}.wrong")
        broken = panels.Panel(panel.dashboard, json.loads(text), panel.pattern, panel.place)
        if panels.request(broken, MORNING) == panels.request(panel, MORNING):
            assert panel.kind == "vega"  # the name is only one of those that the picture shows
            continue
        after = filled.search(*panels.request(broken, MORNING))
        same = copy.deepcopy(after)
        same["took"] = before["took"]
        assert same != before, name
        fewer = panels.found(broken, after) < panels.found(panel, before)
        if panel.kind not in ("search",):
            values = panel.state["aggs"]
            only = {one["params"].get("field") for one in values if one["schema"] != "metric"}
            if name in only:
                assert fewer, f"{name}: {panels.found(broken, after)}"
