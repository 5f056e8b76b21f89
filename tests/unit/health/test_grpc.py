"""The check grpc: a real server, HTTP/2 servers that are not one, and the codec."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.health.answer import Answer
from appliance.health.probes import grpc as probe_grpc
from appliance.health.probes.failure import ProbeFailed
from appliance.model import Check, CheckKind, Outcome
from tests.profile import PARSER_INPUTS
from tests.unit.health.authority import certificate_of, self_signed, serving_with
from tests.unit.health.servers import VIP, Handler, descriptors, finish, probe, serving, without_reading

OK, WRONG, NONE = Outcome.OK, Outcome.WRONG, Outcome.NONE
GRPC = Check(CheckKind.GRPC, 50051, timeout=5.0)
SERVED = {b"": 1, b"shop.v1.Orders": 1, b"closed": 2, b"odd": 77, b"unset": 0}
"""What the real server says of each service."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("grpc") / "both.pem", names="DNS:www.example.test")


@contextmanager
def health_server(certificate: Path | None = None, serve: bool = True) -> Iterator[int]:
    """Run a server of Google's with the health service; yield its port."""
    grpc = pytest.importorskip("grpc", reason="needs the Debian package python3-grpcio")

    def check(request: bytes, context: Any) -> bytes:
        status = SERVED.get(request[2:])
        if status is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such\nservice: 100 %")
        return b"\x08" + bytes((status,)) if status else b""

    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", 0)])
    if serve:
        handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    if certificate:
        key, _, chain = certificate.read_bytes().partition(b"-----BEGIN CERTIFICATE")
        credentials = grpc.ssl_server_credentials([(key, b"-----BEGIN CERTIFICATE" + chain)])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


@pytest.fixture(scope="module")
def real() -> Iterator[int]:
    with health_server() as port:
        yield port


def judge(answer: Answer, outcome: Outcome, words: str) -> None:
    assert (answer.outcome, bool(re.fullmatch(words, answer.diagnostic))) == (outcome, True), answer
    assert answer.diagnostic.isprintable()


@pytest.mark.parametrize(
    ("service", "outcome", "words"),
    [
        ("", OK, "SERVING"),
        ("shop.v1.Orders", OK, "SERVING"),
        ("closed", WRONG, "NOT_SERVING, expected SERVING"),
        ("unset", WRONG, "UNKNOWN, expected SERVING"),
        ("odd", WRONG, "status 77, expected SERVING"),
        ("absent", WRONG, r"gRPC NOT_FOUND: no such\\nservice: 100 %"),
    ],
)
def test_a_real_server(real: int, service: str, outcome: Outcome, words: str) -> None:
    answer = asyncio.run(probe(replace(GRPC, port=real, service=service)))
    judge(answer, outcome, words)
    assert 0 < answer.first_byte_ns <= answer.total_ns


def test_a_real_server_without_the_health_service() -> None:
    with health_server(serve=False) as port:
        judge(asyncio.run(probe(replace(GRPC, port=port))), WRONG, "gRPC UNIMPLEMENTED: .*")


def test_a_real_server_over_tls(certificate: Path) -> None:
    with health_server(certificate) as port:
        check = replace(GRPC, port=port, tls=True, host="www.example.test")
        answer = asyncio.run(probe(check))
        judge(answer, OK, "SERVING")
        assert (answer.tls_version, answer.certificate_expires > 0) == ("TLSv1.3", True)
        verified = replace(check, verify=True, ca="/etc/ca.pem")
        judge(asyncio.run(probe(verified, authority=certificate_of(certificate))), OK, "SERVING")
        other = replace(verified, host="other.example.test")
        refused = asyncio.run(probe(other, authority=certificate_of(certificate)))
        judge(refused, WRONG, "TLS: certificate refused: Hostname mismatch.*")
        judge(asyncio.run(probe(replace(check, tls=False))), NONE, r"connection (reset|closed) .*")


def ask(handler: Handler, check: Check = GRPC, tls: Any = None) -> Answer:
    async def run() -> Answer:
        async with serving(handler, tls) as port:
            return await probe(replace(check, port=port))

    before = descriptors()
    answer = asyncio.run(run())
    assert descriptors() <= before
    return answer


Act = Callable[[h2.connection.H2Connection, int], None]
GRPC_HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
SERVING = probe_grpc.framed(b"\x08\x01")


