"""The checks http and https against real servers: every way to be right, wrong, silent or hostile."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import subprocess
import threading
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.health.answer import Answer
from appliance.health.probes.failure import ProbeFailed
from appliance.health.probes.http import prepare
from appliance.model import Check, CheckKind, Outcome
from tests.profile import PARSER_INPUTS
from tests.unit.health.servers import Handler, descriptors, probe, repeats, running, says, serving, without_reading

HTTP = Check(CheckKind.HTTP, 80, timeout=5.0)
HTTPS = replace(HTTP, kind=CheckKind.HTTPS)
OK, WRONG, NONE = Outcome.OK, Outcome.WRONG, Outcome.NONE
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OPEN_END = b"HTTP/1.0 200 OK\r\n\r\n"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A throwaway certificate with its key in one file."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made = [*new, "-keyout", "-", "-out", "-", "-days", "30", "-subj", "/CN=test.invalid"]
    file.write_bytes(subprocess.run(made, check=True, capture_output=True).stdout)
    return file


@pytest.fixture(scope="session")
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def ask(handler: Handler, check: Check, context: ssl.SSLContext | None = None) -> Answer:
    """Run one probe against one server; nothing may stay open."""

    async def run() -> Answer:
        async with serving(handler, context) as port:
            return await probe(replace(check, port=port))

    before = descriptors()
    answer = asyncio.run(run())
    assert descriptors() <= before
    return answer


def judge(answer: Answer, outcome: Outcome, words: str) -> None:
    assert (answer.outcome, bool(re.fullmatch(words, answer.diagnostic))) == (outcome, True), answer
    assert answer.diagnostic.isprintable()
    assert len(answer.diagnostic) <= 160
    assert answer.total_ns >= answer.connect_ns + answer.tls_ns


@pytest.mark.parametrize(
    ("handler", "change", "outcome", "words"),
    [
        pytest.param(says(FINE), {}, OK, "HTTP 200", id="fine"),
        pytest.param(says(FINE, then="wait"), {}, OK, "HTTP 200", id="fine, connection kept open"),
        pytest.param(says(*(bytes([byte]) for byte in FINE)), {}, OK, "HTTP 200", id="byte by byte"),
        pytest.param(says(FINE), {"expect": ()}, OK, "HTTP 200", id="any status"),
        pytest.param(says(FINE), {"expect": (201, 204)}, WRONG, "HTTP 200, expected 201, 204", id="other expected"),
        pytest.param(
            says(FINE),
            {"expect": tuple(range(300, 400))},
            WRONG,
            "HTTP 200, expected 300, 301, 302, 303, 304, ...",
            id="many expected",
        ),
        pytest.param(says(FINE), {"body": "ok"}, OK, "HTTP 200", id="body"),
        pytest.param(
            says(FINE), {"body": "o'k"}, WRONG, 'HTTP 200, but the body does not contain "o\'k"', id="another body"
        ),
        pytest.param(says(FINE), {"body_pattern": "^ok$"}, OK, "HTTP 200", id="pattern"),
        pytest.param(
            says(FINE),
            {"body_pattern": "^ok.$"},
            WRONG,
            r"HTTP 200, but the body has no match for '\^ok\.\$'",
            id="another pattern",
        ),
        pytest.param(
            says(CHUNKED, b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n"),
            {"body_pattern": "o+k"},
            OK,
            "HTTP 200",
            id="pattern in pieces",
        ),
        pytest.param(
            says(OPEN_END, b"x" * 99999, b"end\n"),
            {"body_pattern": "x{400}end$"},
            OK,
            "HTTP 200",
            id="pattern at the end",
        ),
        pytest.param(
            repeats(OPEN_END, b"x" * 65536),
            {"body_pattern": "x$"},
            WRONG,
            "HTTP 200, but the body has no match for 'x\\$'",
            id="endless body has no end",
        ),
        pytest.param(
            says(CHUNKED, b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n"), {"body": "ok"}, OK, "HTTP 200", id="body in pieces"
        ),
        pytest.param(
            says(OPEN_END, b"x" * 99999, b"\xc3", b"\xa4"), {"body": "xä"}, OK, "HTTP 200", id="body at the end"
        ),
        pytest.param(
            repeats(OPEN_END, b"x" * 65536),
            {"body": "y" * 200},
            WRONG,
            "HTTP 200, but the body does not contain 'y+\\.\\.\\.",
            id="endless body, nothing found",
        ),
        pytest.param(
            says(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nok"),
            {"body": "ok"},
            WRONG,
            "HTTP 503, expected 200",
            id="body of an error",
        ),
        pytest.param(
            says(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n", then="wait"),
            {},
            WRONG,
            "HTTP 503, expected 200",
            id="503, body missing",
        ),
        pytest.param(
            says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
            {},
            WRONG,
            "HTTP 302, expected 200",
            id="redirect not followed",
        ),
        pytest.param(
            says(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"),
            {"expect": (302,)},
            OK,
            "HTTP 302",
            id="redirect expected",
        ),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"), {"method": "HEAD"}, OK, "HTTP 200", id="head"
        ),
        pytest.param(says(b"HTTP/1.1 204 No\r\n\r\n"), {"expect": (204,)}, OK, "HTTP 204", id="no content"),
        pytest.param(says(b"HTTP/1.1 100 Go\r\n\r\n" * 3, FINE), {}, OK, "HTTP 200", id="interim responses"),
        pytest.param(says(CHUNKED, b"3\r\nok\n\r\n0\r\n\r\n"), {}, OK, "HTTP 200", id="chunked"),
        pytest.param(says(OPEN_END, b"ok"), {}, OK, "HTTP 200", id="ends with the connection"),
        pytest.param(repeats(OPEN_END, b"x" * 65536), {}, OK, "HTTP 200", id="endless body"),
        pytest.param(repeats(CHUNKED, b"1\r\nx\r\n" * 999), {}, OK, "HTTP 200", id="endless tiny chunks"),
        pytest.param(repeats(CHUNKED + b"fffffff\r\n", b"x" * 65536), {}, OK, "HTTP 200", id="huge chunk, really sent"),
        pytest.param(
            says(CHUNKED, b"fffffff\r\nx"), {}, WRONG, "not valid HTTP: .*incomplete chunked.*", id="huge chunk, cut"
        ),
        pytest.param(
            says(CHUNKED, b"f" * 30 + b"\r\nx"), {}, WRONG, "not valid HTTP: .*illegal chunk.*", id="absurd chunk"
        ),
        pytest.param(
            repeats(CHUNKED + b"1;", b"x" * 9999),
            {},
            WRONG,
            "not valid HTTP: Receive buffer too long",
            id="endless extension",
        ),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"),
            {},
            WRONG,
            "not valid HTTP: .*without sending complete message body.*",
            id="body cut short",
        ),
        pytest.param(
            repeats(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"x" * 999 + b"\r\n"),
            {},
            WRONG,
            "not valid HTTP: Receive buffer too long",
            id="endless headers",
        ),
        pytest.param(repeats(b"", b"x" * 9999), {}, WRONG, "not valid HTTP: .*", id="endless line"),
        pytest.param(repeats(b"", b"HTTP/1.1 100 Go\r\n\r\n"), {}, WRONG, "no final response", id="endless interim"),
        pytest.param(says(b"\xff\xfe\x00 \x80\r\n\r\n"), {}, WRONG, "not valid HTTP: .*", id="invalid UTF-8"),
        pytest.param(
            says(b"HTTP/1.1 200 \xff\xfe\r\nX: \xff\x80\r\nContent-Length: 0\r\n\r\n"),
            {},
            OK,
            "HTTP 200",
            id="valid, yet not UTF-8",
        ),
        pytest.param(
            says(b"HTTP/1.1 \x1b[31m\r\n\r\n"), {}, WRONG, "not valid HTTP: .*illegal status line.*", id="escapes"
        ),
        pytest.param(says(b"HTTP/1.1 20 OK\r\n\r\n"), {}, WRONG, "not valid HTTP: .*", id="short status"),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
            {},
            WRONG,
            "not valid HTTP: .*",
            id="two lengths",
        ),
        pytest.param(says(b"SSH-2.0-OpenSSH_9.2\r\n"), {}, WRONG, "not valid HTTP: .*", id="another protocol"),
        pytest.param(says(b"HTTP/1.1 2"), {}, WRONG, "not valid HTTP: .*", id="closed in the status line"),
        pytest.param(says(), {}, NONE, "connection closed without an answer", id="closed after the request"),
        pytest.param(
            without_reading(), {}, NONE, "connection (closed without an answer|reset \\(response\\))", id="closed first"
        ),
        pytest.param(says(then="reset"), {}, NONE, r"connection reset \(response\)", id="reset after the request"),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\n", then="wait"), {"timeout": 0.2}, NONE, r"timeout \(response\)", id="half a head"
        ),
        pytest.param(says(then="wait"), {"timeout": 0.2}, NONE, r"timeout \(response\)", id="silence"),
        pytest.param(
            repeats(OPEN_END, b"x", pause=0.02), {"timeout": 0.3}, NONE, r"timeout \(response\)", id="slow drip"
        ),
        pytest.param(
            repeats(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", pause=0.02),
            {"timeout": 0.3},
            NONE,
            r"timeout \(response\)",
            id="slow headers",
        ),
        pytest.param(
            says(FINE),
            {"host": "bad\nhost"},
            WRONG,
            "the check cannot be sent, correct its host or path: .*",
            id="host",
        ),
        pytest.param(says(FINE), {"path": "/a b"}, WRONG, "the check cannot be sent, .*", id="path with a blank"),
        pytest.param(says(FINE), {"path": "/\u00e4"}, WRONG, "the check cannot be sent, .*", id="path beyond ASCII"),
    ],
)
def test_servers(handler: Handler, change: dict[str, object], outcome: Outcome, words: str) -> None:
    judge(ask(handler, replace(HTTP, **change)), outcome, words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("handler", "change", "outcome", "words"),
    [
        pytest.param(says(FINE), {}, OK, "HTTP 200", id="fine"),
        pytest.param(says(FINE), {"host": "www.example.com"}, OK, "HTTP 200", id="any certificate will do"),
        pytest.param(says(OPEN_END, b"ok"), {}, OK, "HTTP 200", id="ends with the connection"),
        pytest.param(repeats(OPEN_END, b"x" * 65536), {}, OK, "HTTP 200", id="endless body"),
        pytest.param(says(b"HTTP/1.1 500 No\r\n\r\n"), {}, WRONG, "HTTP 500, expected 200", id="wrong status"),
        pytest.param(says(), {}, NONE, "connection closed without an answer", id="closed after the request"),
        pytest.param(says(then="wait"), {"timeout": 0.4}, NONE, r"timeout \(response\)", id="silence"),
        pytest.param(says(FINE), {"host": "x" * 300}, WRONG, r"the name x+\.\.\.", id="impossible name"),
    ],
)
def test_tls_servers(
    tls: ssl.SSLContext, handler: Handler, change: dict[str, object], outcome: Outcome, words: str
) -> None:
    answer = ask(handler, replace(HTTPS, **change), tls)  # type: ignore[arg-type]
    judge(answer, outcome, words)
    if outcome is OK:
        assert answer.tls_version == "TLSv1.3"
        assert min(answer.connect_ns, answer.tls_ns, answer.first_byte_ns) > 0
        assert answer.connect_ns + answer.tls_ns + answer.first_byte_ns <= answer.total_ns


@pytest.mark.parametrize(
    ("handler", "outcome", "words"),
    [
        pytest.param(without_reading(b"HTTP/1.1 400 Bad\r\n\r\n"), WRONG, "TLS: .*", id="plain HTTP"),
        pytest.param(without_reading(b"\x15\x03\x03\x00\x02\x02\x28"), WRONG, "TLS: .*handshake failure", id="alert"),
        pytest.param(without_reading(b"\x00" * 100), WRONG, "TLS: .*", id="garbage"),
        pytest.param(without_reading(b"\x16\x03"), WRONG, r"connection (closed|reset) \(TLS handshake\)", id="cut"),
        pytest.param(without_reading(), NONE, r"connection (closed|reset) \(TLS handshake\)", id="closed"),
        pytest.param(without_reading(then="reset"), NONE, r"connection reset \(TLS handshake\)", id="reset"),
        pytest.param(without_reading(then="wait"), NONE, r"timeout \(TLS handshake\)", id="silence"),
    ],
)
def test_servers_that_do_not_speak_tls(handler: Handler, outcome: Outcome, words: str) -> None:
    judge(ask(handler, replace(HTTPS, timeout=0.4)), outcome, words)


def test_a_server_that_wants_a_certificate_of_ours_answers_wrongly(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED

    def refuse_one(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with accepted, pytest.raises(ssl.SSLError):
            context.wrap_socket(accepted, server_side=True)

    # A thread, because asyncio's servers close without the alert.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=refuse_one, args=(listener,))
        server.start()
        answer = asyncio.run(probe(replace(HTTPS, port=listener.getsockname()[1])))
        server.join()
    judge(answer, WRONG, "TLS: .*certificate required")


@pytest.mark.parametrize(
    ("kind", "port", "host", "vip", "header", "name"),
    [
        (CheckKind.HTTP, 80, "", "203.0.113.1", "203.0.113.1", None),
        (CheckKind.HTTP, 8080, "", "203.0.113.1", "203.0.113.1:8080", None),
        (CheckKind.HTTP, 443, "www.example.com", "203.0.113.1", "www.example.com:443", "www.example.com"),
        (CheckKind.HTTPS, 443, "www.example.com", "203.0.113.1", "www.example.com", "www.example.com"),
        (CheckKind.HTTPS, 80, "", "2001:db8::1", "[2001:db8::1]:80", None),
        (CheckKind.HTTPS, 443, "[2001:db8::2]", "2001:db8::1", "[2001:db8::2]", None),
        (CheckKind.HTTPS, 443, "2001:db8:0::2", "2001:db8::1", "[2001:db8::2]", None),
        (CheckKind.HTTPS, 443, "[2001:db8::2]:8443", "2001:db8::1", "[2001:db8::2]:8443", None),
        (CheckKind.HTTP, 8080, "2001:db8::2", "2001:db8::1", "[2001:db8::2]:8080", None),
        (CheckKind.HTTP, 8080, "www.example.com:8081", "2001:db8::1", "www.example.com:8081", "www.example.com"),
        (CheckKind.HTTPS, 443, "192.0.2.1:443", "203.0.113.1", "192.0.2.1:443", None),
    ],
)
def test_the_host_header_and_the_tls_name(
    kind: CheckKind, port: int, host: str, vip: str, header: str, name: str | None
) -> None:
    request, server_name = prepare(Check(kind, port, host, "/x", "HEAD"), ip_address(vip))
    assert (request.method, request.target) == (b"HEAD", b"/x")
    assert dict(request.headers)[b"host"] == header.encode()
    assert dict(request.headers)[b"connection"] == b"close"
    assert server_name == name


def test_the_request_is_what_was_configured_and_sni_is_sent(tls: ssl.SSLContext) -> None:
    seen: list[bytes | str | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(FINE)

    tls.sni_callback = lambda _, name, __: seen.append(name)
    answer = ask(handle, replace(HTTPS, host="www.example.com", path="/health?a=b"), tls)
    tls.sni_callback = None
    assert answer.outcome is OK
    assert seen[0] == "www.example.com"
    assert isinstance(seen[1], bytes)
    assert seen[1].startswith(b"GET /health?a=b HTTP/1.1\r\nHost: www.example.com:")


def test_ipv6() -> None:
    async def run() -> Answer:
        async with serving(says(FINE), host="::1") as port:
            return await probe(replace(HTTP, port=port), "::1")

    assert asyncio.run(run()).outcome is OK


@settings(max_examples=PARSER_INPUTS)
@given(
    st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", CHUNKED, OPEN_END]),
    st.binary(max_size=300) | st.text("0123456789:; \r\nHTP/ab", max_size=200).map(str.encode),
)
def test_no_answer_is_a_defect(head: bytes, rest: bytes) -> None:
    """Whatever a server says, the probe ends with an outcome by the rule: bytes came, so it is not NONE."""

    async def run() -> Answer:
        async with serving(says(head + rest)) as port:
            with running():
                return await probe(replace(HTTP, port=port))

    answer = asyncio.run(run())
    assert answer.outcome in ((OK, WRONG) if head + rest else (NONE,))
    assert answer.diagnostic.isprintable()


def test_an_impossible_check_is_told_from_a_failing_backend() -> None:
    with pytest.raises(ProbeFailed, match="correct its host or path"):
        prepare(replace(HTTP, method="G T"), ip_address("203.0.113.1"))
