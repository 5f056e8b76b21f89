"""The console in a real browser, fed by a replayed balancer: what it shows, and that it stays in hand."""

from __future__ import annotations

import json

import pytest

from tests.lab.browser import Page
from tests.lab.patience import wait_for
from tests.web.conftest import Show
from tests.web.picture import HOSTILE

PARTS = ("services", "vips", "routers", "fleet", "interfaces", "log", "map", "drops")
HOSTILE_SHOWN = '<img src=x onerror="window.broken=1"><script>window.broken=2</script>\\u202e\\x1b[31m'


def rows(page: Page, kind: str = "backend") -> int:
    """Return how many rows of a kind exist."""
    return int(page.evaluate(f"document.querySelectorAll('.row.{kind}').length"))


def shown(page: Page, selector: str, words: str) -> None:
    """Wait until an element has some words."""
    look = f"document.querySelector({json.dumps(selector)}).innerText.includes({json.dumps(words)})"
    page.wait(f"{words!r} in {selector}", look)


def go(page: Page, part: str) -> None:
    page.evaluate(f"location.hash = '{part}'")
    page.wait(f"the part {part}", f"!document.getElementById('{part}').hidden")


def test_nothing_configured(show: Show) -> None:
    _, page = show(backends=0)
    shown(page, "#services-empty", "No services are configured")
    go(page, "vips")
    shown(page, "#vips-empty", "There are no VIPs")


def test_three_backends_are_all_to_be_seen(show: Show) -> None:
    replay, page = show(backends=3)
    page.wait("three backends", "document.querySelectorAll('.row.backend').length === 3")
    replay.tick(2)
    shown(page, "#value-packets", "k/s")
    assert page.texts(".row.backend .key") == ["10.1.0.11", "10.1.0.12", "10.1.0.13"]
    assert page.texts(".row.backend .c-weight") == ["1", "1", "1"]
    assert all(text.startswith("33.3 / 3") for text in page.texts(".row.backend .c-share"))
    for fact, words in {
        "version": "0.1.0",
        "mode": "simple",
        "uptime": "1d0h",
        "attach": "eth0 native; eth1 generic",
    }.items():
        shown(page, f"#fact-{fact}", words)
    shown(page, "#value-latency", "61.4 ns")
    page.wait("sparklines", "document.querySelector('.row.backend .spark .line').getAttribute('d').length > 5")


def test_a_backend_that_dies_goes_to_the_top_and_its_time_runs(show: Show) -> None:
    replay, page = show(backends=30, per_service=6)
    shown(page, ".row.service .key", "203.0.113.10:25/tcp")
    replay.send("services", replay.picture.kill(2, 3))
    shown(page, ".row.service .key", "203.0.113.10:53/udp")
    shown(page, ".row.service", "degraded")
    shown(page, ".row.backend", "no answer: the connection was refused")
    shown(page, "#value-backends", "29")
    shown(page, "#note-backends", "of 30; 1 down")
    page.wait("the title", "document.title.startsWith('(1 dead)')")
    age = page.text(".row.backend.dead .since")
    page.wait("time to pass", f"document.querySelector('.row.backend.dead .since').innerText !== '{age}'")
    for backend in range(6):
        replay.send("services", replay.picture.kill(2, backend))
    replay.send("overview", replay.picture.overview())
    shown(page, ".row.service", "down")
    shown(page, "#notices", "VIP 203.0.113.10 is down")
    page.wait("the title", "document.title.startsWith('(1 down)')")
    go(page, "vips")
    assert page.texts(".row.vip .key") == ["203.0.113.10", "203.0.113.11"]
    assert page.texts(".row.vip .badge") == ["down", "up"]
    page.click(".row.vip")
    shown(page, "#services-count", "4 of 5 services")


@pytest.mark.parametrize("dark", [False, True])
def test_hostile_text_stays_text(show: Show, dark: bool) -> None:
    replay, page = show(backends=3, dark=dark)
    found = replay.picture.services[0]
    found |= {"name": HOSTILE, "description": HOSTILE}
    replay.send("services", replay.picture.kill(0, 1, HOSTILE, "wrong"))
    replay.log(HOSTILE, service=found["service"], backend="10.1.0.12", outcome="wrong", reason=HOSTILE)
    overview = replay.picture.overview()
    overview["warnings"] = [{"severity": "warning", "message": HOSTILE}]
    overview["interfaces"][0] = {**overview["interfaces"][0], "name": HOSTILE, "driver": HOSTILE}
    overview["misroutes"]["happenings"][0] |= {"cause": HOSTILE, "text": HOSTILE}
    replay.send("overview", overview)
    shown(page, ".row.backend.wrong .diagnostic", HOSTILE_SHOWN)
    shown(page, "#notices", HOSTILE_SHOWN)
    page.click(".row.backend.wrong")
    shown(page, "#details-facts", HOSTILE_SHOWN)
    shown(page, "#details-events", HOSTILE_SHOWN)
    for part, selector in (("routers", "#peers-body"), ("interfaces", "#interfaces-body"), ("log", "#log-body")):
        go(page, part)
        shown(page, selector, HOSTILE_SHOWN)
    go(page, "interfaces")
    shown(page, "#misroutes-body", HOSTILE_SHOWN)
    go(page, "drops")
    page.click("#drops-body summary")
    page.click(".packets summary")
    shown(page, ".packets pre", "<b>hostile</b>")
    assert (
        page.evaluate("document.querySelectorAll('main img, main script, main b, aside img, #notices img').length") == 0
    )


