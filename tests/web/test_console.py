"""The console as it is shipped: the real daemon and its web process, in a lab, looked at with a real browser.

The browser is in the balancer's namespace, where the server listens on its loopback interface.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from tests.lab.addresses import BALANCER, HTTP, ROUTER, VIP
from tests.lab.backend import REPOSITORY, Server
from tests.lab.browser import Browser, Page, missing
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.routers import Bird, Neighbour, Setup, missing_daemons
from tests.lab.topology import Lab
from tests.lab.traffic import Requests
from tests.web.test_page import go, refused, shown

pytestmark = [pytest.mark.root, pytest.mark.slow]

ADDRESS = "http://127.0.0.1:9090/"
WEB, ECHO = f"{VIP}:80/tcp", f"{VIP}:7000/tcp"
HOSTILE = "<img src=x onerror=window.broken=1>"
CONFIGURATION = f"""\
interfaces: eth0
xdp: native
count_prefixes: yes
interval: 200ms
timeout: 200ms
rise: 1
fall: 2
services:
  - name: shop
    virtual: {VIP}
    servers: [10.1.10.11, 10.1.10.12 weight=2, 10.1.10.13]
    policy:
      http: {{checks: [{{type: http, path: /alive}}], description: "{HOSTILE}"}}
      7000/tcp: {{checks: [{{type: tcp}}]}}
"""
RUDE = f"""
import socket
listening = socket.create_server(("", {HTTP}), reuse_port=True)
while True:
    connection, _ = listening.accept()
    connection.recv(4096)
    connection.sendall(b"{HOSTILE}\\r\\n\\r\\n")
    connection.close()
"""
"""A server whose status line is none, and carries markup."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if missing():
        pytest.skip(missing())
    with Lab(backends=3) as standing:
        yield standing


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Daemon]:
    with Daemon(lab.balancer, lab.root(), CONFIGURATION, metrics=True) as standing:
        yield standing


@pytest.fixture(scope="module")
def browser(lab: Lab) -> Iterator[Browser]:
    with Browser(lab.balancer) as standing:
        yield standing


@pytest.fixture
def page(daemon: Daemon, browser: Browser) -> Iterator[Page]:
    """The console, live. At the end neither it nor its policy may have complained of anything."""
    wait_for("the web server", lambda: answers(daemon), 20)
    page = browser.page(1600, 900)
    page.open(ADDRESS)
    page.wait("the console to be live", "document.body.dataset.link === 'live'", 20)
    yield page
    found = [*page.problems, *page.violations(), str(page.evaluate("window.broken ?? ''"))]
    page.close()
    assert [one for one in found if one] == []


