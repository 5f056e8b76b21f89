"""How a traffic tool and its test talk: commands as lines on standard input, events as JSON lines on standard output.

Every tool emits {"event": "ready", ...} once it runs, answers `status` with {"event": "status", ...} and `stop` (or the
end of its input, so that no tool outlives its test) with {"event": "report", ...}, after which it ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator


def emit(event: str, **fields: object) -> None:
    """Write one event."""
    print(json.dumps({"event": event, **fields}), flush=True)


async def commands() -> AsyncIterator[str]:
    """Yield the commands as they come, without `stop`; ends at `stop` and at the end of the input."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := (await reader.readline()).decode().strip():
            if line == "stop":
                return
            yield line
    finally:
        transport.close()