def test_marks_and_details(show: Show) -> None:
    replay, page = show(backends=3)
    replay.send("services", replay.picture.drain(0, 2))
    shown(page, ".row.backend.draining .marks", "drain")
    page.click("#services-quick [data-quick=marked]")
    page.wait("only that one", "document.querySelectorAll('.row.backend').length === 1")
    page.click(".row.backend")
    shown(page, "#details-title", "10.1.0.13")
    shown(page, "#details-marks", "drain by alice")
    shown(page, "#details-facts", "02:00:0a:01:00:0b")
    replay.log("alice drains 10.1.0.13", kind="operator", service="203.0.113.10:443/tcp", backend="10.1.0.13")
    shown(page, "#details-events", "alice drains")
    page.press("Escape")
    page.wait("the details to close", "document.getElementById('details').hidden")


def test_many_backends_are_paged_by_scrolling(show: Show) -> None:
    replay, page = show(backends=2000)
    shown(page, "#services-count", "200 services, 2\u202f000 backends")
    assert rows(page) == 0, "healthy services are closed"
    assert 10 < rows(page, "service") < 60
    replay.send("services", replay.picture.kill(150, 3))
    shown(page, ".row.service", "degraded")
    page.wait("its backends", "document.querySelectorAll('.row.backend').length === 10")
    page.click("#services-open")
    page.wait("all rows", "document.getElementById('services-body').dataset.rows === '2200'")
    assert rows(page) + rows(page, "service") < 80
    page.evaluate("document.querySelector('.row[tabindex=\"0\"]').focus()")
    page.press("End")
    last = replay.picture.services[196]["backends"][-1]["address"]  # of the last VIP, 443/tcp
    page.wait("the end", f"document.activeElement.innerText.includes('{last}')")
    assert rows(page) + rows(page, "service") < 80


def test_the_keyboard_reaches_everything(show: Show) -> None:
    replay, page = show(backends=30, per_service=6)
    page.wait("the rows", "document.querySelectorAll('.row.backend').length > 5")
    reached = []
    for _ in range(40):
        page.press("Tab")
        reached.append(page.evaluate(
            "(() => { const one = document.activeElement; const seen = getComputedStyle(one);"
            "return [one.id || one.dataset.quick || one.getAttribute('href') || one.dataset.key || one.tagName,"
            " seen.outlineStyle !== 'none' && parseFloat(seen.outlineWidth) > 0]; })()"
        ))  # fmt: skip
    names = [name for name, _ in reached]
    for name in ("theme", "tile-vips", "tab-drops", "services-search", "trouble", "services-order", "/status.json"):
        assert any(name in found for found in names), (name, names)
    assert any(name.startswith("s 203") for name in names)
    assert [name for name, outlined in reached if not outlined and name != "BODY"] == []
    page.evaluate("document.querySelector('.row[tabindex=\"0\"]').focus()")
    focused = "document.activeElement.dataset.key"
    first = page.evaluate(focused)
    page.press("ArrowLeft")
    page.wait("it to close", "document.activeElement.getAttribute('aria-expanded') === 'false'")
    page.press("ArrowRight")
    page.wait("it to open", "document.activeElement.getAttribute('aria-expanded') === 'true'")
    page.press("ArrowRight")
    assert page.evaluate(focused).startswith("b ")
    page.press("ArrowLeft")
    assert page.evaluate(focused) == first
    page.press("ArrowDown")
    page.press("Enter")
    page.wait("the details", "document.activeElement.id === 'details-title'")
    page.press("Escape")
    page.wait("the row to have the focus again", f"{focused}.startsWith('b ')")
    replay.tick()
    page.press("6")
    page.wait("the log", "location.hash === '#log'")
    page.press("/")
    assert page.evaluate("document.activeElement.id") == "log-search"


