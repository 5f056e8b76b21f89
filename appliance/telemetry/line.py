"""One event as one line of the log store: JSON, ASCII, bounded, without a single control character but its newline."""

from __future__ import annotations

import json
import math
import reprlib
from typing import Any

from appliance.model import Event

LINE_BYTES = 64 * 1024
"""No line is longer. Details that do not fit are left out, then the message is cut; `shortened` says so."""

MESSAGE_CHARACTERS = 4096


def encode(event: Event, sequence: int) -> bytes:
    """Return the line of an event. Never fails: details that are not JSON are replaced by their Python form, as text.

    The fields are `sequence`, `at` (wall-clock seconds), `kind`, `message`, and where the event has them `service`
    (`203.0.113.10:443/tcp`), `backend`, `outcome`, `details`.
    """
    fields: dict[str, Any] = {
        "sequence": sequence,
        "at": round(event.at, 6) if math.isfinite(event.at) else 0.0,
        "kind": str(event.kind),
        "message": event.message,
    }
    if event.service is not None:
        fields["service"] = str(event.service)
    if event.backend is not None:
        fields["backend"] = str(event.backend)
    if event.outcome:
        fields["outcome"] = event.outcome
    if event.details:
        fields["details"] = event.details
    try:
        line = _dump(fields)
    except (TypeError, ValueError, RecursionError):
        line = _dump({**fields, "details": {"unreadable": reprlib.repr(event.details)}})
    if len(line) > LINE_BYTES:
        fields.pop("details", None)
        line = _dump({**fields, "message": event.message[:MESSAGE_CHARACTERS], "shortened": True})
    return line


def _dump(fields: dict[str, Any]) -> bytes:
    # ASCII output escapes C0, C1, line separators, bidirectional marks and lone surrogates; DEL alone is left as it is.
    text = json.dumps(fields, separators=(",", ":"), allow_nan=False)
    return text.replace("\x7f", "\\u007f").encode("ascii") + b"\n"
