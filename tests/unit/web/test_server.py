"""The web server over real sockets: who may look, what is refused, and that nobody is a burden to the others."""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.model_console import Console
from appliance.web.api import ENDPOINTS, HEADERS, description
from appliance.web.gate import Bounds
from appliance.web.server import _takes_gzip
from tests.lab.patience import wait_for
from tests.profile import PARSER_INPUTS
from tests.unit.web.serving import LARGE, connect, fetch, raw, refused, said, serving

# ---- who may look


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (["127.0.0.1"], 200),
        (["localhost:9090"], 200),
        (["[::1]:9090"], 200),
        (["X"], 200),
        (["vc5.example.com"], 200),
        (["evil.example"], 421),
        (["127.0.0.1.evil.example"], 421),
        ([""], 421),
        ([], 421),
        (["localhost", "localhost"], 0),
        (["localhost, evil.example"], 421),
    ],
)
def test_only_who_knows_its_name_is_answered(hosts: list[str], status: int) -> None:
    with serving(console=Console(hosts=("vc5.example.com",))) as server:
        lines = "".join(f"Host: {host}\r\n" for host in hosts)
        answer = raw(server, f"GET /log HTTP/1.0\r\n{lines}\r\n".encode())
        # Some versions of aiohttp refuse a request with two of them before we see it.
        assert re.match(rb"HTTP/1.[01] %s " % (b"%d" % status if status else b"(400|421)"), answer), answer[:200]
        assert HEADERS["Content-Security-Policy"].encode() in answer
        if status == 421:
            assert server.server.refused == {"host": 1}
            assert b"console.hosts" in answer


BASIC = "Basic " + base64.b64encode(b"operator:sesame").decode()


@pytest.mark.parametrize(
    ("given", "status"),
    [("", 401), (BASIC, 200), ("Bearer ticket", 200), ("Bearer sesame", 401), (BASIC[:-2], 401), ("Basic \x80", 401)],
)
def test_who_may_look(given: str, status: int) -> None:
    console = Console(user="operator", password="sesame", token="ticket")
    with serving(console=console) as server:
        headers = {"Authorization": given} if given else {}
        for one in ENDPOINTS:
            if one.path not in ("/events", "/prefixes.json", "/config.json", "/drops.json") and "{" not in one.path:
                found, text, answer = fetch(server, one.path, **headers)
                assert found == (200 if one.open else status), one.path
                assert b"sesame" not in text
                if found == 401:
                    assert answer.headers["WWW-Authenticate"].startswith('Basic realm="vc5"')
        assert fetch(server, "/events", "HEAD", **headers)[0] == status
        assert ("credentials" in server.server.refused) == (status == 401)


# ---- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a certificate for 127.0.0.1 and its key."""
    place = tmp_path_factory.mktemp("tls") / "both.pem"
    command = (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    )
    names = ("-subj", "/CN=vc5", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "-", "-out", "-")
    made = subprocess.run([*command, *names], capture_output=True, check=True)
    place.write_bytes(made.stdout)
    return place


def test_tls(certificate: Path) -> None:
    console = Console(certificate=str(certificate), key=str(certificate))
    bounds = Bounds(request_seconds=0.5)
    with serving(console=console, bounds=bounds) as server:
        context = ssl.create_default_context(cafile=str(certificate))
        with context.wrap_socket(connect(server), server_hostname="127.0.0.1") as connection:
            assert connection.version() == "TLSv1.3"
            connection.sendall(b"GET /log HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert said(connection).startswith(b"HTTP/1.1 200 ")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            old.wrap_socket(connect(server), server_hostname="127.0.0.1")
        assert b"200" not in raw(server, b"GET /log HTTP/1.1\r\nHost: x\r\n\r\n")
        refused(server, "handshake", 2)
        with connect(server) as silent:
            assert said(silent) == b""
        refused(server, "handshake", 3)
        wait_for("nobody to be there", lambda: server.server.gate.count == 0)


def test_those_who_only_begin_to_speak_tls_are_few(certificate: Path) -> None:
    console = Console(certificate=str(certificate), key=str(certificate))
    with serving(console=console, bounds=Bounds(connections=5, request_seconds=600.0)) as server, ExitStack() as held:
        for _ in range(5):
            held.enter_context(connect(server)).sendall(b"\x16\x03\x01")
        wait_for("five", lambda: server.server.gate.count == 5)
        assert raw(server, b"\x16") == b""
        refused(server, "connections")


def test_one_address_does_not_take_all_connections() -> None:
    with serving(bounds=Bounds(connections=8, from_one=5)) as server, ExitStack() as held:
        for _ in range(5):
            held.enter_context(connect(server))
        wait_for("five", lambda: server.server.gate.count == 5)
        assert raw(server, b"GET /log HTTP/1.0\r\nHost: x\r\n\r\n") == b""
        refused(server, "connections")
        with socket.create_connection(server.address, timeout=10, source_address=("127.0.0.2", 0)) as other:
            other.sendall(b"GET /log HTTP/1.0\r\nHost: x\r\n\r\n")
            assert said(other).startswith(b"HTTP/1.0 200 ")


# ---- what is asked


def test_pages_and_the_description() -> None:
    with serving() as server:
        status, text, answer = fetch(server, "/js/a.js")
        assert (status, text, answer.headers["Content-Type"]) == (200, b"1", "text/javascript")
        for known in ('"b"', 'W/"b"', '"z", "b"', "*"):
            assert fetch(server, "/js/a.js", **{"If-None-Match": known})[:2] == (304, b"")
        assert fetch(server, "/js/b.js")[0] == fetch(server, "/a.js")[0] == 404
        status, text, _ = fetch(server, "/openapi.json")
        assert (status, json.loads(text)) == (200, json.loads(json.dumps(description())))


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/js/../../process.py",
        "/js/%2e%2e/process.py",
        "/js/..%2fprocess.py",
        "/%00",
        "//etc/passwd",
    ],
)
def test_no_path_leads_out(path: str) -> None:
    with serving() as server:
        answer = raw(server, f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        assert answer.startswith((b"HTTP/1.0 404 ", b"HTTP/1.0 400 ")), answer[:100]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_nothing_is_changed(method: str) -> None:
    with serving() as server:
        for path in ("/", "/status.json", "/log", "/log/3", "/events", "/metrics", "/openapi.json"):
            status, _, answer = fetch(server, path, method)
            assert (status, answer.headers["Allow"]) == (405, "GET, HEAD")
        assert server.server.refused == {"405": 7}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=1", 200),
        ("limit=0", 400),
        ("limit=5001", 400),
        ("limit=-1", 400),
        ("limit=%D9%A3", 400),
        ("after=x", 400),
        ("after=9999999999999999999", 400),
        ("kind=backend", 200),
        ("kind=nonsense", 400),
        ("text=%00%ff", 200),
    ],
)
def test_the_log_is_asked_for_with_sense(query: str, status: int) -> None:
    with serving() as server:
        found, text, _ = fetch(server, f"/log?{query}")
        assert found == status
        assert set(json.loads(text)) == ({"error"} if status == 400 else {"lines", "next"})


