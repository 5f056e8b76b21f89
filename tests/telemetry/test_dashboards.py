"""Each panel of the shipped dashboards, asked of a real Elasticsearch that holds the product's own documents."""

from __future__ import annotations

import json
import re
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
    """In each of its columns, lines and numbers; and nothing of a time when there was nothing."""
    assert shown(filled, panel) > 0
    assert panels.found(panel, filled.search(*panels.request(panel, panels.Range(0, 3600)))) == 0


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.id)
def test_a_panel_with_a_wrong_name_shows_nothing(filled: Elasticsearch, panel: panels.Panel) -> None:
    """So the test above notices it, whichever name it is."""
    for name in sorted(panels.fields(panel) - {"@timestamp"}):
        text = re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w.])", f"{name}_wrong", json.dumps(panel.object))
        text = text.replace(f"_source.{name}", f"_source.{name}_wrong")
        broken = panels.Panel(panel.dashboard, json.loads(text), panel.pattern, panel.place)
        assert panels.found(broken, filled.search(*panels.request(broken, MORNING))) == 0, name
