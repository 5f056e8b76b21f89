"""The web process of a real daemon: where it listens, what it holds, what ends it, and what a crowd does to it."""

from __future__ import annotations

import base64
import json
import os
import resource
import select
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.lab.daemon import Daemon
from tests.lab.namespace import Namespace
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.web import Looking, process_of, resident
from tests.netns.scenario_operator import configuration, wait_states

pytestmark = [pytest.mark.root, pytest.mark.slow]

PROCESS = "appliance.web.process"
SECRETS = ("T0PASSWORD", "T0TOKEN")
STREAMS, CROWD = 64, 500


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


def web(daemon: Daemon) -> int:
    return process_of(daemon.pid, PROCESS)


def listening(namespace: Namespace) -> set[str]:
    """Return the addresses and ports of TCP at which somebody listens."""
    return {line.split()[3] for line in namespace.run("ss", "-Hltn").splitlines()}


def warnings(daemon: Daemon) -> list[str]:
    return [str(one["message"]) for one in daemon.status()["warnings"]]


def certify(place: Path, name: str) -> Path:
    """Write certificate and key for 127.0.0.1 into files, and return the certificate's."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    made = place / "made"
    made.mkdir(exist_ok=True)
    files = ("-keyout", str(made / "key.pem"), "-out", str(made / "certificate.pem"))
    extra = ("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run([*command.split(), *extra, *files], capture_output=True, check=True)
    for file in made.iterdir():
        file.chmod(0o600)
        file.rename(place / file.name)
    return place / "certificate.pem"


def test_by_default_nobody_else_can_look(lab: Lab) -> None:
    with Daemon(lab.balancer, lab.root("usual"), configuration(), metrics=True) as daemon:
        looking = Looking(lab.balancer)
        wait_for("the console", looking.there)
        assert listening(lab.balancer) == {"127.0.0.1:9090"}
        process = Path(f"/proc/{web(daemon)}")
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
        assert status["Uid"].split() == ["65534"] * 4
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, name
        assert status["NoNewPrivs"].strip() == "1"
        assert daemon.reload(configuration(top="webserver: no")).returncode == 0
        wait_for("its end", lambda: not process.exists())
        assert listening(lab.balancer) == set()
        assert daemon.reload(configuration(top="webserver: '127.0.0.1:9090'")).returncode == 0
        wait_for("the console again", looking.there)
        assert daemon.stop() == 0
        assert listening(lab.balancer) == set()
        assert daemon.leftovers() == []


def test_several_addresses_and_one_that_is_taken(lab: Lab) -> None:
    places = "['127.0.0.1:9090', '10.1.10.5:9191', '[::1]:9090']"
    with (
        lab.balancer.call(lambda: socket.create_server(("10.1.10.5", 9191))) as taken,
        Daemon(lab.balancer, lab.root("several"), configuration(top=f"webserver: {places}")) as daemon,
    ):
        wait_for("the console", Looking(lab.balancer).there)
        wait_for("both alarms", lambda: len([one for one in warnings(daemon) if "cannot listen here" in one]) == 2)
        assert any("10.1.10.5:9191: cannot listen here" in one for one in warnings(daemon))
        first = web(daemon)
        taken.close()
        lab.balancer.run("ip", "link", "set", "lo", "up")
        lab.balancer.run("sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0")
        lab.balancer.run("ip", "-6", "address", "replace", "::1/128", "dev", "lo")
        for host, port in (("10.1.10.5", 9191), ("::1", 9090), ("127.0.0.1", 9090)):
            wait_for(f"{host} {port}", Looking(lab.balancer, host, port).there, 30)
        wait_for("the end of the alarms", lambda: not [one for one in warnings(daemon) if "listen" in one])
        assert web(daemon) != first
        assert daemon.stop() == 0


def test_who_it_is_for(lab: Lab, tmp_path: Path) -> None:
    certificate = certify(tmp_path, "first")
    password, token = SECRETS
    console = f"{{certificate: {certificate}, key: {tmp_path}/key.pem, user: o, password: {password}, token: {token}}}"
    text = configuration(top=f"webserver: '127.0.0.1:9090'\nconsole: {console}")
    with Daemon(lab.balancer, lab.root("guarded"), text) as daemon:
        basic = {"Authorization": "Basic " + base64.b64encode(f"o:{password}".encode()).decode()}

        def looking() -> Looking:
            return Looking(lab.balancer, context=ssl.create_default_context(cafile=str(certificate)))

        wait_for("the console", lambda: looking().there())
        assert looking().fetch("/status.json")[0] == 401
        assert looking().fetch("/status.json", **basic)[0] == 200
        assert looking().fetch("/status.json", Authorization=f"Bearer {token}")[0] == 200
        assert looking().fetch("/status.json", Host="evil.example", **basic)[0] == 421
        assert not Looking(lab.balancer).there(), "nothing is answered in clear text"
        for name in ("cmdline", "environ"):
            said = Path(f"/proc/{web(daemon)}/{name}").read_bytes() + Path(f"/proc/{daemon.pid}/{name}").read_bytes()
            assert not [secret for secret in SECRETS if secret.encode() in said]

        def served() -> str:
            return str(ssl.DER_cert_to_PEM_cert(_certificate(lab.balancer)))

        before = served()
        certify(tmp_path, "second")
        wait_for("the new certificate", lambda: _same(certificate) == served() != before)
        kept = certificate.read_text()
        certificate.write_text("no certificate")
        wait_for("an alarm", lambda: [one for one in warnings(daemon) if "certificate cannot be used" in one])
        certificate_before = served()
        assert certificate_before == ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(kept)), "the one before goes on"
        certify(tmp_path, "third")
        wait_for("the third certificate", lambda: served() == _same(certificate) != certificate_before)
        wait_for("the end of the alarm", lambda: not [one for one in warnings(daemon) if "certificate" in one])

        certificate.write_text("no certificate")
        os.kill(web(daemon), signal.SIGKILL)
        wait_for("another alarm", lambda: [one for one in warnings(daemon) if "certificate or key cannot" in one])
        certify(tmp_path, "fourth")
        wait_for("it to work again", lambda: looking().there(**basic), 20)
        wait_for("the end of that alarm", lambda: not [one for one in warnings(daemon) if "certificate" in one])
        kept = b"".join(path.read_bytes() for path in daemon.places.log.iterdir() if path.is_file()).decode()
        texts = [kept, json.dumps(daemon.status()), daemon.errors, looking().fetch("/config.json", **basic)[1].decode()]
        assert [secret for secret in SECRETS if any(secret in one for one in texts)] == []
        assert daemon.stop() == 0


def _certificate(namespace: Namespace) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with Looking(namespace, context=context).connect() as connection:
            assert isinstance(connection, ssl.SSLSocket)
            return connection.getpeercert(binary_form=True) or b""
    except OSError:
        return b""


def _same(file: Path) -> str:
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(file.read_text()))


def begins(looking: Looking) -> bool:
    """Return whether a stream begins with everything."""
    try:
        for kind, data in looking.events():
            if kind == "services" and data["complete"] and data["changed"]:
                return True
    except (OSError, ValueError):
        pass
    return False


def test_it_comes_back(lab: Lab) -> None:
    """Killed, with a daemon that becomes another program, with one that is killed, and after a reload."""
    with Daemon(lab.balancer, lab.root("back"), configuration(), metrics=True) as daemon:
        looking = Looking(lab.balancer)
        wait_for("a stream", lambda: begins(looking))
        first = looking.json("/log")
        assert first["lines"]
        looking.fetch("/nothing")
        wait_for("it to be counted", lambda: _counted(daemon, "404") == 1)
        stream = looking.events()
        next(stream)
        before = web(daemon)
        os.kill(before, signal.SIGKILL)
        with suppress(OSError):  # or it just ends
            for _ in stream:
                pass
        wait_for("another one", lambda: web(daemon) not in (0, before))
        wait_for("a stream again", lambda: begins(looking))

        def alarmed() -> list[dict[str, Any]]:
            # Events are on the disk within a second, and the new process may read them before that.
            found: list[dict[str, Any]] = looking.json("/log")["lines"]
            return found if any(one["kind"] == "alarm" and "web" in one["message"] for one in found) else []

        lines = wait_for("the alarm", alarmed)
        assert lines[: len(first["lines"])] == first["lines"], "the log has the same numbers"
        looking.fetch("/nothing")
        wait_for("both to be counted", lambda: _counted(daemon, "404") == 2)

        before = web(daemon)
        assert daemon.reload(configuration(top="idle: 20m")).returncode == 0
        assert web(daemon) == before, "what does not concern it leaves it alone"
        assert daemon.vc5("reexec", timeout=120.0).returncode == 0
        wait_for("a stream of the next program", lambda: begins(looking), 30)
        daemon.kill9()
        daemon.start()
        wait_for("a stream of the next daemon", lambda: begins(looking), 30)
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def _gauge(daemon: Daemon, name: str) -> float | None:
    lines = [line.split() for line in daemon.vc5("metrics").stdout.splitlines()]
    return next((float(words[1]) for words in lines if words[0] == name), None)


def _counted(daemon: Daemon, reason: str) -> float:
    for line in daemon.vc5("metrics").stdout.splitlines():
        if line.startswith(f'vc5_web_refused_total{{reason="{reason}"}} '):
            return float(line.split()[-1])
    return 0.0


@pytest.mark.appliance
def test_who_is_gone_without_a_word_is_let_go(lab: Lab) -> None:
    text = configuration(top="webserver: '10.1.10.5:9191'")
    with Daemon(lab.balancer, lab.root("gone"), text) as daemon:
        far = Looking(lab.backends["b1"].namespace, "10.1.10.5", 9191)
        wait_for("the console", far.there)
        stream = far.events()
        next(stream)
        wait_for("the stream", lambda: _gauge(daemon, "vc5_web_streams") == 1)
        lab.unplug("b1")
        wait_for("its end", lambda: _gauge(daemon, "vc5_web_streams") == 0, 60)
        stream.close()
        assert daemon.stop() == 0


def test_a_crowd(lab: Lab) -> None:
    """Five hundred streams at once, most of whose readers read nothing: the others are served as ever."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    with Daemon(lab.balancer, lab.root("crowd"), configuration(), metrics=True) as daemon, ExitStack() as held:
        wait_states(daemon, b11="available", b12="available")
        looking = Looking(lab.balancer)
        wait_for("the console", looking.there)
        looking.fetch("/metrics")
        before = resident(web(daemon))
        place = ("127.0.0.1", 9090)
        crowd = lab.balancer.call(lambda: [socket.create_connection(place, timeout=30) for _ in range(CROWD)])
        for one in crowd:
            held.callback(one.close)
            one.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answers: dict[bytes, int] = {}
        for one in crowd:
            words = one.recv(12)
            answers[words] = answers.get(words, 0) + 1
        assert answers == {b"HTTP/1.1 200": STREAMS, b"HTTP/1.1 503": CROWD - STREAMS}
        assert looking.fetch("/metrics")[0] == 200
        assert looking.json("/status.json")["pid"] == daemon.pid
        wait_for("all to be counted", lambda: _counted(daemon, "streams") == CROWD - STREAMS)
        grown = resident(web(daemon)) - before
        print(f"{CROWD} streams: {grown >> 10} KiB")
        assert grown < 24 << 20
        wait_for("a word of it", lambda: f"{CROWD - STREAMS} for streams" in daemon.errors, 70)
        assert len([line for line in daemon.errors.splitlines() if "for streams" in line]) <= 2
        readable, _, _ = select.select(crowd, [], [], 20)
        assert readable, "streams go on"
        wait_states(daemon, b11="available", b12="available")
        for one in crowd:
            one.close()
        wait_for("room", lambda: begins(looking))
        assert daemon.stop() == 0
