"""`vc5 block` and `vc5 prefixes` with real clients: who is shut out and who is not, whatever happens to the daemon."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.lab.addresses import CLIENT_ADDRESSES, VIP
from tests.lab.daemon import Daemon
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.lab.traffic import LongFlows
from tests.netns.scenario_operator import assert_refused, configuration, events, prepared, wait_states

pytestmark = [pytest.mark.root, pytest.mark.slow]

ECHO = f"{VIP}:7000/tcp"
GOOD, BAD = CLIENT_ADDRESSES[:2]
FLOODER = "192.0.2.66"
FLOOD = 64_000
TEXT = configuration(port="7000/tcp")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(backends=2) as standing:
        yield standing


@pytest.fixture
def daemon(lab: Lab) -> Iterator[Daemon]:
    with prepared(lab, "block", TEXT) as standing:
        standing.start()
        wait_states(standing, ECHO, b11="available", b12="available")
        yield standing


def frames(flows: LongFlows) -> int:
    """Return how many frames all flows have exchanged."""
    return sum(flow.frames for flow in flows.status().flows)


def talk(flows: LongFlows) -> None:
    """Wait until the flows have exchanged a few frames each, on the average."""
    before = frames(flows)
    wait_for("the flows to talk", lambda: frames(flows) >= before + 60, 60.0)


def _flood(source: str, count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        for _ in range(count):
            sender.sendto(b"x", (str(VIP), 9))


def dropped(daemon: Daemon) -> int:
    number: int = daemon.ask("block", "list")["dropped"]
    return number


def silent(lab: Lab, daemon: Daemon, bad: LongFlows, good: LongFlows) -> None:
    """Assert that one client gets nothing any more while the other goes on."""
    before = dropped(daemon)

    def dropping() -> bool:
        lab.client.call(lambda: _flood(str(BAD), 1))
        return dropped(daemon) > before

    wait_for("packets to be dropped", dropping)
    then = frames(bad)
    talk(good)
    assert frames(bad) == then


def test_one_client_is_shut_out_and_the_others_live(lab: Lab, daemon: Daemon) -> None:
    with (
        LongFlows(lab.client, busy=20, idle=2, interval=0.05, sources=[GOOD]) as good,
        LongFlows(lab.client, busy=20, idle=2, interval=0.05, sources=[BAD], patience=60.0) as bad,
    ):
        talk(bad)
        done = daemon.vc5("block", "add", str(BAD), "--for", "1h", "--note", "rude")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{BAD}/32 is blocked until" in done.stdout
        silent(lab, daemon, bad, good)
        story = daemon.vc5("explain", "--flow", f"tcp {BAD}:4242 {VIP}:7000").stdout
        assert "verdict   drop: " in story
        assert f"{BAD}/32 is blocked (operator uid 0" in story
        assert daemon.ask("explain", "--flow", f"tcp {GOOD}:4242 {VIP}:7000")["verdict"] == "tx"

        daemon.kill9()
        talk(good)
        daemon.start()
        silent(lab, daemon, bad, good)
        assert daemon.reload(TEXT.replace("rise: 1", "rise: 2")).returncode == 0
        silent(lab, daemon, bad, good)
        [entry] = daemon.ask("block", "list")["operator"]
        assert (entry["prefix"], entry["note"]) == (f"{BAD}/32", "rude")

        assert daemon.vc5("block", "remove", str(BAD)).returncode == 0
        talk(bad)
        for flows in (good, bad):
            assert flows.stop().broken == []
    said = [event["message"] for event in events(daemon, "operator")]
    assert [message.partition(",")[0].partition(" until")[0] for message in said] == [
        f"block {BAD}/32",
        f"unblock {BAD}/32",
    ]


def test_the_configuration_blocks_and_a_time_ends(lab: Lab, daemon: Daemon) -> None:
    with LongFlows(lab.client, busy=20, idle=0, interval=0.05, sources=[GOOD]) as good:
        bad = LongFlows(lab.client, busy=20, idle=0, interval=0.05, sources=[BAD], patience=60.0)
        with bad:
            assert daemon.reload(TEXT + f"block: [{BAD}/32, 2001:db8:bad::/48]\n").returncode == 0
            silent(lab, daemon, bad, good)
            assert_refused(daemon.vc5("block", "remove", str(BAD)), 1, "blocked by the configuration", "reload")
            assert daemon.reload(TEXT).returncode == 0
            talk(bad)
            assert daemon.vc5("block", "add", str(BAD), "--for", "2s").returncode == 0
            wait_for("the block to end", lambda: daemon.ask("block", "list")["operator"] == [])
            talk(bad)
            assert bad.stop().broken == []
        assert good.stop().broken == []


REFUSED = {
    ("add", "0.0.0.0/0"): (1, "every IPv4 address"),
    ("add", "::/0"): (1, "every IPv6 address"),
    ("add", "198.51.100.7/24"): (1, "write 198.51.100.0/24"),
    ("add", "nonsense"): (1, "'nonsense/32': is not an IPv4 or IPv6 prefix"),
    ("add", "198.51.100.0/24", "--for", "soon"): (1, "for 'soon'"),
    ("add", "198.51.100.0/24", "--note", "x" * 300): (1, "note"),
    ("remove", "198.51.100.0/24"): (1, "198.51.100.0/24 is not blocked"),
    ("remove",): (2, "say which prefix to remove"),
    ("list", "198.51.100.0/24"): (2, "takes no prefix"),
    ("remove", "198.51.100.0/24", "--force"): (2, "go with `add`"),
}


def test_what_is_refused_and_what_is_warned_of(daemon: Daemon) -> None:
    for line, (status, says) in REFUSED.items():
        assert_refused(daemon.vc5("block", *line), status, says)
    assert daemon.ask("block", "list")["operator"] == []
    done = daemon.vc5("block", "add", "10.1.10.0/28")
    assert done.returncode == 0
    for covered in ("10.1.10.5 of eth0", "the backend 10.1.10.11", "the backend 10.1.10.12"):
        assert covered in done.stderr
    assert daemon.vc5("block", "add", "::/0", "--force").returncode == 0
    # Answers to probes come from VIPs, and are for the balancer: they are not dropped.
    wait_states(daemon, ECHO, b11="available", b12="available")
    assert_refused(daemon.vc5("prefixes"), 1, "count_prefixes: yes")


def test_prefixes_shows_the_attacker_first(lab: Lab, daemon: Daemon) -> None:
    lab.client.run("ip", "address", "add", f"{FLOODER}/32", "dev", "eth0")
    assert daemon.reload(TEXT + "count_prefixes: yes\n").returncode == 0
    with LongFlows(lab.client, busy=20, idle=0, interval=0.05, sources=[GOOD]) as good:
        talk(good)
        before = daemon.ask("prefixes", "--top", "5")
        assert "192.0.0.0/20" not in [row["prefix"] for row in before["top"]]
        lab.client.call(lambda: _flood(FLOODER, FLOOD))
        wait_for("the flood", lambda: daemon.status()["reasons"].get("unknown-port", 0) >= FLOOD * 0.9)
        found = daemon.ask("prefixes", "--top", "5")
        assert found["top"][0]["prefix"] == "192.0.0.0/20"
        assert {row["prefix"] for row in found["top"]} <= {"192.0.0.0/20", "198.51.96.0/20"}
        assert 0.8 * FLOOD <= found["top"][0]["packets"] <= 1.2 * FLOOD
        every = daemon.ask("prefixes")
        assert len(every) == 1 << 20
        assert every[0xC0000] == found["top"][0]["packets"]
        text = daemon.vc5("prefixes").stdout
        assert "vc5 block add 192.0.0.0/20" in text
        assert daemon.vc5("block", "add", "192.0.2.0/24").returncode == 0
        # Who sends most now comes first: the attacker need not, once the flood is over.
        blocked = {row["prefix"]: row["blocked"] for row in daemon.ask("prefixes", "--top", "5")["top"]}
        assert blocked["192.0.0.0/20"] == "partly"
        talk(good)
        assert good.stop().broken == []
