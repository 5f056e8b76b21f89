"""The way of documents: how fast the spool takes them, and how fast they go from the daemon to an acknowledged request.

The daemon's side is what the daemon does with each result: one document made and appended on the event loop, once a
second a flush in a thread. The telemetry process is the real one, started as the daemon starts it. What it sends to
is a sink (sink.py) that acknowledges and stores nothing; its processor time is the other end's and a row of its own.

Sustained means that results come evenly for some seconds, and that at the end of them no more is waiting than what came
in the last moments. How long the daemon's event loop was busy at a stretch is measured where it waits (pulse.py).
"""

from __future__ import annotations

import asyncio
import ipaddress
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from appliance import paths
from appliance.control.pulse import Pulse
from appliance.control.recorder import Recorder
from appliance.control.telemetry import TelemetryClient, own_place
from appliance.model import CheckKind, Outcome, ProbeResult, ServiceKey
from appliance.model_logging import Elasticsearch, Logging
from appliance.telemetry.documents import Observer
from appliance.telemetry.messages import Settings
from appliance.telemetry.spool import Spool
from bench.process import cpu_seconds, memory
from bench.report import Row

OBSERVER = Observer("lb1.example.com", "balancer-1", "0.1.0")
RATE = 25_000
"""Documents a second that are offered: a quarter more than must be sustained."""
SECONDS = 15.0
LIMIT = 1e6 / 20_000
"""Microseconds for a document, from the daemon to the acknowledgement, when many are on their way."""
APPENDED = 200_000
APPEND_LIMIT = 1e6 / 50_000
STALL_LIMIT = 50.0
"""Milliseconds."""
BACKLOG = 2.0
"""Seconds' worth of documents that may be on their way at any time: one until the flush, one until they are sent."""
SPACE = 1 << 30


def results(count: int) -> list[ProbeResult]:
    """Return results of 1,000 backends of 100 services."""
    services = [ServiceKey.parse(f"203.0.113.{number}:443/tcp") for number in range(1, 101)]
    backends = [ipaddress.ip_address(f"10.1.{number}.11") for number in range(10)]
    now = time.time()
    return [
        ProbeResult(
            services[number % 100],
            backends[number // 100 % 10],
            0,
            Outcome.OK,
            "HTTP 200",
            now,
            1_234_567 + number,
            230_000,
            610_000,
            390_000,
            200,
            "TLSv1.3",
            int(now) + 30 * 86_400,
            CheckKind.HTTPS,
        )
        for number in range(count)
    ]


def run() -> list[Row]:
    """Measure."""
    with tempfile.TemporaryDirectory(prefix="vc5-bench-") as directory:
        rows = [_append(Path(directory) / "append")]
    with tempfile.TemporaryDirectory(prefix="vc5-bench-") as directory:
        pulse = Pulse()
        with asyncio.Runner(loop_factory=pulse.loop) as runner:
            rows += runner.run(_ship(Path(directory), pulse))
    return rows


def _append(directory: Path) -> Row:
    """Append as fast as possible, with a flush to the medium for each 50,000."""
    spool = Spool(directory, total_bytes=SPACE, observer=OBSERVER)
    given = results(APPENDED)
    began = time.perf_counter()
    for number, result in enumerate(given):
        spool.append_probe(result)
        if number % 10_000 == 9_999:
            spool.flush(sync=number % 50_000 == 49_999)
    spool.flush()
    each = (time.perf_counter() - began) / APPENDED * 1e6
    return Row("spool-append", each, "us", {"documents": APPENDED}, limit=APPEND_LIMIT, more={"per_second": 1e6 / each})


async def _ship(directory: Path, pulse: Pulse) -> list[Row]:
    sink = subprocess.Popen(
        [sys.executable, "-m", "bench.sink"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert sink.stdin is not None
    assert sink.stdout is not None
    port = int(sink.stdout.readline())
    root = paths.root(str(directory))
    root.log.mkdir(parents=True)
    own_place(root)
    recorder = Recorder(root.log)
    recorder.bound(space=SPACE, keep=SPACE)
    recorder.describe(OBSERVER, "default")
    client = TelemetryClient(lambda *words: None)
    logging = Logging(elasticsearch=Elasticsearch(addresses=(f"http://127.0.0.1:{port}",)))
    client.follow(Settings(str(root.log), str(root.state / "telemetry"), OBSERVER, logging))
    try:
        given = results(10_000)
        began, appended = time.monotonic(), 0
        flushed = began
        while (now := time.monotonic()) < began + SECONDS:
            due = int((now - began) * RATE)
            while appended < due:
                recorder.probe(given[appended % len(given)])
                appended += 1
                if appended % 64 == 0:
                    break  # what the prober's socket gives in one turn
            if now >= flushed + 1:
                flushed = now
                recorder.flush_soon()
            await asyncio.sleep(0 if appended < due else 0.001)
        waiting = appended - int(client.status.get("shipper", {}).get("sequence", 0))
        child = client.child
        assert child is not None
        cpu = cpu_seconds(child.pid)
        elapsed = time.monotonic() - began
        recorder.flush_soon()
        while int(client.status.get("shipper", {}).get("sequence", 0)) < appended:
            await asyncio.sleep(0.01)
            recorder.flush_soon()
        drained = time.monotonic() - began
        peak = memory(child.pid)["VmHWM"]
        sink.stdin.write("\n")
        taken = int(sink.stdout.readline())
        if taken != appended:
            raise ValueError(
                f"{appended} documents went in, {taken} were acknowledged: {client.status}, {recorder.counts}"
            )
        turns = pulse.turns()
        return [
            Row(
                *("shipping", drained / taken * 1e6, "us"),
                {"documents": taken},
                limit=LIMIT,
                more={"per_second": taken / drained, "offered_per_second": appended / elapsed},
            ),
            Row("shipping-backlog", waiting / RATE, "s", {"rate": RATE}, limit=BACKLOG),
            Row("shipping-loop", turns.longest_cpu * 1e3, "ms", {"by": "processor"}, limit=STALL_LIMIT),
            Row("shipping-loop", turns.longest * 1e3, "ms", {"by": "clock"}),
            Row("shipping-memory", peak, "MB", {"process": "telemetry", "peak": True}),
            Row("shipping-cpu", 100 * cpu / elapsed, "%", {"process": "telemetry"}),
            Row("shipping-cpu", 100 * cpu_seconds(sink.pid) / elapsed, "%", {"process": "sink"}),
        ]
    finally:
        await client.stop()
        recorder.close()
        sink.stdin.close()
        sink.wait(10)
