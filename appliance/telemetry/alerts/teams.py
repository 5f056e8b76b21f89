"""A message for a webhook of Microsoft Teams: an adaptive card in the envelope that its workflows expect. Pure.

Both a workflow ("When a Teams webhook request is received") and the connectors before it take this envelope. The card
is of version 1.2, the first with text that is not read as markdown: what a backend has said stands in runs of text, in
which nothing has a meaning. Teams takes 28 KB; a card stays below half of that.
"""

from __future__ import annotations

import json
from typing import Any

from appliance.model import Severity
from appliance.telemetry.alerts.grouping import Standing
from appliance.telemetry.alerts.message import Message

ROWS_BYTES = 10_000
MOST_BYTES = 28_000
COLOURS = {Standing.BAD: "attention", Standing.FLAPPING: "warning", Standing.GOOD: "good", Standing.SAID: "default"}
SCHEMA = "http://adaptivecards.io/schemas/adaptive-card.json"


def colour(standing: Standing, severity: Severity) -> str:
    """Return the colour of a line, by the card's names."""
    return "warning" if standing is Standing.SAID and severity <= Severity.WARNING else COLOURS[standing]


def teams(message: Message) -> bytes:
    """Return the body of the request: JSON in ASCII."""
    rows, more = message.fitting(lambda text: len(json.dumps(text)) + 120, ROWS_BYTES)
    title = _line(message.title, colour(message.standing, message.severity), size="large", weight="bolder")
    lines = [_line(row.text, colour(row.standing, row.severity)) for row in rows]
    if more:
        lines.append(_line(more, "default"))
    card = {
        "$schema": SCHEMA,
        "type": "AdaptiveCard",
        "version": "1.2",
        "fallbackText": message.title,
        "msteams": {"width": "Full"},
        "body": [title, *lines, _line(message.footer, "default", size="small", isSubtle=True)],
    }
    envelope = {
        "type": "message",
        "attachments": [
            {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
        ],
    }
    return json.dumps(envelope).encode("ascii")


def _line(text: str, shade: str, **more: Any) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, "color": shade, **more}]}
