"""`vc5 balance` with real traffic: it serves, changes break nothing, mistakes cost nothing, nothing is left behind."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import pytest

from appliance.balancer.unchecked import nameless
from tests.lab.backend import REPOSITORY
from tests.lab.daemon import PROGRAM
from tests.lab.debris import leftovers_of
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.traffic import LongFlows, Requests

pytestmark = [pytest.mark.root, pytest.mark.slow]

VIP = "203.0.113.10"
REQUESTS = 120


class Session:
    """One `vc5 balance`, spoken to line by line in JSON."""

    def __init__(self, lab: Lab, *words: str, port: int = 80) -> None:
        """Start it; it answers the first line when it balances."""
        self._process = lab.balancer.spawn(
            *(*PROGRAM, "balance", "--json", "eth0", f"{VIP}:{port}", *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            directory=REPOSITORY,
        )

    def ask(self, line: str) -> Any:
        """Say a line and return the answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def rows(self, line: str) -> dict[str, dict[str, Any]]:
        """Ask for a table and return its rows by backend."""
        return {row["backend"]: row for row in self.ask(line)}

    def wait_state(self, address: object, state: str) -> None:
        """Wait until a backend is in a state."""
        wait_for(f"{address} {state}", lambda: self.rows("list")[str(address)]["state"] == state)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """End its standard input, if it has not ended; return the exit status and what it wrote to standard error."""
        _, errors = self._process.communicate(timeout=20)
        return self._process.returncode, errors

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def traces(lab: Lab) -> list[str]:
    """What a balancer could have left: a program on the interface, pins, a namespace."""
    link = json.loads(lab.balancer.run("ip", "-json", "link", "show", "dev", "eth0"))[0]
    found = ["a program on eth0"] if "xdp" in link else []
    return found + leftovers_of(lab.balancer.call(lambda: nameless(("eth0",))))


def serve(lab: Lab, count: int = REQUESTS) -> dict[str, int]:
    """Make requests, of which none may fail, and return how many each backend served."""
    with Requests(lab.client, count=count, rate=300) as requests:
        report = requests.finish()
    assert [request.failure for request in report.failed] == []
    return dict(report.backends())


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(backends=3) as standing:
        yield standing


def addresses(lab: Lab) -> list[str]:
    """The addresses of b1, b2, b3."""
    return [str(backend.address) for backend in lab.backends.values()]


def test_a_pool_changes_and_no_connection_breaks(lab: Lab) -> None:
    b1, b2, b3 = addresses(lab)
    with Session(lab, b1, b2, port=7000) as session:
        assert session.rows("list").keys() == {b1, b2}
        with LongFlows(lab.client, busy=60, idle=20) as flows:
            assert [flow for flow in flows.opened.flows if flow.state != "open"] == []
            assert flows.opened.by_backend().keys() == {"b1", "b2"}
            assert session.ask(f"add {b3} 2") == []
            session.wait_state(b3, "available")
            assert flows.more(40).by_backend().keys() == {"b1", "b2", "b3"}
            assert session.ask(f"weight {b1} 0") == []
            assert session.ask(f"remove {b2}") == []
            table = session.rows("list")
            assert {name: row["state"] for name, row in table.items()} == {
                b1: "draining",
                b2: "removed",
                b3: "available",
            }
            assert [row["share"] for row in table.values()] == [0, 0, 1]
            owned = {name: len(own) for name, own in flows.status().by_backend().items()}
            after = {name: len(own) for name, own in flows.more(20).by_backend().items()}
            assert after == owned | {"b3": owned["b3"] + 20}
            assert session.ask(f"weight {b1} 5") == []
            assert session.ask(f"add {b2}") == []
            report = flows.stop()
            assert report.broken == []
            assert len(report.flows) == 140
        stats = session.rows("stats")
        for name in ("packets", "octets", "flows", "drops"):
            assert sum(stats[backend][name] for backend in (b1, b2, b3)) == stats["all"][name]
        assert stats["all"]["flows"] >= 140
        assert stats["all"]["drops"] == 0
        status, errors = session.end()
        assert (status, errors.count("\n")) == (0, 1), errors
    assert traces(lab) == []