def test_the_focus_survives_what_happens(show: Show) -> None:
    replay, page = show(backends=30, per_service=6)
    page.wait("the rows", "document.querySelectorAll('.row.backend').length > 5")
    page.evaluate("document.querySelectorAll('.row.backend')[2].focus()")
    key = page.evaluate("document.activeElement.dataset.key")
    replay.send("services", replay.picture.kill(4, 0))
    replay.tick(3)
    shown(page, ".row.service", "degraded")
    assert page.evaluate("document.activeElement.dataset.key") == key


@pytest.mark.parametrize("part", PARTS)
def test_a_phone_has_no_sideways_scroll(show: Show, part: str) -> None:
    replay, page = show(backends=30, per_service=6, part=part, width=360, height=740, phone=True)
    replay.send("services", replay.picture.kill(1, 1, "x" * 150))
    replay.log("y" * 200, service="203.0.113.10:443/tcp", backend="10.1.0.12")
    overview = replay.picture.overview()
    overview["interfaces"][0] |= {"name": "z" * 60}
    overview["warnings"] = [{"severity": "warning", "message": "w" * 120}]
    replay.send("overview", overview)
    replay.tick(2)
    shown(page, "#value-packets", "k/s")
    shown(page, "#notices", "www")
    if part == "map":
        page.wait("the busiest", "document.querySelectorAll('#map-top tr').length > 5")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    outside = page.evaluate(
        f"[...document.querySelectorAll('#{part} *, header *, .tiles *')]"
        ".filter((one) => !one.closest('.sideways, .cell *, pre, nav') && one.offsetParent)"
        ".filter((one) => one.getBoundingClientRect().right > 361).map((one) => one.outerHTML.slice(0, 80))"
    )
    assert [one for one in outside if "unseen" not in one] == []


def test_the_log_is_filtered(show: Show) -> None:
    replay, page = show(backends=3, part="log")
    replay.log("10.1.0.11 is dead", backend="10.1.0.11", outcome="dead")
    replay.log("alice drains 10.1.0.12", kind="operator", backend="10.1.0.12")
    replay.log("the spool is full", kind="alarm", severity=4, outcome="began")
    page.wait("three lines", "document.querySelectorAll('.log .line').length === 3")
    assert page.text(".log .message").startswith("the spool"), "the newest stands first"
    page.press("/")
    page.write("10.1.0.12 ALICE")
    page.wait("one line", "document.querySelectorAll('.log .line').length === 1")
    shown(page, "#log-count", "1 of 3 events")
    page.evaluate("document.getElementById('log-search').value = ''")
    page.evaluate(
        "(() => { const one = document.getElementById('log-kind'); one.value = 'alarm';"
        "one.dispatchEvent(new Event('input')); })()"
    )
    page.wait("the alarm", "document.querySelector('.log').innerText.includes('the spool is full')")
    assert page.texts(".log .badge") == ["alarm"]
    old = replay.picture.event("long ago", kind="alarm", severity=4) | {"at": replay.picture.time - 9000}
    replay.lines.append(old)
    page.click("#log-older")
    shown(page, "#log-said", "1 more event")
    assert page.texts(".log .message") == ["the spool is full", "long ago"]
    page.click("#log-hold")
    replay.log("another alarm", kind="alarm")
    replay.tick()
    shown(page, "#log-hold", "Held")
    assert page.texts(".log .message") == ["the spool is full", "long ago"]
    page.click("#log-hold")
    shown(page, ".log", "another alarm")


def test_the_map_tells_how_to_block_a_prefix(show: Show) -> None:
    replay, page = show(backends=3, part="map", counted=False)
    shown(page, "#map-error", "no packets are counted by prefix")
    page.problems = [one for one in page.problems if "503" not in one]
    replay.prefixes = [0] * (1 << 20)
    there = 198 << 12 | 51 << 4 | 6
    replay.prefixes[there] = 64000
    replay.prefixes[10 << 12] = 640
    go(page, "drops")
    go(page, "map")
    page.wait("the busiest", "document.querySelectorAll('#map-top tr').length === 2")
    assert page.texts("#map-top tr")[0].split("\t") == ["198.51.96.0/20", "≈ 64.0 k", "99.0 %"]
    x, y = page.evaluate(
        f"import('/js/hilbert.js').then(({{ place, SIDE }}) => [(place({there}) % SIDE + 0.5) / SIDE,"
        f" (Math.floor(place({there}) / SIDE) + 0.5) / SIDE])"
    )
    lit = page.evaluate(
        "(() => { const one = document.getElementById('map-canvas'); return [..."
        f"one.getContext('2d').getImageData(Math.floor({x} * 1024), Math.floor({y} * 1024), 1, 1).data]; }})()"
    )
    assert lit[3] == 255, "there is something to be seen"
    page.hover("#map-canvas", x, y)
    shown(page, "#map-tip", "198.51.96.0/20")
    shown(page, "#map-tip", "vc5 block add 198.51.96.0/20")
    page.click("#map-canvas", x, y)
    shown(page, "#map-line", "vc5 block add 198.51.96.0/20")
    page.click("#map-zoom")
    shown(page, "#map-zoom", "Whole map")
    page.evaluate("document.getElementById('map-canvas').focus()")
    before = page.text("#map-line")
    page.press("ArrowRight")
    page.wait("another prefix", f"document.getElementById('map-line').innerText !== '{before}'")
    page.press("Escape")
    shown(page, "#map-zoom", "Look into 198.0.0.0/8")


