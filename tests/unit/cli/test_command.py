"""The command as a user meets it: exit statuses, errors without tracebacks, JSON, pipes that close, light imports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import __version__, paths
from appliance.cli.main import main, parser
from appliance.cli.verbs import VERBS
from appliance.control.socket import Request
from appliance.errors import ConfigError, ControlError, Issue, Severity
from appliance.paths import Root
from appliance.telemetry.spool import Spool
from appliance.web.document import document
from tests.unit.cli.samples import BODY
from tests.unit.control.running import running
from tests.unit.house.tree import ROOT
from tests.unit.telemetry.events import STORY

ISSUES = tuple(
    Issue("f.yaml", line, 4, "services[0]", Severity.ERROR, "range", f"weight {line} is too large", "0 to 100")
    for line in (3, 9)
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """Return a root that the commands of the test find through VC5_ROOT."""
    monkeypatch.setenv("VC5_ROOT", str(tmp_path))
    return paths.root(str(tmp_path))


async def status(_: Request) -> Any:
    """Answer with the sample."""
    return BODY


async def drain(request: Request) -> Any:
    """Know one backend."""
    if request.arguments["backend"] != "10.1.10.11":
        raise ControlError(f"{request.arguments['service']} has no backend {request.arguments['backend']}")
    return {"flows": 1234}


async def reload(_: Request) -> Any:
    """Refuse the configuration."""
    raise ConfigError(ISSUES)


@pytest.fixture
def daemon(root: Root) -> Iterator[None]:
    with running(root.control_socket, {"status": status, "drain": drain, "undrain": drain, "reload": reload}):
        yield


def command(*arguments: str, **more: Any) -> subprocess.Popen[str]:
    """Start `vc5` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "appliance", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


USAGE = [
    ([], "usage: vc5"),
    (["dance"], "invalid choice: 'dance'"),
    (["drain", "203.0.113.10:443/tcp"], "vc5: drain: write SERVICE and BACKEND, or --all for the whole node"),
    (["undrain"], "vc5: undrain: write SERVICE and BACKEND, or --all for the whole node"),
    (["drain", "--all", "203.0.113.10:443/tcp"], "--all is the whole node, and '203.0.113.10:443/tcp' is too much"),
    (["disable", "203.0.113.10:443/tcp"], "the following arguments are required: backend"),
    (["weight", "s", "b", "101"], "vc5: weight: '101': write a whole number from 0 to 100, or default"),
    (["weight", "s", "b", "heavy"], "vc5: weight: 'heavy': write a whole number from 0 to 100, or default"),
    (["status", "--jso"], "unrecognized arguments: --jso"),
    (["log", "--probes", "--events"], "not allowed with argument"),
    (["log", "--since", "yesterday"], "vc5: log: 'yesterday' is no moment; write how long ago"),
    (["log", "--service", "shop"], "vc5: log: 'shop' is not a service; write VIP:PORT/tcp"),
    (["log", "--backend", "10.1.10"], "vc5: log: '10.1.10' does not appear to be an IPv4 or IPv6 address"),
    (
        ["log", "--outcome", "fine"],
        "vc5: log: --outcome 'fine': choose one of ok, wrong-answer, no-answer, unknown, up, wrong, dead, refused",
    ),
    (["log", "-n", "-3"], "vc5: log: -n '-3': write a whole number of events"),
    (["elasticsearch", "install"], "vc5: elasticsearch: say which server: --url, or logging.elasticsearch.addresses"),
    (["elasticsearch", "install", "--url", "ftp://h"], "--url must be a URL that begins with http:// or https://"),
    (["elasticsearch", "install", "--url", "http://h:99999"], "--url: there is no host in it, or its port is none"),
    (["elasticsearch", "install", "--url", "http://a:b@h"], "--url: no user and password in it, where everybody"),
    (["elasticsearch", "install", "--url", "http://h", "--user", "u"], "there is no password for --user: give --pass"),
    (["elasticsearch", "install", "--url", "http://h", "--password-file", "f"], "--password-file goes with --user"),
    (["dashboards", "install"], "vc5: dashboards: say which Kibana: --kibana https://"),
    (["dashboards", "install", "--kibana", "h:5601"], "--kibana must be a URL that begins with"),
    (["explain"], "vc5: explain: say what to explain: --flow, --frame or --steps"),
    (["explain", "--frame", "0x\x1b[2J"], r"vc5: explain: --frame: '0x\\x1b[2J' is not hexadecimal digits"),
    (["explain", "--flow", "tcp", "--host", "h"], "vc5: explain: --host goes with --config"),
]


