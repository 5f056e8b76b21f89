"""Alerts as a real rsyslog gets them, by UDP, TCP, TLS and the host's own socket; and what happens while it is away."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance import __version__
from appliance.telemetry.alerts.outlet import Pace
from appliance.telemetry.alerts.syslog import QUEUE, Syslog
from tests.lab.patience import SLOWNESS, wait_for
from tests.unit.health.authority import self_signed
from tests.unit.telemetry.alerts.rsyslog import Rsyslog, free_port
from tests.unit.telemetry.alerts.samples import SERVICE, backend, document, read, vip

QUICK = Pace(limit=1.0, back_off=0.02)
pytestmark = pytest.mark.skipif(
    shutil.which("rsyslogd") is None, reason="rsyslog is not installed (tests/setup.sh lab)"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls") / "server.pem", names="IP:127.0.0.1,DNS:localhost")


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Rsyslog]:
    with Rsyslog(tmp_path_factory.mktemp("rsyslog"), certificate) as one:
        yield one


@pytest.fixture
def server(standing: Rsyslog) -> Rsyslog:
    """A server of which every test begins with no message."""
    standing.forget()
    return standing


def outlet(server: Rsyslog, scheme: str, certificate: Path) -> Syslog:
    trust = ssl.create_default_context(cafile=str(certificate))
    target = "local" if scheme == "local" else f"{scheme}://localhost:{getattr(server, scheme)}"
    return Syslog(target, "lb1", pace=QUICK, trust=trust, device=str(server.device))


async def drive(one: Syslog, until: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds * SLOWNESS
    while not until():
        assert time.monotonic() < end, (one.counts, one.trouble())
        one.step(time.monotonic())
        await asyncio.sleep(0.005)


NOTICES = (
    vip(1),
    backend(2, 11, reason='said "Größe]" \\ & more\n<b>'),
    document(3, "alarm", "", "x" * 5000, severity=4),
)


@pytest.mark.parametrize("scheme", ["udp", "tcp", "tls"])
def test_what_a_server_reads(server: Rsyslog, certificate: Path, scheme: str) -> None:
    async def run() -> None:
        one = outlet(server, scheme, certificate)
        for found in NOTICES:
            one.take(read(found))
        assert one.untold == 1
        await drive(one, lambda: one.untold is None)
        assert one.counts.sent == 3
        await one.close()

    asyncio.run(run())
    wait_for("three messages", lambda: len(server.messages()) >= 3)
    down, dead, alarm = server.messages()
    assert down["data"] == {
        "origin": {"software": "vc5", "swversion": __version__},
        "vc5@32473": {
            "sequence": "1",
            "kind": "vip",
            "outcome": "down",
            "before": "up",
            "vip": "203.0.113.10",
            "reason": f"{SERVICE} is down",
        },
    }
    shown = {
        name: down[name] for name in ("severity", "facility", "host", "application", "id", "protocol", "text", "at")
    }
    assert shown == {
        "severity": "err",
        "facility": "daemon",
        "host": "lb1",
        "application": "vc5",
        "id": "vip-down",
        "protocol": "1",
        "text": f"VIP 203.0.113.10 down: {SERVICE} is down",
        "at": "2026-11-22T08:00:01.000000+00:00",
    }
    assert dead["data"]["vc5@32473"]["reason"] == 'said "Größe]" \\ & more <b>'
    assert dead["text"].removeprefix("\ufeff").endswith('dead: said "Größe]" \\ & more <b>')
    assert alarm["text"].startswith("\ufeffxxx")  # what was cut ends with an ellipsis, which is not ASCII
    assert alarm["severity"] == "warning"


def test_what_the_host_s_own_reads(server: Rsyslog, certificate: Path) -> None:
    async def run() -> None:
        one = outlet(server, "local", certificate)
        one.take(read(vip(1)))
        await drive(one, lambda: one.untold is None)
        await one.close()

    asyncio.run(run())
    (told,) = wait_for("a message", lambda: server.messages())
    assert (told["severity"], told["facility"], told["application"]) == ("err", "daemon", "vc5-alert")
    assert told["text"].strip() == f"VIP 203.0.113.10 down: {SERVICE} is down"


@pytest.mark.parametrize("scheme", ["tcp", "tls", "local"])
def test_a_server_that_was_away_gets_all(server: Rsyslog, certificate: Path, scheme: str) -> None:
    """Every message once it is back: those that it had not taken, and those that came meanwhile."""

    async def run() -> None:
        one = outlet(server, scheme, certificate)
        one.take(read(vip(1)))
        await drive(one, lambda: one.untold is None)
        wait_for("the first", lambda: len(server.messages()) == 1)
        server.end(signal.SIGKILL)
        for number in range(2, 42):
            one.take(read(backend(number, number)))
        await drive(one, lambda: one.counts.failed > 2)
        assert one.untold == 2
        assert one.trouble() == f"{one.name}: Connection refused"
        server.start()
        await drive(one, lambda: one.untold is None)
        assert (one.counts.sent, one.counts.dropped, one.trouble()) == (41, 0, "")
        await one.close()

    asyncio.run(run())
    wait_for("all messages", lambda: len(server.messages()) == 41)
    assert [row["text"].split(" of ")[0].strip() for row in server.messages()][1:] == [
        f"backend 10.1.10.{number}" for number in range(2, 42)
    ]


def test_who_is_away_for_long_costs_no_more_than_a_queue() -> None:
    async def run() -> None:
        one = Syslog(f"tcp://127.0.0.1:{free_port()}", "lb1", pace=QUICK)
        for number in range(1, QUEUE + 101):
            one.take(read(backend(number, 1, after=0)))
        assert (one.waiting, one.counts.dropped, one.untold) == (QUEUE, 100, 101)
        await drive(one, lambda: one.counts.failed > 1)
        await one.close()

    asyncio.run(run())


def test_who_does_not_read_is_left() -> None:
    """A server that takes a connection and nothing else: the attempt ends, and the message is kept."""

    async def run() -> None:
        with closing(socket.create_server(("127.0.0.1", 0), backlog=1)) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
            one = Syslog(f"tls://127.0.0.1:{listening.getsockname()[1]}", "lb1", pace=Pace(limit=0.2, back_off=0.02))
            one.take(read(vip(1)))
            await drive(one, lambda: one.counts.failed > 1)
            assert (one.untold, one.trouble()) == (1, f"{one.name}: it took nothing within 0.2 s")
            await one.close()

    asyncio.run(run())


def test_udp_that_finds_nobody_is_told() -> None:
    async def run() -> None:
        came = await Syslog(f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}", "lb1", pace=QUICK).test(read(vip(1)))
        assert (came.ok, came.reason) == (False, "Connection refused")
        with closing(socket.socket(type=socket.SOCK_DGRAM)) as listening:
            listening.bind(("127.0.0.1", 0))
            came = await Syslog(f"udp://127.0.0.1:{listening.getsockname()[1]}", "lb1", pace=QUICK).test(read(vip(1)))
        assert (came.ok, came.reason) == (True, "sent; whether it arrived, UDP does not tell")

    asyncio.run(run())


@pytest.mark.parametrize("scheme", ["tcp", "tls", "local"])
def test_a_test_message(server: Rsyslog, certificate: Path, scheme: str) -> None:
    told = read(document(0, "daemon", "test", "a test"))
    came = asyncio.run(outlet(server, scheme, certificate).test(told))
    assert (came.ok, came.reason) == (True, "")
    (row,) = wait_for("the test message", lambda: server.messages())
    assert row["text"].strip() == "a test"


def test_certificates_are_looked_at(server: Rsyslog) -> None:
    came = asyncio.run(Syslog(f"tls://localhost:{server.tls}", "lb1", pace=QUICK).test(read(vip(1))))
    assert not came.ok
    assert "its certificate is not believed: self" in came.reason
