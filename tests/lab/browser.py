"""A Chromium without a window, driven by its DevTools protocol over two pipes: no port, and no driver of its own.

    with Browser() as browser:                    or Browser(namespace): in a network namespace
        page = browser.page(width=1280, height=800)
        page.open("http://127.0.0.1:9090/")
        page.wait("the table to fill", "document.querySelectorAll('.backend').length > 2")
        page.press("/"); page.write("state:dead")
        page.problems                             what its console, its policies and its scripts complained of

The protocol is Chromium's own, the Chrome DevTools Protocol; over pipes, its messages are JSON, each ended by a NUL.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswerError
from pathlib import Path
from typing import Any

from tests.lab.namespace import LabError, Namespace
from tests.lab.patience import wait_for
from tests.lab.standing import Standing

PROGRAM = "chromium"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--disable-default-apps", "--no-default-browser-check", "--hide-scrollbars", "--mute-audio"),
    "--no-proxy-server",
)
# The protocol's pipes are the file descriptors 3 (to the browser) and 4 (from it).
LAUNCHER = """
import os, sys
out, back = int(sys.argv[1]), int(sys.argv[2])
os.dup2(out, 40), os.dup2(back, 41)
os.dup2(40, 3), os.dup2(41, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
ANSWER_WITHIN = 30.0
"""Seconds for an answer of the browser."""
KEYS = {
    "Enter": (13, "\r"),
    "Tab": (9, ""),
    "Escape": (27, ""),
    "PageUp": (33, ""),
    "PageDown": (34, ""),
    "End": (35, ""),
    "Home": (36, ""),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
    " ": (32, " "),
}
# Runs in every page before its own scripts: violations of its policy are also events of the document.
WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) =>
  window.violations.push(event.violatedDirective + ' ' + event.blockedURI));
"""

BOX = """(() => {
  const one = document.querySelector(%s);
  if (!one || !one.getClientRects().length) return null;
  one.scrollIntoView({ block: 'nearest' });
  const box = one.getBoundingClientRect();
  return [box.left, box.top, box.width, box.height];
})()"""


def missing() -> str:
    """Return what is missing to run a browser, in words; empty where nothing is."""
    return "" if shutil.which(PROGRAM) else f"there is no {PROGRAM} (sh tests/setup.sh browser)"


class Browser(Standing):
    """One browser with a profile of its own, which is gone afterwards."""

    def __init__(self, namespace: Namespace | None = None) -> None:
        self._namespace = namespace
        self._profile = tempfile.mkdtemp(prefix="vc5-browser-")
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._out = -1

    def stand(self) -> None:
        """Start, and wait until it answers. Raises LabError where there is no browser."""
        if missing():
            raise LabError(missing())
        theirs_in, self._out = os.pipe()
        back, theirs_out = os.pipe()
        command = [sys.executable, "-c", LAUNCHER, str(theirs_in), str(theirs_out), PROGRAM, *FLAGS]
        command += ["--remote-debugging-pipe", f"--user-data-dir={self._profile}", "about:blank"]
        with open(Path(self._profile, "errors"), "wb") as errors:
            self._process = subprocess.Popen(
                self._namespace.command(*command) if self._namespace else command,
                pass_fds=(theirs_in, theirs_out),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
                env={**os.environ, "HOME": self._profile},
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self._thread = threading.Thread(target=self._read, args=(back,), name="browser", daemon=True)
        self._thread.start()
        self.call("Browser.getVersion")

    def close(self) -> None:
        """End the browser and all of its processes."""
        if self._process:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._process.wait()
        if self._thread:
            os.close(self._out)
            self._thread.join()
        # Processes of a killed browser may still write there for a moment.
        wait_for("the profile to be gone", self._remove)

    def _remove(self) -> bool:
        shutil.rmtree(self._profile, ignore_errors=True)
        return not os.path.exists(self._profile)

    @property
    def processes(self) -> int:
        """The process id of the browser, which leads the group of all of its processes."""
        assert self._process
        return self._process.pid

    def page(self, width: int = 1280, height: int = 800, *, dark: bool = False, phone: bool = False) -> Page:
        """Return a new page of a size in CSS pixels; a phone has touch, and three points to a pixel."""
        target = self.call("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session, target)
        page.prepare(width, height, dark=dark, phone=phone)
        return page

    def call(self, method: str, /, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result. Raises LabError for an error, or where no answer comes."""
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            self._number += 1
            number = self._number
            self._waiting[number] = answer
            message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
            if session:
                message["sessionId"] = session
            try:
                _write(self._out, json.dumps(message).encode() + b"\0")
            except OSError as error:
                raise LabError(f"{method}: the browser has ended ({error})\n{self.errors}") from None
        try:
            found = answer.result(ANSWER_WITHIN)
        except NoAnswerError:
            raise LabError(f"{method}: no answer from the browser\n{self.errors}") from None
        if "error" in found:
            raise LabError(f"{method}: {found['error'].get('message')}")
        result: dict[str, Any] = found["result"]
        return result

    @property
    def errors(self) -> str:
        """What the browser said on standard error, the end of it."""
        return Path(self._profile, "errors").read_text(errors="replace")[-2000:]

    def _read(self, source: int) -> None:
        with os.fdopen(source, "rb") as stream:
            kept = b""
            while piece := stream.read1(1 << 20):
                *whole, kept = (kept + piece).split(b"\0")
                for message in whole:
                    self._take(json.loads(message))
        ended = {"error": {"message": "the browser has ended"}}
        for waiting in list(self._waiting.values()):
            waiting.set_result(ended)

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._waiting.pop(message["id"]).set_result(message)
        elif page := self._pages.get(message.get("sessionId", "")):
            page.event(message["method"], message["params"])


