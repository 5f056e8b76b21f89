"""What Elasticsearch will never take, with the reason: a file of its own, for somebody to look at.

One JSON object on a line: `at`, `status`, `reason`, `record`. The file and the one before it are bounded; what falls
out has been counted, and is in the log of the balancer itself for as long as that lasts.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from appliance.telemetry.bulk import Refused

MOST_BYTES = 16 * 1024 * 1024


def add(path: Path, refused: Sequence[Refused], most: int = MOST_BYTES) -> None:
    """Put refused records down, to the medium; raises OSError."""
    lines = b"".join(_line(one) for one in refused)
    try:
        if path.stat().st_size + len(lines) > most:
            path.replace(path.with_suffix(".old"))
    except FileNotFoundError:
        pass
    with path.open("ab") as file:
        file.write(lines)
        file.flush()
        os.fdatasync(file.fileno())


def _line(one: Refused) -> bytes:
    told = {
        "at": round(time.time(), 3),
        "status": one.status,
        "reason": one.reason,
        "record": one.record.decode("utf-8", "backslashreplace"),
    }
    return json.dumps(told).encode() + b"\n"