def test_stale_is_seen_and_the_picture_stays(show: Show) -> None:
    replay, page = show(backends=3)
    page.wait("three backends", "document.querySelectorAll('.row.backend').length === 3")
    replay.refuse(True)
    replay.hang_up()
    page.wait("stale", "document.body.dataset.link === 'stale' && !document.getElementById('stale').hidden")
    page.wait("the title", "document.title.startsWith('(stale)')")
    assert rows(page) == 3
    wait_for("another attempt", lambda: replay.connections >= 3, 20)
    replay.picture.services.pop()
    replay.picture.version = "0.2.0"
    replay.refuse(False)
    page.wait("it to be live again", "document.body.dataset.link === 'live'", 20)
    shown(page, "#fact-version", "0.2.0")
    page.wait(
        "what is gone to be gone",
        "document.querySelectorAll('.row').length === document.querySelectorAll('.head').length",
    )
    page.problems = [one for one in page.problems if not refused(one)]


def refused(problem: str) -> bool:
    """Whether a complaint is the browser's own about a connection that was refused or broken."""
    return problem.startswith("network:") or "ERR_" in problem or "503" in problem


def test_a_daemon_that_is_gone(show: Show) -> None:
    replay, page = show(backends=3)
    replay.tick()
    replay.send("gone", {"why": "the daemon does not answer: connection refused"})
    page.wait("gone", "document.body.dataset.link === 'gone'")
    shown(page, "#stale", "connection refused")
    replay.log("a line from the log store")
    replay.send("alive", {})
    page.wait("the line to be known", "document.body.dataset.link === 'gone'")
    replay.tick()
    page.wait("live", "document.body.dataset.link === 'live' && document.getElementById('stale').hidden")


@pytest.mark.slow
def test_silence_is_stale(show: Show) -> None:
    replay, page = show(backends=3)
    replay.silent = True
    page.wait("stale", "document.body.dataset.link === 'stale'", 20)
    wait_for("another attempt", lambda: replay.connections >= 2, 5)
    shown(page, "#stale", "nothing has come")
    replay.silent = False
    page.wait("live", "document.body.dataset.link === 'live'", 20)


def test_the_choice_of_colours_is_kept(show: Show) -> None:
    replay, page = show(backends=3)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.colours("dark")
    dark = page.wait("dark", f"{ground} !== '{light}' && {ground}")
    page.evaluate(
        "(() => { const one = document.getElementById('theme'); one.value = 'light';"
        "one.dispatchEvent(new Event('change')); })()"
    )
    page.wait("light", f"{ground} === '{light}'")
    page.open(replay.address + "#log")
    page.wait("light again", f"{ground} === '{light}' && !document.getElementById('log').hidden")
    assert dark != light


CONTRAST = """
(() => {
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => { const digits = style.getPropertyValue(name).trim().slice(1);
    return [0, 2, 4].map((at) => parseInt(digits.slice(at, at + 2), 16) / 255); };
  const light = (name) => rgb(name).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const found = {};
  for (const ink of ['--ink', '--faint', '--good', '--bad', '--worry', '--accent'])
    for (const ground of ['--ground', '--panel', '--raised', '--bad-ground', '--worry-ground']) {
      const [one, other] = [light(ink), light(ground)].sort((a, b) => b - a);
      found[`${ink} on ${ground}`] = (one + 0.05) / (other + 0.05);
    }
  return found;
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_texts_can_be_read(show: Show, dark: bool) -> None:
    """WCAG 2.1, 1.4.3: texts stand out from their ground by 4.5 to 1."""
    _, page = show(backends=0, dark=dark)
    found = page.evaluate(CONTRAST)
    assert {pair: round(ratio, 2) for pair, ratio in found.items() if ratio < 4.5} == {}