def answers(daemon: Daemon) -> bool:
    """Whether the web server answers at all."""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(ADDRESS, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    return daemon.namespace.call(ask)


def state(name: str, page: Page, service: str) -> str:
    """Return JavaScript for the words of a backend's state as the page has it."""
    key = json.dumps(f"b {service} {name}")
    return f"document.querySelector(`[data-key=${{CSS.escape({key})}}] .badge`)?.innerText"


def test_it_goes_live_and_shows_what_is(page: Page, lab: Lab) -> None:
    page.wait("three and three backends", "document.querySelectorAll('.row.backend').length === 6")
    page.wait(
        "all to be up", "[...document.querySelectorAll('.row .badge')].every((one) => one.innerText === 'up')", 20
    )
    shown(page, "#value-backends", "6")
    shown(page, "#note-backends", "all up")
    shown(page, "#fact-attach", "eth0 native")
    assert page.texts(".row.service .key") == [WEB, ECHO]
    assert sorted(page.texts(".row.backend .c-weight")) == ["1", "1", "1", "1", "2", "2"]
    shown(page, ".row.service .c-said", HOSTILE)
    with Requests(lab.client, count=1500, rate=150) as requests:
        page.wait("traffic", "parseFloat(document.getElementById('value-packets').innerText) > 10", 20)
        page.wait(
            "traffic of the service", "parseFloat(document.querySelector('.row.service .c-packets').innerText) > 10"
        )
        page.wait("shares", "/[1-9].* [/] [1-9]/.test(document.querySelector('.row.backend .c-share').innerText)")
        assert not requests.finish().failed
    for part, selector, words in (
        ("vips", ".row.vip", str(VIP)),
        ("interfaces", "#interfaces-body", "veth"),
        ("interfaces", "#reasons-body", "a probe: sent to its backend"),
        ("log", "#log-body", "10.1.10.11"),
        ("routers", "#peers-empty", "No routers"),
        ("drops", "#drops", "Dropped packets"),
    ):
        go(page, part)
        shown(page, selector, words)


def test_every_link_leads_somewhere(page: Page) -> None:
    links = page.evaluate("[...document.querySelectorAll('a[href^=\"/\"]')].map((one) => one.getAttribute('href'))")
    assert "/status.json" in links
    found = {link: page.evaluate(f"fetch('{link}').then((answer) => answer.status)") for link in links}
    assert set(found.values()) == {200}, found


def test_a_backend_that_dies_is_shown(page: Page, lab: Lab) -> None:
    look = state("10.1.10.12", page, WEB)
    page.wait("it to be up", f"{look} === 'up'")
    lab.backends["b2"].kill_servers(Server.NGINX)
    page.wait("it to be dead", f"{look} === 'dead'")
    shown(page, ".row.service", "degraded")
    shown(page, ".row.backend.dead .diagnostic", "refused")
    page.press("/")
    page.write("state:dead")
    page.wait("it alone", "document.querySelectorAll('.row.backend').length === 1")
    go(page, "log")
    shown(page, "#log-body", "10.1.10.12")
    lab.backends["b2"].start_servers(lab.content, Server.NGINX)
    go(page, "services")
    page.press("/")
    page.press("Escape")
    page.wait("it to be up again", f"{look} === 'up'", 20)


def test_an_operators_drain_is_shown(page: Page, daemon: Daemon) -> None:
    look = state("10.1.10.13", page, WEB)
    page.wait("it to be up", f"{look} === 'up'")
    assert daemon.vc5("drain", WEB, "10.1.10.13").returncode == 0
    page.wait("it to be draining", f"{look} === 'draining'")
    page.click("#services-quick [data-quick=marked]")
    shown(page, ".row.backend .marks", "drain")
    assert daemon.vc5("undrain", WEB, "10.1.10.13").returncode == 0
    page.click("#services-quick [data-quick=all]")
    page.wait("it to be up again", f"{look} === 'up'")


def test_what_a_backend_says_stays_text(page: Page, lab: Lab) -> None:
    look = state("10.1.10.13", page, WEB)
    page.wait("it to be up", f"{look} === 'up'")
    backend = lab.backends["b3"]
    backend.kill_servers(Server.NGINX)
    rude = backend.namespace.spawn(sys.executable, "-S", "-c", RUDE, directory=REPOSITORY)
    try:
        page.wait("it to be wrong", f"{look} === 'wrong'")
        shown(page, ".row.backend.wrong .diagnostic", HOSTILE)
        go(page, "log")
        shown(page, "#log-body", HOSTILE)
        assert page.evaluate("document.querySelectorAll('main img').length") == 0
    finally:
        rude.kill()
        rude.wait()
        backend.start_servers(lab.content, Server.NGINX)
    go(page, "services")
    page.wait("it to be up again", f"{look} === 'up'", 20)


def test_a_restart_is_survived(page: Page, daemon: Daemon) -> None:
    look = state("10.1.10.11", page, WEB)
    page.wait("it to be up", f"{look} === 'up'")
    pid = daemon.status()["pid"]
    assert daemon.stop() == 0
    page.wait("stale", "document.body.dataset.link === 'stale' && !document.getElementById('stale').hidden")
    assert page.evaluate("document.querySelectorAll('.row.backend').length") == 6
    daemon.start()
    assert daemon.status()["pid"] != pid
    page.wait("it to be live again", "document.body.dataset.link === 'live'", 40)
    page.wait("it to be up", f"{look} === 'up'", 20)
    assert page.evaluate("document.getElementById('fact-uptime').innerText.endsWith('s')")
    page.problems = [one for one in page.problems if not refused(one)]


def test_a_daemon_that_hangs_is_told_of(page: Page, daemon: Daemon) -> None:
    page.wait("the rows", "document.querySelectorAll('.row.backend').length === 6")
    daemon.signal(signal.SIGSTOP)
    try:
        page.wait("gone", "document.body.dataset.link === 'gone'", 30)
        shown(page, "#stale", "daemon does not answer")
    finally:
        daemon.signal(signal.SIGCONT)
    page.wait("it to be live again", "document.body.dataset.link === 'live'", 40)


@pytest.mark.skipif(bool(missing_daemons([Bird])), reason=missing_daemons([Bird]) or "it is there")
def test_a_router_is_shown(page: Page, lab: Lab, daemon: Daemon) -> None:
    """A real one, with BFD: that its session is there, that it ends and why, and that the VIP is announced."""
    bgp = f"bgp: {{as_number: 65001, remote_as: 65000, peers: [{ROUTER}], hold_time: 9, bfd: yes}}\n"
    setup = Setup(65000, str(ROUTER), (Neighbour(str(BALANCER), 65001, passive=True, bfd=0.3),))
    row = "document.querySelector('#peers-body tr')?.innerText ?? ''"
    with Bird(lab.router, lab.directory / "bird", setup) as bird:
        assert daemon.reload(f"{CONFIGURATION}router_id: {BALANCER}\nhold_down: 0\nlearn: 0\n{bgp}").returncode == 0
        bird.wait_established(seconds=30)
        go(page, "routers")
        page.wait("the session", f"({row}).includes('{ROUTER}') && ({row}).includes('established')", 30)
        page.wait("BFD", f"/established[^]*\\bup\\b/.test({row})", 20)
        bird.wait_route(f"{VIP}/32")
        page.wait("the route", f"/65000\\s+eBGP\\s+1\\s+0\\s+0\\s+0/.test({row})", 20)
        bird.shut(str(BALANCER), "<b>works</b> at the router")
        page.wait("its end", f"!({row}).includes('established') && ({row}).includes('<b>works</b> at the router')", 20)
        shown(page, "#notices", f"BGP with {ROUTER}")
    assert daemon.reload(CONFIGURATION).returncode == 0


def test_a_dropped_packet_is_shown(page: Page, lab: Lab) -> None:
    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(HOSTILE.encode(), (str(VIP), 9))

    lab.client.call(send)
    go(page, "drops")
    shown(page, "#drops-body", "unknown-port")
    page.click("#drops-body summary")
    shown(page, ".packets", f"{VIP}")
    page.click(".packets summary")
    shown(page, ".packets pre", "<img")


def test_the_map_of_real_traffic(page: Page, lab: Lab) -> None:
    with Requests(lab.client, count=3000, rate=300) as requests:
        requests.finish()
    go(page, "map")
    page.wait("the busiest", "document.querySelectorAll('#map-top tr').length >= 1", 30)
    shown(page, "#map-top", "198.51.96.0/20")
    page.click("#map-top button")
    shown(page, "#map-line", "vc5 block add 198.51.96.0/20")
    line = page.text("#map-line").split()
    assert line[0] == "vc5"
    done = subprocess.run(
        [*("/usr/bin/python3", "-m", "appliance"), *line[1:], "--help"], capture_output=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, "the command is one"
