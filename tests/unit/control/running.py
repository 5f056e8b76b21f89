"""A control server in a thread of its own, for tests of both its ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from appliance.control.socket import DEFAULT_LIMITS, ControlServer, Handler, Limits


@contextmanager
def running(path: Path, handlers: Mapping[str, Handler], limits: Limits = DEFAULT_LIMITS) -> Iterator[None]:
    """Serve `handlers` at `path` while the block runs; what start() raises comes out here."""
    ready = threading.Event()
    failed: list[BaseException] = []
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        server = ControlServer(path, handlers, limits)
        try:
            await server.start()
        except BaseException as error:
            failed.append(error)
            return
        finally:
            ready.set()
        await over.wait()
        await server.close()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    if failed:
        thread.join()
        raise failed[0]
    try:
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
