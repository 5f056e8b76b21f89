"""What the console costs the browser that shows it: until it is there, and for as long as it is looked at.

A Chromium of this machine looks at 2,000 backends. They are made up (tests/web/picture.py) and come as the real server
sends them; so the figures are the page's own. Every two seconds the rates of all of them change, and some of them die
or come back, with a line of the log for each: more than a balancer in trouble tells.

What the main thread does is the browser's own account (the metrics of the DevTools protocol): scripts, styles, layout
and painting, not only ours. By the clock (`TaskDuration`), it counts what else the machine does in that time as well;
in processor time (`ThreadTime`), it does not. It is measured in three views, since what is on screen decides: as the
page comes, with every service open and in the order of traffic, which moves rows every time, and with the log.
"""

from __future__ import annotations

import statistics
import time

from bench.report import Row
from tests.lab.browser import Browser, Page
from tests.lab.patience import wait_for
from tests.web.picture import INTERVAL, Picture
from tests.web.replay import Replay

BACKENDS = 2000
LOADS = 5
SECONDS = 30.0
"""For which each view is looked at."""
DEATHS = 10
"""Backends that die in an interval; as many come back."""
PAINT_LIMIT = 1000.0
"""ms from the begin of the navigation to the first paint."""
BUSY_LIMIT = 50.0
"""ms of work of the main thread in a second."""

# Runs before the page's scripts: when the whole picture stands on the screen, the frame after it included.
WATCH = """
window.filled = null;
new MutationObserver((_, observer) => {
  const said = document.getElementById('services-count');
  if (!said || !said.textContent.includes('BACKENDS')) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.filled = performance.now(); }));
}).observe(document, { childList: true, subtree: true, characterData: true });
"""
ORDER = """
(() => { const one = document.getElementById('services-order'); one.value = 'traffic';
  one.dispatchEvent(new Event('change')); document.getElementById('services-open').click(); })()
"""
VIEWS = {"as it comes": "scrollTo(0, 0)", "all open, by traffic": ORDER, "log": "location.hash = 'log'"}


def run() -> list[Row]:
    """Measure; returns the rows. Raises LabError where there is no browser."""
    with Browser() as browser, Replay(Picture(BACKENDS)) as replay:
        rows = _loads(browser, replay)
        page = browser.page(1600, 1000)
        page.open(replay.address)
        page.wait("the console to be live", "document.body.dataset.link === 'live'")
        return rows + [row for view, begin in VIEWS.items() for row in _work(page, replay, view, begin)]


def _loads(browser: Browser, replay: Replay) -> list[Row]:
    """How long it takes from nothing to the first paint, and to the whole picture."""
    first, whole = [], []
    for _ in range(LOADS):
        page = browser.page(1600, 1000)
        page.call("Network.setCacheDisabled", cacheDisabled=True)
        page.call(
            "Page.addScriptToEvaluateOnNewDocument",
            source=WATCH.replace("BACKENDS", f"{BACKENDS:,}".replace(",", "\u202f")),
        )
        page.open(replay.address)
        wait_for("the whole picture", lambda page=page: page.evaluate("window.filled"), 30)  # type: ignore[misc]
        first.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        whole.append(page.evaluate("window.filled"))
        page.close()
    labels: dict[str, str | int] = {"backends": BACKENDS}
    return [
        Row("console-first-paint", statistics.median(first), "ms", labels, limit=PAINT_LIMIT, more=_spread(first)),
        Row("console-whole-picture", statistics.median(whole), "ms", labels, limit=PAINT_LIMIT, more=_spread(whole)),
    ]


def _work(page: Page, replay: Replay, view: str, begin: str) -> list[Row]:
    """How long the main thread works in a second, while all numbers change."""
    page.evaluate(begin)
    _pass(replay, INTERVAL * 2)
    before, began = page.metrics(), time.monotonic()
    _pass(replay, SECONDS)
    after, passed = page.metrics(), time.monotonic() - began
    spent = {
        name: (after[name] - before[name]) * 1000 / passed for name in ("TaskDuration", "ScriptDuration", "ThreadTime")
    }
    labels: dict[str, str | int] = {"backends": BACKENDS, "view": view}
    more = {
        "script": spent["ScriptDuration"],
        "seconds": passed,
        "nodes": after["Nodes"],
        "heap": after["JSHeapUsedSize"],
    }
    return [
        Row("console-main-thread", spent[name], "ms/s", {**labels, "of": of}, limit=BUSY_LIMIT, more=more)
        for name, of in (("TaskDuration", "clock"), ("ThreadTime", "processor"))
    ]


def _pass(replay: Replay, seconds: float) -> None:
    """Let time pass, and with it things happen."""
    picture = replay.picture
    for _ in range(round(seconds / INTERVAL)):
        for _ in range(DEATHS):
            number, backend = picture.random.randrange(len(picture.services)), picture.random.randrange(10)
            dead = picture.services[number]["backends"][backend]["state"] == "dead"
            replay.send("services", picture.revive(number, backend) if dead else picture.kill(number, backend))
            told = picture.services[number]
            about = {"service": told["service"], "backend": told["backends"][backend]["address"]}
            replay.log("up again" if dead else "dead", outcome="up" if dead else "dead", **about)
        if picture.logged % 50 == 0:
            replay.send("overview", picture.overview())
        replay.tick()
        time.sleep(INTERVAL)


def _spread(taken: list[float]) -> dict[str, float | int]:
    return {"worst": max(taken), "samples": len(taken)}