def test_requests_are_served_and_counted(lab: Lab) -> None:
    b1, b2, b3 = addresses(lab)
    with Session(lab, b1, f"{b2}=3") as session:
        shares = [row["share"] for row in session.ask("list")]
        assert shares == pytest.approx([0.25, 0.75], abs=0.01)
        served = serve(lab)
        assert served.keys() == {"b1", "b2"}
        stats = session.rows("stats")
        assert [stats[b1]["flows"], stats[b2]["flows"]] == [served["b1"], served["b2"]]
        assert session.ask(f"remove {b2} cut") == []
        assert session.rows("list").keys() == {b1}
        assert serve(lab) == {"b1": REQUESTS}
        assert session.ask(f"remove {b1} cut") == []
        assert session.ask("list") == []
        assert session.ask(f"add {b3}") == []
        session.wait_state(b3, "available")
        assert serve(lab) == {"b3": REQUESTS}


def test_malformed_lines_are_refused_and_it_goes_on(lab: Lab) -> None:
    b1, b2, b3 = addresses(lab)
    lines = {
        "dance": "'dance' is no command",
        "add": "'add' is no command",
        "add shop": "'shop' does not appear to be an IPv4 or IPv6 address",
        f"add {b1}": f"has a backend {b1} already; update it",
        f"add {b2} 101": "weight 101 is not a whole number from 0 to 100",
        "add 127.0.0.1": "is a loopback address",
        f"weight {b3} 1": f"has no backend {b3}; it has: {b1}",
        f"remove {b3}": f"has no backend {b3}",
        f"remove {b3} cut": f"has no backend {b3}",
        "\x1b[2J\u00e9" + "x" * 20000: "is no command",
    }
    with Session(lab, b1) as session:
        for line, text in lines.items():
            answer = session.ask(line)
            assert text in answer["error"], line
            while len(line) > 8192 and answer != []:  # one that is too long is several
                line = ""
                answer = session.ask("")
        assert session.rows("list").keys() == {b1}
        assert serve(lab, 20) == {"b1": 20}
        status, errors = session.end()
    assert status == 0
    assert "Traceback" not in errors
    assert "\x1b" not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly(lab: Lab, number: signal.Signals) -> None:
    with Session(lab, addresses(lab)[0]) as session:
        session.ask("list")
        session.signal(number)
        status, errors = session.end()
    assert (status, errors.count("\n")) == (0, 1), errors
    assert traces(lab) == []


def test_killed_it_leaves_nothing_and_can_start_again(lab: Lab) -> None:
    b1, b2, _ = addresses(lab)
    with Session(lab, b1) as first:
        first.ask("list")
        assert traces(lab) == ["a program on eth0"]
        with Session(lab, b2) as second:
            status, errors = second.end()
            assert status == 1
            assert errors.startswith("vc5: attach XDP to eth0: Device or resource busy [EBUSY] (XDP program ")
            assert "Traceback" not in errors
        assert serve(lab, 20) == {"b1": 20}
        first.signal(signal.SIGKILL)
        first.end()
    wait_for("the kernel to let go", lambda: not traces(lab))
    with Session(lab, b2) as again:
        again.ask("list")
        assert serve(lab, 20) == {"b2": 20}


WRONG = [
    (("balance", "eth9", VIP), (), "vc5: interface eth9 does not exist in this network namespace"),
    (("balance", "eth0", "127.0.0.1"), (), "the VIP: 127.0.0.1 is a loopback address"),
    (("balance", "eth0", VIP, VIP), (), f"backend {VIP} is the VIP itself"),
    (
        ("balance", "eth0", VIP, "10.1.10.11"),
        ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"),
        "vc5: this process lacks CAP_NET_ADMIN; run vc5 as root",
    ),
]


@pytest.mark.parametrize(("words", "before", "text"), WRONG, ids=[row[2] for row in WRONG])
def test_it_says_why_it_cannot_start(lab: Lab, words: tuple[str, ...], before: tuple[str, ...], text: str) -> None:
    process = lab.balancer.spawn(
        *(*before, *PROGRAM, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, directory=REPOSITORY
    )
    printed, errors = process.communicate(timeout=20)
    assert (process.returncode, printed) == (1, "")
    assert text in errors
    assert errors.count("\n") == 1


def test_the_table_for_people(lab: Lab) -> None:
    b1, b2, _ = addresses(lab)
    done = subprocess.run(
        lab.balancer.command(*PROGRAM, "balance", "eth0", f"{VIP}:7000/udp", b1, f"{b2}=0"),
        input="list\nstats",
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=20,
    )
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "backend     weight  state      share  mac",
        "10.1.10.11       1  available    1.0  02:00:0a:01:0a:0b",
        "10.1.10.12       0  draining     0.0  02:00:0a:01:0a:0c",
        "backend     packets  octets  flows  drops",
        "10.1.10.11        0       0      0      0",
        "10.1.10.12        0       0      0      0",
        "all               0       0      0      0",
    ]