# ---- who asks too much

HEAD = b"GET /log HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"".join([HEAD, *(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(100)), b"\r\n"]), "oversized"),
        (HEAD + b"X: y\r\n" * 20_000, "oversized"),
        (HEAD + b"Cookie: " + b"y" * 8000 + b"\r\n\r\n", "malformed"),
        (b"GET /" + b"y" * 8000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", "malformed"),
        (b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n" + (HEAD + b"\r\n") * 300, "pipelined"),
        (b"GET /events HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + b"y" * 100_000, "oversized"),
        (HEAD + b"Content-Length: 5\r\n\r\nhello", "body"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "body"),
        (b"POST /log HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"y" * 1_000_000, "oversized"),
        (b"BREW /log HTTP/1.1\r\nHost: x\r\n\r\n", "malformed"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "malformed"),
        (b"GET /log HTTP/1.1\r\nHost: x\r\nHost\r\n\r\n", "malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value[:12]),
)
def test_too_much_is_counted_and_hung_up_on(data: bytes, why: str) -> None:
    with serving(bounds=Bounds(request_seconds=0.5, connection_seconds=1.0)) as server:
        answer = raw(server, data)
        refused(server, why)
        assert b"Traceback" not in answer
        if answer and why != "pipelined" and b"event-stream" not in answer:
            assert HEADERS["Content-Security-Policy"].encode() in answer
        assert fetch(server, "/log")[0] == 200
        wait_for("nobody to be there", lambda: server.server.gate.count == 0)


def test_what_is_refused_is_told_of_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    with serving(bounds=Bounds(request_seconds=0.04, told_seconds=600.0)) as server:
        fetch(server, "/nothing")
        wait_for("a word", lambda: caplog.records)
        for _ in range(50):
            fetch(server, "/nothing")
        refused(server, "404", 51)
    assert [record.getMessage() for record in caplog.records] == ["refused: 1 for 404"]


def test_who_does_not_read_a_large_answer_costs_little() -> None:
    bounds = Bounds(answer_seconds=0.5)
    with serving(LARGE, bounds=bounds) as server, ExitStack() as held:
        for _ in range(3):
            slow = held.enter_context(socket.socket())
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.settimeout(20)
            slow.connect(server.address)
            slow.sendall(b"GET /status.json HTTP/1.1\r\nHost: x\r\n\r\n")
        most = [0]

        def look() -> None:
            for connection in list(server.server.gate._since):
                if connection.transport is not None:
                    most[0] = max(most[0], connection.transport.get_write_buffer_size())

        def gone() -> bool:
            server.do(look)
            return server.server.refused.get("slow", 0) == 3

        wait_for("them to be hung up on", gone)
        assert 0 < most[0] <= 3 * bounds.buffer_bytes
        assert len(fetch(server, "/status.json")[1]) > 10 * bounds.buffer_bytes


WORDS = st.sampled_from(
    (
        b"GET ",
        b"HEAD ",
        b"/log",
        b"/events",
        b"?after=",
        b" HTTP/1.1",
        b"\r\n",
        b"\r\n\r\n",
        b"Host: x",
        b"\x00",
        b"%00",
    )
)


@given(st.lists(st.lists(st.one_of(WORDS, st.binary(max_size=20)), max_size=12).map(b"".join), max_size=20))
@settings(max_examples=PARSER_INPUTS, deadline=None)
def test_any_bytes_are_answered_or_refused(sent: list[bytes]) -> None:
    with serving(bounds=Bounds(request_seconds=5.0)) as server:
        for data in sent:
            with connect(server) as connection:
                try:
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                    answer = connection.recv(1 << 16)
                except ConnectionError:
                    continue
            assert answer == b"" or re.match(rb"HTTP/1\.[01] (200|304|4[0-9][0-9]) ", answer), answer
        assert fetch(server, "/log")[0] == 200
        assert "500" not in server.server.refused


@given(st.text(max_size=40))
@settings(max_examples=PARSER_INPUTS)
def test_any_accept_encoding_is_understood_or_not(value: str) -> None:
    assert _takes_gzip({"Accept-Encoding": value}) in (True, False)
    assert _takes_gzip({"Accept-Encoding": f"{value},gzip"})
    assert not _takes_gzip({"Accept-Encoding": "gzip;q=0, br"})
