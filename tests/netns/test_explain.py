"""`vc5 explain`: the contract of its answers, bad input, and the running daemon's answers against real connections."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from appliance import config
from appliance.cli.client import call
from appliance.cli.main import main
from appliance.control import explain as explaining
from appliance.control.described import read_host
from appliance.control.workbench import Workbench
from appliance.dataplane.enums import Reason
from appliance.dataplane.frame import Flow, build
from appliance.model import Protocol
from tests.lab.addresses import ECHO, VIP
from tests.lab.backend import REPOSITORY
from tests.lab.daemon import PROGRAM, Daemon
from tests.lab.topology import Lab
from tests.lab.traffic import LongFlows
from tests.netns.scenario_operator import ECHO_SERVICE, configuration, states, wait_states

pytestmark = pytest.mark.root

CONFIGURATION = """\
interfaces: nowhere0
hash_seed: 8d969eef6ecad3c29a3a629280e686cf
idle: 1s
services:
  - virtual: 203.0.113.10
    servers: [10.1.10.11, 10.1.10.12, 10.1.10.13]
    policy: {443/tcp: {checks: []}, 53/udp: {checks: []}}
"""
OTHER = CONFIGURATION.replace("10.1.10.13", "10.1.10.14")
WEB, DNS = "203.0.113.10:443/tcp", "203.0.113.10:53/udp"
MAC = bytes.fromhex("02000a010a05")
HOST: dict[str, Any] = {
    "interfaces": [{"name": "nowhere0", "mac": MAC.hex(":"), "addresses": ["10.1.10.5/24"], "vlan": None, "mtu": 1500}],
    "routes": [{"prefix": "0.0.0.0/0", "via": "10.1.10.1", "interface": "nowhere0", "vlan": None}],
    "neighbours": {f"10.1.10.{number}": f"02:00:0a:01:0a:{number:02x}" for number in (11, 12, 13, 14)},
}
FLOW = "tcp 198.51.100.7:4242 203.0.113.10:443"
FIELDS: dict[str, tuple[type, ...]] = {
    "verdict": (str,),
    "reason": (str,),
    "service": (str, type(None)),
    "backend": (str, type(None)),
    "slot": (int, type(None)),
    "tracked": (bool, type(None)),
    "now": (str, type(None)),
    "was": (str, type(None)),
    "remembered": (str, type(None)),
    "interface": (str, type(None)),
    "frame": (str,),
    "ns": (int,),
}

Explain = Callable[..., tuple[int, str, str]]


@pytest.fixture
def explain(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Explain:
    """Run `vc5 explain --config F --host H ...`; a text for `host` or `steps` becomes that file."""
    monkeypatch.chdir(tmp_path)
    Path("F.yaml").write_text(CONFIGURATION)
    Path("other.yaml").write_text(OTHER)

    def run(*argv: str, host: object = HOST, steps: object = None, file: str = "F.yaml") -> tuple[int, str, str]:
        Path("H.json").write_bytes(host if isinstance(host, bytes) else json.dumps(host).encode())
        words = ["explain", "--config", file, "--host", "H.json", *argv]
        if steps is not None:
            lines = [json.dumps(step) for step in steps] if isinstance(steps, list) else []
            Path("S.jsonl").write_bytes(steps if isinstance(steps, bytes) else "\n".join(lines).encode())
            words += ["--steps", "S.jsonl"]
        status = main(words)
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A workbench that many command lines share, because each would compile the same program."""
    place = tmp_path_factory.mktemp("bench")
    (place / "F.yaml").write_text(CONFIGURATION)
    (place / "H.json").write_text(json.dumps(HOST))
    loaded = config.load(place / "F.yaml").config
    with Workbench(loaded, read_host(place / "H.json", loaded)) as shared:
        yield shared


def answers(done: tuple[int, str, str]) -> list[dict[str, Any]]:
    status, output, errors = done
    assert (status, errors) == (0, "")
    return [json.loads(line) for line in output.splitlines()]


def packet(flow: str = FLOW, **options: Any) -> bytes:
    return build(Flow.parse(flow), destination=MAC, source=bytes.fromhex("02000a010a01"), **options)


# ---- the contract


