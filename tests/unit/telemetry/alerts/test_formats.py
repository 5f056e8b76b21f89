"""The bodies for Slack and Teams: within the limits, and nothing in them means anything but itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.telemetry.alerts.grouping import Batch
from appliance.telemetry.alerts.message import Message, compose
from appliance.telemetry.alerts.slack import escaped, slack
from appliance.telemetry.alerts.teams import MOST_BYTES, teams
from tests.profile import PARSER_INPUTS
from tests.unit.telemetry.alerts.samples import SERVICE, backend, document, read, vip


def message(*documents: dict[str, Any]) -> Message:
    batch = Batch()
    for found in documents:
        batch.add(read(found))
    return compose(batch, "lb1")


SOME = message(vip(1), backend(2, 11), backend(3, 12), backend(4, 12, "up"), backend(5, 13, "up"))
MANY = message(*(document(at, "alarm", "", f"{at} " + "<&>" * 200) for at in range(1, 100)))


def test_what_slack_is_told() -> None:
    body = json.loads(slack(SOME))
    assert body["text"] == "🔴 lb1: 1 VIP down, 1 backend dead, 1 backend flapping, 1 backend up"
    header, section, context = body["blocks"]
    assert header["text"] == {"type": "plain_text", "text": body["text"], "emoji": False}
    assert section["text"]["text"].splitlines() == [
        f"🔴 `VIP 203.0.113.10 down: {SERVICE} is down`",
        f"🔴 `backend 10.1.10.11 of {SERVICE} dead: connection refused`",
        f"🟡 `backend 10.1.10.12 of {SERVICE} flapping: up again after 2 changes`",
        f"🟢 `backend 10.1.10.13 of {SERVICE} up: connection refused`",
    ]
    assert context["elements"][0]["text"] == "lb1 · 2026-11-22 08:00:01 to 08:00:05 UTC · 5 events"


def test_what_teams_is_told() -> None:
    body = json.loads(teams(SOME))
    assert body["type"] == "message"
    (attachment,) = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.2")
    runs = [run for block in card["body"] for run in block["inlines"]]
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert [run["text"].split()[0] for run in runs] == ["lb1:", "VIP", "backend", "backend", "backend", "lb1"]
    assert [run["color"] for run in runs] == ["attention", "attention", "attention", "warning", "good", "default"]


def limits(told: Message) -> None:
    """Hold both bodies against what the services take."""
    body = json.loads(slack(told))
    for block in body["blocks"]:
        texts = [block["text"]] if "text" in block else block["elements"]
        most = {"header": 150, "section": 3000, "context": 300}[block["type"]]
        # Slack counts characters; in UTF-16 units it is below the limit, too.
        assert all(0 < len(one["text"].encode("utf-16-le")) // 2 <= most for one in texts), block["type"]
        for one in texts:
            if one["type"] == "mrkdwn":
                spans(one["text"])
    assert len(slack(told)) < 40_000
    assert len(teams(told)) <= MOST_BYTES / 2
    json.loads(teams(told))


def spans(text: str) -> None:
    """Every line is a sign and one code span, and in no span is anything that Slack obeys."""
    for line in text.splitlines():
        if line.startswith("and "):
            continue
        sign, begin, rest = line.partition(" `")
        assert (len(sign), begin, rest[-1], rest.count("`")) == (1, " `", "`", 1), line
        assert not set("<>") & set(rest)
        assert "&" not in rest.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")


LONG = message(*(document(at, "alarm", "", f"{at} " + "💥" * 500) for at in range(1, 100)))


WIDE = message(document(1, "alarm", "", "💥" * 500))


@pytest.mark.parametrize("told", [SOME, MANY, LONG, WIDE], ids=("some", "many", "long", "wide"))
def test_limits(told: Message) -> None:
    limits(told)


def test_who_has_no_room_is_counted() -> None:
    text = json.loads(slack(MANY))["blocks"][1]["text"]["text"]
    named = len(text.splitlines()) - 1
    assert text.splitlines()[-1] == f"and {99 - named} more"
    assert 1 <= named < 12


def test_what_slack_would_obey_is_written_out() -> None:
    assert escaped("<!channel> `rm` *bold* & <https://x|y>") == (
        "&lt;!channel&gt; 'rm' *bold* &amp; &lt;https://x|y&gt;"
    )


HOSTILE = st.text(st.sampled_from("<>&`*_~|!@#:\\\"'{}$()[]\n\x00\u202e日💥a "), max_size=400) | st.text(max_size=400)


@given(st.lists(HOSTILE, min_size=1, max_size=20))
@settings(max_examples=PARSER_INPUTS)
def test_whatever_a_backend_says(texts: list[str]) -> None:
    limits(message(*(backend(at, at % 250, reason=text) for at, text in enumerate(texts, 1))))
    limits(message(*(document(at, "alarm", "", text) for at, text in enumerate(texts, 1))))
