"""`vc5 bgp` as a user meets it: what is asked of the daemon, and the text at two widths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import paths
from appliance.cli import bgp_view
from appliance.cli.main import main
from appliance.cli.tables import Screen, width
from appliance.control.socket import Request
from appliance.model import Event, EventKind
from appliance.paths import Root
from appliance.routing.status import RoutingStatus
from appliance.telemetry.routing import bgp_details
from appliance.telemetry.spool import Spool
from tests.profile import EXAMPLES
from tests.unit.cli.samples import BODY
from tests.unit.control.running import running
from tests.unit.routing.samples import INSIDE, NOW, REFUSED, ROUTING, WAITED_FOR, WELL

GOLDEN = Path(__file__).parent / "golden"
FULL = ROUTING.as_json(routes=True)
SHORT = ROUTING.as_json()


def texts(columns: int) -> str:
    """Return all that `vc5 bgp` can say of the sample, one view below the other."""
    to = Screen(columns)
    views = [bgp_view.listing(SHORT, NOW, to), bgp_view.listing(FULL, NOW, to, routes=True)]
    views += [bgp_view.detail(FULL, peer, NOW, to) for peer in bgp_view.peers_of(FULL)]
    rule = "-" * columns
    return "".join(f"{line}\n" for view in views for line in (*view, rule))


@pytest.mark.parametrize("columns", [80, 140])
def test_the_sample_looks_as_agreed(columns: int) -> None:
    text = texts(columns)
    assert text == GOLDEN.joinpath(f"bgp_{columns}.txt").read_text(encoding="utf-8")
    # A terminal wraps an error's words by itself; all else fits.
    long = [line for line in text.splitlines() if width(line) > columns]
    assert all("OPEN Message Error" in line or ": ended " in line for line in long)
    assert "\x1b" not in text


def test_what_is_wrong_stands_out() -> None:
    lines = bgp_view.listing(SHORT, NOW, Screen(140, colour=True))
    assert "\x1b[33mBGP: 2 of 4 peers established\x1b[0m" in lines[1]
    assert lines[4].startswith("10.1.10.253 ")
    assert "\x1b[1;31midle\x1b[0m" in lines[4]
    assert "\x1b[32mestablished\x1b[0m" in lines[6]
    assert "\x1b[1;31mdown\x1b[0m" in lines[7]


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (RoutingStatus("10.1.10.5"), None),
        (RoutingStatus("10.1.10.5", (WELL,)), "BGP: 1 of 1 peers established, 2 routes; BFD 1 up"),
        (RoutingStatus("10.1.10.5", (WAITED_FOR,)), "BGP: 0 of 1 peers established, 0 routes"),
        (
            RoutingStatus("10.1.10.5", (WELL, INSIDE, REFUSED)),
            "BGP: 2 of 3 peers established, 2 routes, 1 pending; BFD 1 of 2 up",
        ),
        (
            RoutingStatus("10.1.10.5", (WAITED_FOR,), learning=12.34),
            "BGP: 0 of 1 peers established, 0 routes; nothing is announced for another 12.3s",
        ),
    ],
)
def test_the_line_of_the_status(status: RoutingStatus, line: str | None) -> None:
    assert list(bgp_view.summary(status.as_json(), Screen())) == ([line] if line else [])


DRAINED = "this node is DRAINED, by uid 0 (ann) since 2001-09-09"


def test_a_drained_node_says_so_first() -> None:
    body = {**SHORT, "drained": {"who": "uid 0 (ann)", "since": 1e9}}
    for lines in (list(bgp_view.summary(body, Screen())), bgp_view.listing(body, NOW, Screen())[1:]):
        assert lines[0].startswith(DRAINED)
        assert lines[0].endswith("all its routes are last resorts (`vc5 undrain --all`)")
        assert lines[1].startswith("BGP: ")
    found = {"who": "ann", "packets_per_second": 1234.5, "packets_per_second_calm": 20.0}
    for stage, words in (
        ("demoted", "all its routes are last resorts, 1.23k packets/s still come (withdrawn at 20) ("),
        ("withdrawn", "its routes are withdrawn, 1.23k packets/s still come ("),
        ("detached", "its routes are withdrawn, and the program is detached from the interfaces ("),
    ):
        assert words in next(bgp_view.summary({**SHORT, "drained": {**found, "stage": stage}}, Screen()))
    alone = {**body, "peers": []}
    [said] = bgp_view.summary(alone, Screen())
    assert said.startswith(DRAINED)
    assert "no router is configured that could be told" in said
    assert bgp_view.listing(alone, NOW, Screen()) == [said, "no BGP peers are configured (`bgp`)"]
    assert list(bgp_view.summary({**alone, "drained": 7}, Screen())) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SHORT["peers"][0], "x"]), inner),
    max_leaves=8,
)


@settings(max_examples=EXAMPLES)
@given(st.dictionaries(st.sampled_from(sorted(FULL["peers"][0])), JSON), st.sampled_from(FULL["peers"]))
def test_what_another_version_says_is_no_traceback(other: dict[str, Any], peer: dict[str, Any]) -> None:
    body = {**FULL, "peers": [{**peer, **other}]}
    to = Screen(80, colour=True)
    for lines in (bgp_view.listing(body, NOW, to, routes=True), bgp_view.detail(body, body["peers"][0], NOW, to)):
        assert all("\x1b[2J" not in line for line in lines)
    list(bgp_view.summary(other, to))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """Return a root that the commands of the test find through VC5_ROOT."""
    monkeypatch.setenv("VC5_ROOT", str(tmp_path))
    return paths.root(str(tmp_path))


ASKED: list[Any] = []


async def bgp(request: Request) -> Any:
    """Answer as the daemon does."""
    ASKED.append(dict(request.arguments))
    peers = [peer for peer in ROUTING.peers if request.arguments.get("peer") in (None, str(peer.address))]
    status = RoutingStatus(ROUTING.router_id, tuple(peers), listening=True)
    return status.as_json(routes="peer" in request.arguments or request.arguments.get("routes", False))


async def status(_: Request) -> Any:
    """Answer with the sample."""
    return {**BODY, "bgp": SHORT}


@pytest.fixture(autouse=True)
def daemon(root: Root) -> Iterator[None]:
    ASKED.clear()
    with running(root.control_socket, {"bgp": bgp, "status": status}):
        yield


@pytest.mark.parametrize(
    ("words", "asked", "said"),
    [
        ([], {}, "BGP: 2 of 4 peers established"),
        (["--routes"], {"routes": True}, "down: 0 of 1 backends are up"),
        (["10.1.10.252"], {"peer": "10.1.10.252"}, "capability 131 (01)"),
        (["2001:DB8:10:0::252"], {"peer": "2001:db8:10::252"}, "control detection time expired"),
    ],
)
def test_what_is_asked_and_said(
    words: list[str], asked: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bgp", *words]) == 0
    assert [asked] == ASKED
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--routes"], ["10.1.10.253"]])
def test_in_json(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bgp", "--json", *words]) == 0
    body = json.loads(capsys.readouterr().out)
    expected = FULL if words else SHORT
    addresses = ["10.1.10.253"] if words == ["10.1.10.253"] else [peer["address"] for peer in SHORT["peers"]]
    assert body["peers"] == [peer for peer in expected["peers"] if peer["address"] in addresses]


@pytest.mark.parametrize(
    ("words", "exit_status", "said"),
    [
        (["10.9.9.9"], 1, "10.9.9.9: no peer of the running configuration"),
        (["core"], 2, "'core' is no address of a peer"),
        (["10.1.10.252", "10.1.10.253"], 2, "one word too many"),
        (["--pcap", "f"], 2, "--pcap and --seconds go with `capture`"),
        (["10.1.10.252", "--seconds", "1"], 2, "--pcap and --seconds go with `capture`"),
        (["capture", "core"], 2, "'core' is no address of a peer"),
        (["capture", "--seconds", "-1"], 2, "write a number of seconds"),
        (["capture", "--seconds", "nan"], 2, "write a number of seconds"),
        (["capture", "--routes"], 2, "--routes does not go with `capture`"),
        (["capture", "--pcap", "f", "--json"], 2, "choose one of the two"),
        (["capture"], 1, "the daemon knows no verb 'bgp-capture'"),
    ],
)
def test_what_is_wrong_is_said(
    words: list[str], exit_status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bgp", *words]) == exit_status
    assert said in capsys.readouterr().err


def test_the_status_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    assert "BGP: 2 of 4 peers established, 2 routes, 1 pending; BFD 1 of 2 up\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kind", "bgp"], ["refused", "established"]),
        (["--kind", "bfd"], ["up"]),
        (["--peer", "10.1.10.252"], ["established", "up"]),
        (["--outcome", "refused"], ["refused"]),
        (["--peer", "10.1.10.9"], []),
    ],
)
def test_the_log_of_routers(words: list[str], said: list[str], root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    spool = Spool(root.log)
    for at, kind, peer, outcome in (
        (1.0, EventKind.BGP, REFUSED, "refused"),
        (2.0, EventKind.BGP, WELL, "established"),
        (3.0, EventKind.BFD, WELL, "up"),
    ):
        details = bgp_details(peer, peer.last_error)
        spool.append(Event(at, kind, f"is {outcome}", peer=peer.address, outcome=outcome, details=details))
    spool.append(Event(4.0, EventKind.DAEMON, "started"))
    spool.close()
    assert main(["log", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-2] for line in lines] == said
    assert main(["log", *words, "--json"]) == 0
    for text in capsys.readouterr().out.splitlines():
        found = json.loads(text)
        assert ("hex" in found["details"]) == (found["outcome"] == "refused")
    assert all("10.1.10.25" in line for line in lines)
