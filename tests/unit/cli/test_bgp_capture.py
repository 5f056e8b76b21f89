"""`vc5 bgp capture`, with the daemon's own end of it: text, JSON, and a file that scapy reads."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.utils import rdpcap

from appliance import paths
from appliance.cli.main import main
from appliance.control import capturing
from appliance.control.capturing import Capturing
from appliance.control.socket import Peer, Request
from appliance.errors import ControlError
from appliance.paths import Root
from appliance.routing.status import Direction
from tests.unit.control.running import running
from tests.unit.house.tree import ROOT
from tests.unit.routing.samples import ROUTING

ROUTER, OTHER = ip_address("10.1.10.252"), ip_address("2001:db8:10::252")
KEEPALIVE = bytes.fromhex("ff" * 16 + "001304")
CEASE = bytes.fromhex("ff" * 16 + "0015030602")
TALK = (
    (ROUTER, Direction.SENT, KEEPALIVE),
    (OTHER, Direction.RECEIVED, CEASE),
    (ROUTER, Direction.RECEIVED, KEEPALIVE),
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """Return a root that the commands of the test find through VC5_ROOT."""
    monkeypatch.setenv("VC5_ROOT", str(tmp_path))
    return paths.root(str(tmp_path))


@pytest.fixture(autouse=True)
def daemon(root: Root) -> Iterator[None]:
    """Answer as the daemon does; once somebody listens, there is some talk."""
    kept = Capturing(lambda: [peer.address for peer in ROUTING.peers])

    async def capture(request: Request) -> Any:
        answer = await kept.answer(request)
        if request.arguments["after"] is None:
            for one in TALK:
                kept.take(*one)
        return answer

    async def bgp(_: Request) -> Any:
        return ROUTING.as_json()

    with running(root.control_socket, {"bgp": bgp, "bgp-capture": capture}):
        yield


def test_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bgp", "capture", "--seconds", "0.3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "sent to 10.1.10.252 KEEPALIVE",
        "received from 2001:db8:10::252 NOTIFICATION 6/2 cease, administrative shutdown",
        "received from 10.1.10.252 KEEPALIVE",
    ]


def test_of_one_peer_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bgp", "capture", "10.1.10.252", "--json", "--seconds", "0.3"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["peer"], one["direction"], one["hex"]) for one in found] == [
        (str(ROUTER), "sent", KEEPALIVE.hex()),
        (str(ROUTER), "received", KEEPALIVE.hex()),
    ]


def test_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bgp.pcap"
    assert main(["bgp", "capture", "10.1.10.252", "--pcap", str(file), "--seconds", "0.3"]) == 0
    packets = rdpcap(str(file))
    assert [(one[IP].src, one[IP].dst, bytes(one[TCP].payload)) for one in packets] == [
        ("10.1.10.5", "10.1.10.252", KEEPALIVE),
        ("10.1.10.252", "10.1.10.5", KEEPALIVE),
    ]
    assert main(["bgp", "capture", "--pcap", str(file)]) == 1
    assert "File exists" in capsys.readouterr().err
    assert len(rdpcap(str(file))) == 2


def test_in_a_pipe_until_it_is_interrupted(root: Root) -> None:
    # Whoever runs this in the background ignores interrupts, and so would a child.
    words = ["env", "--default-signal=INT", sys.executable, "-m", "appliance", "bgp", "capture", "--pcap", "-"]
    environment = {"VC5_ROOT": str(root.control_socket.parent.parent), "PATH": "/usr/bin", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout
        wanted = 24 + 2 * (16 + 40 + len(KEEPALIVE)) + 16 + 60 + len(CEASE)
        assert len(child.stdout.read(wanted)) == wanted
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=30) == (b"", b"")
    assert child.returncode == 0


class Impatient(io.StringIO):
    """A terminal at which somebody interrupts as soon as there is a word."""

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        raise KeyboardInterrupt


def test_interrupted_at_its_first_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Impatient())
    assert main(["bgp", "capture"]) == 0


def test_a_peer_that_there_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bgp.pcap"
    assert main(["bgp", "capture", "10.9.9.9", "--pcap", str(file)]) == 1
    assert "10.9.9.9: no peer of the running configuration" in capsys.readouterr().err
    assert not file.exists()


def ask(kept: Capturing, **arguments: Any) -> Any:
    """Return the answer to one question."""
    given = {"peer": None, "seconds": 0, "after": None, **arguments}
    return asyncio.run(kept.answer(Request("bgp-capture", given, Peer(1, 0, 0))))


ODD = [{"peer": 7}, {"peer": "x"}, {"seconds": "1"}, {"seconds": -1}, {"seconds": 1e9}, {"seconds": None}]


@pytest.mark.parametrize("odd", [*ODD, {"after": "1"}, {"after": True}, {"seconds": True}, {"after": 1.5}])
def test_a_question_that_makes_no_sense(odd: dict[str, Any]) -> None:
    with pytest.raises(ControlError):
        ask(Capturing(lambda: [ROUTER]), **odd)


def test_nothing_is_kept_while_nobody_listens() -> None:
    kept = Capturing(lambda: [ROUTER])
    kept.take(*TALK[0])
    begin = ask(kept)
    assert begin == {"messages": [], "after": 0, "lost": 0}
    kept.take(*TALK[0])
    assert [one["hex"] for one in ask(kept, after=0)["messages"]] == [KEEPALIVE.hex()]
    # After a restart numbers begin anew: whoever asks with an old one begins where the new daemon is.
    assert ask(kept, after=99) == {"messages": [], "after": 1, "lost": 0}


def test_what_there_is_no_room_for_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "MOST_OCTETS", 4 * len(KEEPALIVE))
    monkeypatch.setattr(capturing, "MOST_MESSAGES", 3)
    kept = Capturing(lambda: [ROUTER])
    assert ask(kept)["after"] == 0
    for _ in range(10):
        kept.take(ROUTER, Direction.SENT, KEEPALIVE)
    first = ask(kept, after=0)
    assert (len(first["messages"]), first["after"], first["lost"]) == (3, 9, 6)
    rest = ask(kept, after=9)
    assert (len(rest["messages"]), rest["after"], rest["lost"]) == (1, 10, 0)


def test_several_listen_at_once() -> None:
    async def listen() -> list[Any]:
        kept = Capturing(lambda: [ROUTER, OTHER])

        def question(**arguments: Any) -> Any:
            given = {"peer": None, "seconds": 5, "after": 0, **arguments}
            return asyncio.create_task(kept.answer(Request("bgp-capture", given, Peer(1, 0, 0))))

        both = [question(), question(peer=str(OTHER))]
        await asyncio.sleep(0)
        kept.take(*TALK[0])
        first = await both[0]
        kept.take(*TALK[1])
        return [first, await both[1]]

    everybody, one = asyncio.run(listen())
    assert [message["peer"] for message in everybody["messages"]] == [str(ROUTER)]
    assert [message["peer"] for message in one["messages"]] == [str(OTHER)]
    assert one["lost"] == 0
