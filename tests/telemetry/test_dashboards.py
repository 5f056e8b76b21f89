"""Each panel of the shipped dashboards, asked of a real Elasticsearch that holds the product's own documents."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest

from appliance.cli.main import main
from tests.kibana import panels
from tests.kibana.__main__ import SHIPPED
from tests.kibana.pictures import PLACE, pictures
from tests.lab.backend import REPOSITORY
from tests.lab.elasticsearch import Elasticsearch
from tests.telemetry import scenario

PANELS = list(panels.read(SHIPPED).panels())
README = REPOSITORY.joinpath("README.md").read_text(encoding="utf-8")
MORNING = panels.Range(scenario.BEGIN, scenario.END)


@pytest.fixture(scope="module")
def filled(bare_elasticsearch: Elasticsearch) -> Elasticsearch:
    """A server that was prepared by the product's own verb, and has its documents."""
    elasticsearch = bare_elasticsearch
    assert main(["elasticsearch", "install", "--url", elasticsearch.url]) == 0
    sent = scenario.store(elasticsearch)
    assert elasticsearch.count("logs-vc5.*") == sent
    return elasticsearch


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


def test_the_pictures_in_the_readme_are_of_these_panels(filled: Elasticsearch) -> None:
    """Estimated percentiles differ a little from run to run, so not every letter is compared."""
    drawn = pictures(filled)
    assert len(drawn) == 4
    for board, picture in drawn.items():
        kept = (PLACE / f"{board}.svg").read_text(encoding="utf-8")
        for text in (picture, kept):
            words = [found.text for found in ElementTree.fromstring(text).iter() if found.text]
            titles = [panel.title for panel in PANELS if panel.dashboard == board]
            assert [title for title in titles if title not in words] == [], "run: python3 -m tests.kibana.pictures"
        assert abs(len(kept) - len(picture)) < len(picture) / 50, "run: python3 -m tests.kibana.pictures"
        assert f"docs/{board}.svg" in README