def test_the_answer_has_every_field_in_its_type(explain: Explain) -> None:
    [answer] = answers(explain("--flow", FLOW, "--json"))
    assert set(FIELDS) <= set(answer)
    for name, types in FIELDS.items():
        assert type(answer[name]) in types, name
    assert (answer["verdict"], answer["reason"], answer["service"]) == ("tx", "forward", WEB)
    assert answer["backend"] == answer["now"] == answer["was"]
    assert (answer["interface"], answer["tracked"], answer["remembered"]) == ("nowhere0", False, None)
    number = int(answer["backend"].rpartition(".")[2])
    assert answer["frame"].startswith(f"02000a010a{number:02x}{MAC.hex()}0800")
    assert answer["ns"] > 0
    assert [word for word in answers(explain("--flow", FLOW, "--json")) if word["backend"] != answer["backend"]] == []


def test_flow_and_frame_agree(explain: Explain) -> None:
    [by_flow] = answers(explain("--flow", FLOW, "--json"))
    [by_frame] = answers(explain("--frame", packet().hex(), "--json"))
    colons = packet().hex(":")
    [by_colons] = answers(explain("--frame", colons, "--json"))
    for answer in (by_flow, by_frame, by_colons):
        answer.pop("ns")
        answer.pop("input")  # its source MAC is the router's or a made one
    assert by_flow == by_frame == by_colons


def test_for_people(explain: Explain) -> None:
    status, output, _ = explain("--flow", FLOW)
    assert status == 0
    assert re.search(r"verdict +tx: forwarded to a backend \(forward\)", output)
    assert re.search(r"leaves +nowhere0 towards 02:00:0a:01:0a:", output)


def _vlan(frame: bytes) -> bytes:
    return frame[:12] + b"\x81\x00\x00\x0a" + frame[12:]


FRAMES: dict[str, tuple[bytes, str, str]] = {
    "arp": (MAC * 2 + b"\x08\x06" + bytes(28), "pass", "not-ip"),
    "another address": (packet("tcp 198.51.100.7:4242 192.0.2.1:443"), "pass", "not-vip"),
    "tagged": (_vlan(packet()), "pass", "tagged"),
    "only a header of Ethernet": (MAC * 2 + b"\x86\xdd", "pass", "not-vip"),
    "an unknown port": (packet("tcp 198.51.100.7:4242 203.0.113.10:444"), "drop", "unknown-port"),
    "the right port of the wrong protocol": (packet("udp 198.51.100.7:4242 203.0.113.10:443"), "drop", "unknown-port"),
    "the last hop": (packet(ttl=1), "drop", "ttl"),
    "cut off in the IPv4 header": (packet()[:20], "drop", "malformed"),
    "cut off in the TCP header": (packet()[:40], "drop", "malformed"),
    "a header length of zero": (packet()[:14] + b"\x40" + packet()[15:], "drop", "malformed"),
    "a later fragment, the first not seen": (packet()[:20] + b"\x00\x10" + packet()[22:], "drop", "fragment"),
    "another protocol": (packet()[:23] + b"\x2f" + packet()[24:], "drop", "protocol"),
}


def test_frames_of_all_kinds(explain: Explain) -> None:
    found = answers(explain("--json", steps=[{"frame": frame.hex()} for frame, _, _ in FRAMES.values()]))
    assert len(found) == len(FRAMES)
    for (name, (frame, verdict, reason)), answer in zip(FRAMES.items(), found, strict=True):
        if name != "only a header of Ethernet":
            assert (answer["verdict"], answer["reason"]) == (verdict, reason), name
        assert answer["reason"] in {str(reason) for reason in Reason}
        assert answer["frame"] == frame.hex(), name
        assert answer["interface"] is None, name


def test_every_prefix_of_a_frame_gets_an_answer(explain: Explain) -> None:
    whole = packet() + bytes(8)
    found = answers(explain("--json", steps=[{"frame": whole[:size].hex()} for size in range(14, len(whole) + 1)]))
    assert [answer["verdict"] for answer in found if answer["verdict"] not in ("pass", "drop", "tx")] == []
    assert found[-1]["verdict"] == "tx"


def test_steps_carry_the_state_from_one_to_the_next(explain: Explain) -> None:
    steps = [
        {"flow": FLOW, "flags": "SYN", "interface": "nowhere0"},
        {"health": {WEB: {"10.1.10.11": "draining", "10.1.10.12": "draining", "10.1.10.13": "draining"}}},
        {"health": {WEB: {"10.1.10.11": "up", "10.1.10.12": "up", "10.1.10.13": "up"}}},
        {"flow": FLOW, "flags": "ACK"},
    ]
    first, drained, back, same = answers(explain("--json", steps=steps))
    assert set(drained) == set(back) == {"changed_slots", "tracked_slots"}
    assert drained["changed_slots"][DNS] == 0
    assert drained["changed_slots"][WEB] == drained["tracked_slots"][WEB] > 0
    assert same["backend"] == first["backend"]