@pytest.mark.parametrize(("arguments", "text"), USAGE, ids=[" ".join(row[0]) for row in USAGE])
def test_wrong_usage_is_2(root: Root, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert text in printed.err
    assert "\x1b" not in printed.err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vc5 {__version__}\n"
    for verb in VERBS:
        assert main([verb.name, "--help"]) == 0
        assert verb.help in " ".join(capsys.readouterr().out.split())
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert [verb.name for verb in VERBS if not re.search(rf"^    {verb.name}\b", text, re.M)] == []


def test_every_verb_has_json_and_takes_the_root_on_both_sides() -> None:
    needed = {"drain": ["s", "b"], "undrain": ["s", "b"], "reattach": ["i"], "balance": ["i", "v", "b", "b"]}
    needed |= {
        "alert": ["test"],
        "block": ["list"],
        "disable": ["s", "b"],
        "drill": ["s"],
        "enable": ["s", "b"],
        "weight": ["s", "b", "3"],
        "health": ["thaw"],
        "convert": ["old"],
        "completion": ["bash"],
        "netns": ["up"],
        "elasticsearch": ["install"],
        "dashboards": ["install"],
    }
    for verb in VERBS:
        for line in (["--root", "/r", verb.name, "--json"], [verb.name, "--json", "--root", "/r"]):
            parsed = parser().parse_args([*line, *needed.get(verb.name, [])])
            assert (parsed.json, parsed.root, parsed.row) == (True, "/r", verb)


OVERRIDING = [
    ["enable", "s", "b"],
    ["disable", "s", "b"],
    ["weight", "s", "b", "3"],
    ["overrides"],
    ["health", "freeze"],
]


def test_no_daemon_is_1_and_says_how_to_start_it(root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    for line in (
        ["status"],
        ["reload"],
        ["drain", "s", "b"],
        ["reattach", "i"],
        ["block", "list"],
        ["prefixes"],
        *OVERRIDING,
    ):
        assert main(line) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith(f"vc5: {root.control_socket}: no vc5 daemon answers here; start it with")
    assert main(["status", "--json"]) == 1
    assert "no vc5 daemon answers here" in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.usefixtures("daemon")
def test_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == document(BODY)
    assert main(["status"]) == 0
    text = capsys.readouterr().out
    assert "connect: Connection refused\n" in text
    assert "\x1b" not in text


@pytest.mark.usefixtures("daemon")
def test_operator_actions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drain", "203.0.113.10:443/tcp", "10.1.10.11"]) == 0
    assert capsys.readouterr().out == (
        "203.0.113.10:443/tcp 10.1.10.11 draining: it keeps its flows and gets no new ones (1.23k flows)\n"
    )
    assert main(["undrain", "203.0.113.10:443/tcp", "10.1.10.11", "--json"]) == 0
    assert capsys.readouterr().out == '{"flows": 1234}\n'
    assert main(["drain", "203.0.113.10:443/tcp", "10.1.10.99"]) == 1
    assert capsys.readouterr().err == "vc5: 203.0.113.10:443/tcp has no backend 10.1.10.99\n"


@pytest.mark.usefixtures("daemon")
def test_a_refused_configuration_is_78_with_one_issue_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reload"]) == 78
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [str(issue) for issue in ISSUES]
    assert main(["reload", "--json"]) == 78
    assert json.loads(capsys.readouterr().out) == {"issues": [issue.as_json() for issue in ISSUES]}


LOG = [
    ([], [1, 2, 3, 4, 5, 6, 7]),
    (["--probes"], [2, 3, 5, 7]),
    (["--events"], [1, 4, 6]),
    (["--service", "[2001:db8:0::53]:53/udp"], [5]),
    (["--backend", "10.1.10.12", "--outcome", "no-answer"], [3]),
    (["-n", "2"], [6, 7]),
    (["-n", "0"], []),
    (["--since", "@104"], [5, 6, 7]),
    (["--since", "10m"], []),
]


@pytest.mark.parametrize(("arguments", "expected"), LOG, ids=[" ".join(row[0]) for row in LOG])
def test_log(root: Root, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: list[int]) -> None:
    spool = Spool(root.log)
    for event in STORY:
        spool.append(event)
    spool.close()
    assert main(["log", "--json", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == expected
    assert main(["log", *arguments]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(expected)


def test_log_lines(root: Root, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(root.log)
    for event in STORY[:3]:
        spool.append(event)
    spool.close()
    assert main(["log"]) == 0
    assert [line[23:] for line in capsys.readouterr().out.splitlines()] == [
        "  daemon    started",
        "  probe     203.0.113.10:443/tcp  10.1.10.11  ok  HTTP 200",
        "  probe     203.0.113.10:443/tcp  10.1.10.12  no-answer  Connection refused",
    ]


def test_no_log_yet(root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log"]) == 1
    assert "no daemon has kept a log here yet" in capsys.readouterr().err


def test_follow_ends_with_an_interrupt_and_0(root: Root) -> None:
    spool = Spool(root.log)
    spool.append(STORY[0])
    spool.flush()
    with command("log", "--follow", "--json") as following:
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["message"] == "started"
        spool.append(STORY[1])
        spool.flush()
        assert json.loads(following.stdout.readline())["message"] == "HTTP 200"
        following.send_signal(signal.SIGINT)
        assert following.wait(30) == 0
        assert following.stderr is not None
        assert following.stderr.read() == ""


def test_a_closed_pipe_leaves_no_traceback(root: Root) -> None:
    spool = Spool(root.log)
    for _ in range(2000):
        spool.append(STORY[1])
    spool.close()
    with command("log", "-n", "2000") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(30) == 1


@pytest.mark.usefixtures("daemon")
def test_status_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom appliance.cli.main import main\nassert main(['status']) == 0\n"
        "print(','.join(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stderr.strip().split(","))
    heavy = {
        "asyncio",
        "bcc",
        "ctypes",
        "h11",
        "jinja2",
        "logging",
        "pyroute2",
        "sdnotify",
        "ssl",
        "subprocess",
        "yaml",
    }
    assert loaded & heavy == set()


def test_a_file_that_is_not_there(root: Root, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["check", str(tmp_path / "none.yaml")]) == 78
    printed = capsys.readouterr()
    assert "none.yaml" in printed.err
    assert main(["check", "--json", str(tmp_path / "none.yaml")]) == 78
    assert json.loads(capsys.readouterr().out)["issues"][0]["severity"] == "error"


WARNED = """\
interfaces: [eth0]
defcon: 5
bgp: {as_number: 65001, peers: [10.1.1.254], password: hush}
logging: {slack: 'https://hooks.example.com/hush'}
services: [{virtual: 203.0.113.1*, servers: [10.1.1.5], policy: {http: }}]
"""


def test_check_shows_warnings_beside_what_is_in_force(root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    root.config.write_text(WARNED)
    assert main(["check"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith(f"{root.config}:2:1: warning: defcon: ")
    assert printed.err.count("\n") == 1
    assert "peer 10.1.1.254" in printed.out
    assert "hush" not in printed.out
    assert main(["check", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "hush" not in printed.out
    body = json.loads(printed.out)
    assert [issue["code"] for issue in body["warnings"]] == ["obsolete"]
    assert [peer["password"] for peer in body["bgp"]["peers"]] == ["***"]
    assert body["services"][0]["vip_enabled"] is False


def test_parts_belong_to_the_roots_own_configuration(root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    root.config.write_text("interfaces: [eth0]\n")
    root.config_dir.mkdir()
    part = root.config_dir / "10-shop.yaml"
    part.write_text("services: [{virtual: 203.0.113.1, servers: [10.1.1.5], policy: {http: }}]\n")
    for arguments, services in ((["check", "--json"], 1), (["check", "--json", str(root.config)], 0)):
        assert main(arguments) == 0
        assert len(json.loads(capsys.readouterr().out)["services"]) == services
    part.write_text("interfaces: eth1\nidle: never\n")
    assert main(["check"]) == 78
    assert f"{part}:2:7: idle: must be a time" in capsys.readouterr().err


def test_environment_and_option_name_the_root(root: Root, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert main(["--root", str(other), "status"]) == 1
    assert capsys.readouterr().err.startswith(f"vc5: {os.fspath(other)}/run/control.sock: ")