class Page:
    """One page. Expressions are JavaScript; promises are awaited, and what comes back is JSON."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target
        self.problems: list[str] = []
        """Errors and warnings in the console, exceptions, failed requests, violations of the policy."""

    def prepare(self, width: int, height: int, *, dark: bool, phone: bool) -> None:
        """Say what the page is to look like, and listen."""
        for domain in ("Page", "Runtime", "Log", "Network", "Performance"):
            self.call(f"{domain}.enable")
        self.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=3 if phone else 1,
            mobile=phone,
        )
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.colours("dark" if dark else "light")

    def colours(self, scheme: str) -> None:
        """Have the system prefer `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol to this page."""
        return self._browser.call(method, session=self._session, **parameters)

    def event(self, method: str, about: dict[str, Any]) -> None:
        """Take down what is a complaint."""
        if method == "Runtime.exceptionThrown":
            details = about["exceptionDetails"]
            said = details.get("exception", {}).get("description") or details.get("text")
            self.problems.append(f"exception: {said}")
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            said = " ".join(str(one.get("value", one.get("description"))) for one in about["args"])
            self.problems.append(f"console.{about['type']}: {said}")
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            entry = about["entry"]
            self.problems.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}".strip())

    def open(self, address: str) -> None:
        """Go there; returns when the browser has begun to."""
        found = self.call("Page.navigate", url=address)
        if found.get("errorText"):
            raise LabError(f"{address}: {found['errorText']}")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression. Raises LabError where it throws."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if details := found.get("exceptionDetails"):
            raise LabError(f"{expression}: {details.get('exception', {}).get('description') or details['text']}")
        return found["result"].get("value")

    def wait(self, what: str, expression: str, seconds: float = 15.0) -> Any:
        """Wait until an expression is true, and return its value. Raises LabError with what the page complained of."""
        try:
            return wait_for(what, self._look(expression), seconds)
        except LabError as error:
            raise LabError(f"{error}\n" + "\n".join(self.problems)) from None

    def _look(self, expression: str) -> Callable[[], Any]:
        def look() -> Any:
            time.sleep(0.03)  # each look is work for the page that is looked at
            return self.evaluate(f"(() => {{ try {{ return {expression} }} catch {{ return null }} }})()")

        return look

    def text(self, selector: str) -> str:
        """Return the text of the first element that matches, as it is to be seen."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements that match."""
        found: list[str] = self.evaluate(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.innerText)"
        )
        return found

    def click(self, selector: str, across: float = 0.5, below: float = 0.5) -> None:
        """Press the mouse on an element, in its middle or elsewhere, in shares of its width and height."""
        x, y = self._point(selector, across, below)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def hover(self, selector: str, across: float = 0.5, below: float = 0.5) -> None:
        """Move the mouse over an element."""
        x, y = self._point(selector, across, below)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def _point(self, selector: str, across: float, below: float) -> tuple[float, float]:
        """Return where that is, once it is there."""
        box = self.wait(f"{selector} to point at", BOX % json.dumps(selector))
        return box[0] + box[2] * across, box[1] + box[3] * below

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key: a character, or a name such as `Enter`."""
        code, said = KEYS.get(key, (ord(key.upper()[0]), key))
        about = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown" if said else "rawKeyDown", **about, text=said)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def write(self, text: str) -> None:
        """Put a text where the focus is."""
        self.call("Input.insertText", text=text)

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        """Write what is to be seen as PNG; `whole`: all that can be scrolled to."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(found["data"]))

    def metrics(self) -> dict[str, float]:
        """Return the browser's counters of this page; durations are in seconds since it was opened."""
        return {one["name"]: one["value"] for one in self.call("Performance.getMetrics")["metrics"]}

    def violations(self) -> list[str]:
        """Return what the page's policy has refused."""
        found: list[str] = self.evaluate("window.violations")
        return found

    def close(self) -> None:
        """Close the page."""
        self._browser.call("Target.closeTarget", targetId=self._target)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