def test_steps_tell_old_flows_from_new_ones(explain: Explain) -> None:
    [answer] = answers(explain("--flow", FLOW, "--json"))
    old = answer["backend"]
    steps = [
        {"health": {WEB: {old: "draining"}}},
        {"flow": FLOW, "flags": "ACK"},
        {"flow": "tcp 198.51.100.7:4242 203.0.113.10:443", "flags": "SYN"},
        {"health": {WEB: {old: "down"}}},
        {"flow": FLOW, "flags": "ACK"},
        {"weight": {WEB: {"10.1.10.11": 0, "10.1.10.12": 0, "10.1.10.13": 0}}},
        {"flow": FLOW, "flags": "SYN"},
        {"advance": 10},
        {"config": "other.yaml"},
        {"flow": FLOW, "flags": "SYN"},
    ]
    found = answers(explain("--json", steps=steps))
    assert (found[1]["backend"], found[1]["was"], found[1]["remembered"]) == (old, old, old)
    assert found[2]["backend"] == found[2]["now"] != old
    assert found[4]["backend"] not in (old, None)
    assert (found[6]["verdict"], found[6]["now"]) == ("drop", None)
    assert found[7]["tracked_slots"].keys() == {WEB, DNS}
    assert found[9]["backend"] in ("10.1.10.11", "10.1.10.12", "10.1.10.14")


def test_a_backend_without_a_neighbour_is_unresolved(explain: Explain) -> None:
    [answer] = answers(explain("--flow", FLOW, "--json", host=HOST | {"neighbours": {}}))
    assert (answer["verdict"], answer["reason"], answer["interface"]) == ("drop", "unresolved", None)


# ---- bad input

ETH = HOST["interfaces"][0]
BAD_HOSTS: dict[str, tuple[object, str]] = {
    "no JSON": (b"not json", "is not JSON: Expecting value: line 1"),
    "random bytes": (b"\xff\xfe\x00\xd8", "H.json: "),
    "empty": (b"", "is not JSON"),
    "nested without end": (b"[" * 100_000, "H.json: "),
    "a list": ([], "the description of a host: must be a JSON object, not []"),
    "a number": (7, "the description of a host: must be a JSON object, not 7"),
    "interfaces: a number": ({"interfaces": 7}, "interfaces: must be a JSON list, not 7"),
    "an interface: a number": ({"interfaces": [7]}, "interfaces[0]: must be a JSON object, not 7"),
    "no name": ({"interfaces": [{"mac": "02:00:0a:01:0a:05"}]}, "interfaces[0].name: must be there"),
    "no MAC": ({"interfaces": [{"name": "nowhere0"}]}, "interfaces[0].mac: must be there"),
    "a wrong MAC": ({"interfaces": [ETH | {"mac": "xx"}]}, "interfaces[0].mac: must be the six bytes"),
    "half a MAC": ({"interfaces": [ETH, ETH | {"mac": "02:00"}]}, "interfaces[1].mac: must be the six bytes"),
    "a wrong prefix": (
        {"interfaces": [ETH | {"addresses": ["10.1.10.5/40"]}]},
        "interfaces[0].addresses: '10.1.10.5/40' does not appear to be",
    ),
    "addresses: a number": ({"interfaces": [ETH | {"addresses": 7}]}, "interfaces[0].addresses: must be a JSON list"),
    "an address: a number": ({"interfaces": [ETH | {"addresses": [7]}]}, "addresses: must be a text, not 7"),
    "a wrong MTU": ({"interfaces": [ETH | {"mtu": "big"}]}, "interfaces[0].mtu: must be a whole number of bytes"),
    "another interface": ({"interfaces": [ETH | {"name": "eth3"}]}, "eth3, but the configuration's interfaces are now"),
    "neighbours: a list": (HOST | {"neighbours": []}, "neighbours: must be a JSON object"),
    "a neighbour's address": (HOST | {"neighbours": {"x": MAC.hex()}}, "neighbours: 'x' does not appear to be"),
    "a neighbour's MAC": (HOST | {"neighbours": {"10.1.10.11": None}}, "neighbours.10.1.10.11: must be a text"),
    "health: a number": (HOST | {"health": 7}, "health: must be a JSON object, not 7"),
    "health of no service": (HOST | {"health": {"x": {}}}, "health: 'x' is not a service; write VIP:PORT/tcp"),
    "health: backends": (HOST | {"health": {WEB: 7}}, f"health.{WEB}: must be a JSON object"),
    "health: address": (HOST | {"health": {WEB: {"ten": "up"}}}, f"health.{WEB}: 'ten' does not appear"),
    "health: word": (HOST | {"health": {WEB: {"10.1.10.11": "ill"}}}, "must be one of up, down, draining, wrong"),
    "health: list": (HOST | {"health": {WEB: {"10.1.10.11": ["up"]}}}, "must be one of up, down, draining, wrong"),
}