def speaks(act: Act, then: str = "close", endless: bool = False) -> Handler:
    """Return an HTTP/2 server that does something once the request is there, or again and again."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        asked = False
        while not asked:
            for event in connection.receive_data(await reader.read(65536)):
                asked = asked or isinstance(event, h2.events.StreamEnded)
        act(connection, 1)
        writer.write(connection.data_to_send())
        await writer.drain()
        while endless:
            act(connection, 1)
            writer.write(connection.data_to_send())
            await writer.drain()
        await finish(reader, writer, then)

    return handle


def answers(headers: list[tuple[str, str]], body: bytes, trailers: list[tuple[str, str]] | None) -> Act:
    """Return what sends an answer."""

    def act(connection: h2.connection.H2Connection, stream: int) -> None:
        connection.send_headers(stream, headers, end_stream=not body and trailers is None)
        if body:
            connection.send_data(stream, body, end_stream=trailers is None)
        if trailers is not None:
            connection.send_headers(stream, trailers, end_stream=True)

    return act


FINE = [("grpc-status", "0")]


@pytest.mark.parametrize(
    ("handler", "outcome", "words"),
    [
        (speaks(answers(GRPC_HEADERS, SERVING, FINE)), OK, "SERVING"),
        (speaks(answers(GRPC_HEADERS, SERVING, FINE), then="wait"), OK, "SERVING"),
        (speaks(answers([*GRPC_HEADERS, ("grpc-status", "14")], b"", None)), WRONG, "gRPC UNAVAILABLE"),
        (speaks(answers(GRPC_HEADERS, b"", [("grpc-status", "99")])), WRONG, "gRPC 99"),
        (
            speaks(answers(GRPC_HEADERS, b"", [("grpc-status", "2"), ("grpc-message", "%1b[31m%zz%ff")])),
            WRONG,
            r"gRPC UNKNOWN: \\x1b\[31m%zz\ufffd",
        ),
        (speaks(answers([(":status", "502")], b"Bad", None)), WRONG, "HTTP 502, and not gRPC"),
        (speaks(answers(GRPC_HEADERS, SERVING, None)), WRONG, "HTTP 200, and not gRPC"),
        (speaks(answers(GRPC_HEADERS, b"\1" + SERVING[1:], FINE)), WRONG, "not a health answer: it is compressed"),
        (speaks(answers(GRPC_HEADERS, SERVING[:-1], FINE)), WRONG, "not a health answer: a length of 2 before 1 bytes"),
        (speaks(answers(GRPC_HEADERS, b"\0", FINE)), WRONG, "not a health answer: a message of 1 bytes"),
        (speaks(answers(GRPC_HEADERS, b"x" * 9999, FINE)), WRONG, "not gRPC: a message of more than 1024 bytes"),
        (speaks(lambda c, stream: c.reset_stream(stream, 7)), WRONG, "the server reset the call: REFUSED_STREAM"),
        (speaks(lambda c, stream: c.close_connection(11)), WRONG, "the server ended the connection: ENHANCE_YOUR_CALM"),
        (speaks(lambda c, stream: None), WRONG, "connection closed before the end of the answer"),
        (speaks(lambda c, stream: None, then="wait"), NONE, r"timeout \(response\)"),
        (speaks(lambda c, stream: c.ping(b"12345678"), endless=True), WRONG, "not gRPC: more than 16384 bytes"),
        (speaks(lambda c, stream: c.update_settings({4: 9}), endless=True), WRONG, "not gRPC: more than 16384 bytes"),
        (without_reading(), NONE, r"connection (closed without an answer|reset \(response\))"),
        (without_reading(then="wait"), NONE, r"timeout \(response\)"),
        (
            without_reading(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", then="wait"),
            WRONG,
            "not valid HTTP/2: the server speaks an earlier HTTP",
        ),
        (
            without_reading(b"\0" * 99, then="wait"),
            WRONG,
            "not valid HTTP/2: the server does not begin with SETTINGS",
        ),
        (without_reading(b"\0\0\6\4\0\0\0\0\0" + b"\0\4\xff\xff\xff\xff", then="wait"), WRONG, "not valid.*"),
    ],
)
def test_servers(handler: Handler, outcome: Outcome, words: str) -> None:
    judge(ask(handler, replace(GRPC, timeout=1.0)), outcome, words)


def test_a_tls_server_without_http2(certificate: Path) -> None:
    answer = ask(without_reading(then="wait"), replace(GRPC, tls=True), serving_with(certificate))
    judge(answer, WRONG, r"TLS: the server does not offer HTTP/2 \(ALPN\)")


def feed(data: bytes) -> Outcome:
    """Return what a call makes of bytes that come after an empty SETTINGS frame."""
    call = probe_grpc.Call(GRPC, VIP)
    try:
        call.receive(b"\0\0\0\4\0\0\0\0\0")
        for at in range(0, len(data), 50):
            call.receive(data[at : at + 50])
        if call.ended:
            call.result()
    except ProbeFailed as failure:
        return failure.outcome
    return OK


@settings(max_examples=PARSER_INPUTS)
@given(st.binary(max_size=200))
def test_no_bytes_are_a_defect(data: bytes) -> None:
    assert feed(data) in (OK, WRONG)


FRAME = st.builds(
    lambda kind, flags, stream, body: len(body).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + body,
    st.integers(0, 11),
    st.sampled_from([0, 1, 4, 5, 8, 0x20, 0xFF]),
    st.sampled_from([0, 1, 2, 3, 1 << 31]),
    st.binary(max_size=40),
)


@settings(max_examples=PARSER_INPUTS)
@given(st.lists(FRAME, max_size=8).map(b"".join))
def test_no_frames_are_a_defect(data: bytes) -> None:
    assert feed(data) in (OK, WRONG)


@settings(max_examples=PARSER_INPUTS)
@given(st.binary(max_size=60) | st.binary(max_size=60).map(probe_grpc.framed))
def test_no_message_is_a_defect(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert probe_grpc.read_response(body) >= 0


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"", 0),
        (b"\x08\x01", 1),
        (b"\x08\x01\x08\x02", 2),  # the last one counts
        (b"\x12\x02ab\x08\x01\x19" + b"x" * 8 + b"\x25" + b"x" * 4, 1),  # fields of another version
        (b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 1 << 63),
    ],
)
def test_messages(message: bytes, status: int) -> None:
    assert probe_grpc.read_response(probe_grpc.framed(message)) == status


@given(st.text("abc.", max_size=255))
def test_names_of_any_length(name: str) -> None:
    message = probe_grpc.request_message(name)
    assert message.endswith(name.encode())
    assert len(message) - len(name) == (3 if len(name) > 127 else 2 if name else 0)
