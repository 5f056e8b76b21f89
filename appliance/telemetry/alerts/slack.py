"""A message for an incoming webhook of Slack. Pure.

Every line stands in a code span: there Slack makes neither a mention, a link, an emoji (`:100:` is also a part of an
IPv6 address) nor bold of what a backend has said. Within, `&`, `<` and `>` have to be written as entities, and only a
back quote could end it. The title is plain text.

Limits are those of Slack's reference of blocks: 150 characters in a header, 3,000 in a section.
"""

from __future__ import annotations

import json

from appliance.model import Severity
from appliance.telemetry.alerts.grouping import Standing
from appliance.telemetry.alerts.message import Message

SECTION_CHARACTERS = 2900
HEADER_CHARACTERS = 150
CONTEXT_CHARACTERS = 300
MARKS = {Standing.BAD: "🔴", Standing.FLAPPING: "🟡", Standing.GOOD: "🟢", Standing.SAID: "🔵"}
GRAVE = "🟠"
"""For what is said and at least a warning."""


def mark(standing: Standing, severity: Severity) -> str:
    """Return the sign at the beginning of a line."""
    return GRAVE if standing is Standing.SAID and severity <= Severity.WARNING else MARKS[standing]


def escaped(text: str) -> str:
    """Return `text` so that mrkdwn shows it as it is, within a code span or where nothing is formatted."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "'")


def units(text: str) -> int:
    """Return how many characters a text has for those who count in UTF-16, as Slack may: up to two for each."""
    return len(text) + sum(one > "\uffff" for one in text)


def cut(text: str, most: int) -> str:
    """Return the beginning of a text that has no more than so many of them."""
    while units(text) > most:
        text = text[: most - units(text)]
    return text


def slack(message: Message) -> bytes:
    """Return the body of the request: JSON in ASCII."""
    # Two characters for the sign, a space, two back quotes and the line's end.
    rows, more = message.fitting(lambda text: units(escaped(text)) + 6, SECTION_CHARACTERS - 60)
    lines = [f"{mark(row.standing, row.severity)} `{escaped(row.text)}`" for row in rows] + [more] * bool(more)
    head = cut(f"{mark(message.standing, message.severity)} {message.title}", HEADER_CHARACTERS)
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": head, "emoji": False}},
        {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines), "verbatim": True}},
        {
            "type": "context",
            "elements": [{"type": "plain_text", "text": cut(message.footer, CONTEXT_CHARACTERS), "emoji": False}],
        },
    ]
    return json.dumps({"text": escaped(head), "mrkdwn": False, "blocks": blocks if lines else blocks[::2]}).encode(
        "ascii"
    )