@pytest.mark.parametrize(("host", "says"), BAD_HOSTS.values(), ids=BAD_HOSTS)
def test_a_bad_host_is_one_clear_line(explain: Explain, host: object, says: str) -> None:
    status, output, errors = explain("--flow", FLOW, host=host)
    assert (status, output) == (1, "")
    assert errors.startswith("vc5: H.json: ")
    assert says in errors
    assert errors.count("\n") == 1


BAD_STEPS: dict[str, tuple[object, str]] = {
    "no JSON": (b"{}\nno", "line 1: a step has frame, flow, health"),
    "no JSON in the second line": (b'{"advance":1}\n\nno', "line 3: is not JSON: Expecting value"),
    "random bytes": (b"\xff\xfe\x00\xd8", "S.jsonl: line 1: "),
    "nested without end": (b"[" * 100_000, "line 1: is not JSON"),
    "a number": ([7], "line 1: a step is a JSON object"),
    "an unknown step": ([{"jump": 1}], "frame, flow, health, weight, config or advance, not jump"),
    "an empty frame": ([{"frame": ""}], "line 1: "),
    "a short frame": ([{"frame": "00" * 13}], "a frame of 13 bytes cannot be explained; it must have 14 to"),
    "a long frame": ([{"frame": "00" * 9000}], "a frame of 9000 bytes cannot be explained"),
    "no hexadecimal digits": ([{"frame": "zz"}], "frame: 'zz' is not hexadecimal digits"),
    "a frame of another kind": ([{"frame": {"a": 1}}], "is not hexadecimal digits"),
    "no flow": ([{"flow": "tcp a b"}], "line 1: 'a' is not ADDRESS:PORT"),
    "a flow of another kind": ([{"flow": 7}], "'7' is not a flow; write 'tcp CLIENT:PORT VIP:PORT'"),
    "flags": ([{"flow": FLOW, "flags": "BOO"}], "'BOO' is no TCP flag; use FIN, SYN"),
    "an interface": ([{"flow": FLOW, "interface": "eth5"}], "no interface eth5; there is nowhere0"),
    "health": ([{"health": 7}], "line 1: health: must be a JSON object"),
    "a word of health": ([{"health": {WEB: {"10.1.10.11": "ill"}}}], "must be one of up, down, draining, wrong"),
    "weight": ([{"weight": {WEB: 7}}], f"weight.{WEB}: must be a JSON object"),
    "a weight of 101": ([{"weight": {WEB: {"10.1.10.11": 101}}}], "must be a whole number from 0 to 100, not 101"),
    "a weight in words": ([{"weight": {WEB: {"10.1.10.11": "many"}}}], "whole number from 0 to 100, not 'many'"),
    "a stranger's weight": ([{"weight": {WEB: {"10.1.10.99": 1}}}], "is not a backend of the configuration"),
    "advance backwards": ([{"advance": -1}], "advance by 0 to 86400 seconds"),
    "advance in words": ([{"advance": "far"}], "advance: must be a number of seconds"),
    "advance nowhere": (b'{"advance":NaN}', "advance by 0 to 86400 seconds"),
    "config: a number": ([{"config": 7}], "config: must be a text, not 7"),
}


@pytest.mark.parametrize(("steps", "says"), BAD_STEPS.values(), ids=BAD_STEPS)
def test_a_bad_step_is_one_clear_line(
    explain: Explain, bench: Workbench, monkeypatch: pytest.MonkeyPatch, steps: object, says: str
) -> None:
    monkeypatch.setattr(explaining, "Workbench", lambda config, host: nullcontext(bench))
    status, _, errors = explain("--json", steps=steps)
    assert status == 1
    assert errors.startswith("vc5: S.jsonl: line ")
    assert says in errors
    assert errors.count("\n") == 1


BAD_COMMANDS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "nothing to explain": ((), 2, "say what to explain: --flow, --frame or --steps"),
    "no hexadecimal digits": (("--frame", "zz"), 2, "--frame: 'zz' is not hexadecimal digits"),
    "a short frame": (("--frame", "00"), 1, "a frame of 1 bytes cannot be explained; it must have 14 to"),
    "no flow": (("--flow", "tcp a b"), 1, "'a' is not ADDRESS:PORT with a port from 1 to 65535"),
    "port 0": (("--flow", "tcp 192.0.2.1:0 203.0.113.10:1"), 1, "'192.0.2.1:0' is not ADDRESS:PORT"),
    "flags": (("--flow", FLOW, "--flags", "BOO"), 1, "'BOO' is no TCP flag; use FIN, SYN"),
    "an interface": (("--flow", FLOW, "--interface", "eth5"), 1, "no interface eth5; there is nowhere0"),
    "no such steps": (("--steps", "none.jsonl"), 1, "none.jsonl: cannot be read: No such file or directory"),
}


@pytest.mark.parametrize(("argv", "status", "says"), BAD_COMMANDS.values(), ids=BAD_COMMANDS)
def test_a_bad_command_is_one_clear_line(explain: Explain, argv: tuple[str, ...], status: int, says: str) -> None:
    found, output, errors = explain(*argv)
    assert (found, output) == (status, "")
    assert says in errors
    assert errors.count("\n") == 1


def test_missing_files(explain: Explain, tmp_path: Path) -> None:
    status, _, errors = explain("--flow", FLOW, file="none.yaml")
    assert (status, errors) == (78, "none.yaml: does not exist (name a configuration file)\n")
    done = subprocess.run(
        [*PROGRAM, "explain", "--config", "F.yaml", "--host", "none.json", "--flow", FLOW],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "vc5: none.json: cannot be read: No such file or directory\n"


# ---- the running daemon


@pytest.mark.appliance
def test_the_daemon_tells_where_connections_really_are_and_touches_nothing() -> None:
    text = configuration(port="7000/tcp", servers="10.1.10.11, 10.1.10.12, 10.1.10.13")
    with Lab(backends=3) as lab, Daemon(lab.balancer, lab.root(), text) as daemon:
        wait_states(daemon, ECHO_SERVICE, b11="available", b12="available", b13="available")
        with LongFlows(lab.client, busy=0, idle=60) as flows:
            assert daemon.vc5("drain", ECHO_SERVICE, "10.1.10.12").returncode == 0
            assert states(daemon, ECHO_SERVICE)["12"] == "draining"
            before = _still(daemon)
            moved = 0
            for record in flows.status().flows:
                flow = Flow(Protocol.TCP, IPv4Address(record.source), record.port, VIP, ECHO)
                answer = call(daemon.places, "explain", flow=str(flow), flags="ACK")
                address = lab.backends[record.backend].address
                assert answer["backend"] == str(address), record
                assert answer["frame"][:12] == lab.backends[record.backend].mac.replace(":", "")
                moved += answer["now"] != answer["backend"]
                if record.number % 20 == 0:
                    new = daemon.ask("explain", "--flow", str(flow), "--flags", "SYN")
                    assert new["backend"] == new["now"] != "10.1.10.12"
            assert moved >= 5
            assert _still(daemon) == before, "an explanation changed what the daemon has"
            assert flows.stop().broken == []
        assert _refused(daemon, "--interface", "eth9").startswith("vc5: no interface eth9; there is eth0")
        assert _refused(daemon, "--flags", "BOO").startswith("vc5: 'BOO' is no TCP flag; use ")
        steps = daemon.vc5("explain", "--steps", "S.jsonl")
        assert (steps.returncode, steps.stderr.count("\n")) == (1, 1)
        assert "--steps needs --config" in steps.stderr


def _refused(daemon: Daemon, *argv: str) -> str:
    done = daemon.vc5("explain", "--flow", FLOW, *argv)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    return done.stderr


def _still(daemon: Daemon) -> dict[str, Any]:
    """Return what an explanation might change; the connections are silent, and probes do not count here."""
    status = daemon.status()
    reasons = {name: count for name, count in status["reasons"].items() if not name.startswith(("probe", "not-ip"))}
    [service] = status["services"]
    names = ("slots", "tracked_slots", "packets", "octets", "flows", "drops")
    rows = [{name: row[name] for name in names if name in row} for row in (service, *service["backends"])]
    return {"reasons": reasons, "rows": rows, "flow_table": status["flow_table"]}
