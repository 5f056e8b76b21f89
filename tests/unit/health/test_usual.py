"""What is recognised at one glance is what h11 says, too; everything doubtful is left to h11."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.health.probes.usual import Parser, usual
from tests.profile import PARSER_INPUTS

NGINX = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 01:57:12 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 2\r\nConnection: close\r\n\r\nok"
)


def request(method: str = "GET") -> h11.Request:
    return h11.Request(method=method, target="/", headers=[("Host", "a")])


def by_h11(data: bytes) -> tuple[int, bytes] | None:
    """Return status and body as h11 reads them, None where it wants more or finds a mistake."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(request())
    parser.send(h11.EndOfMessage())
    return by_events(parser, data)


def by_events(parser: h11.Connection | Parser, data: bytes) -> tuple[int, bytes] | None:
    parser.receive_data(data)
    body = b""
    try:
        response = parser.next_event()
        if not isinstance(response, h11.Response):
            return None
        while isinstance(event := parser.next_event(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError:
        return None
    return (response.status_code, body) if isinstance(event, h11.EndOfMessage) else None


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (NGINX, (200, b"ok")),
        (b"HTTP/1.0 503\r\ncontent-length:0\r\n\r\n", (503, b"")),
        (b"HTTP/1.1 404 N\xf6 way\r\nX: a: b\tc \r\nY:\r\nCONTENT-LENGTH: \t003 \r\n\r\na\nb", (404, b"a\nb")),
        (b"HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\n\0", (200, b"\0")),
    ],
)
def test_usual_responses_are_read(data: bytes, answer: tuple[int, bytes]) -> None:
    assert usual(data) == by_h11(data) == by_events(Parser(request(), 100), data) == answer


def test_the_answer_to_head_has_no_body() -> None:
    parser = Parser(request("HEAD"), 1000)
    parser.receive_data(NGINX)
    assert isinstance(parser.next_event(), h11.Response)
    assert isinstance(parser.next_event(), h11.EndOfMessage)


def test_what_comes_in_pieces_is_read_by_h11() -> None:
    parser = Parser(request(), 1000)
    assert parser.next_event() is h11.NEED_DATA
    for at in range(len(NGINX)):
        parser.receive_data(NGINX[at : at + 1])
        event = parser.next_event()
    assert isinstance(event, h11.Data)
    assert event.data == b"k"


def test_a_head_is_bounded() -> None:
    parser = Parser(request(), 100)
    parser.receive_data(NGINX[:-20])
    with pytest.raises(h11.RemoteProtocolError):
        parser.next_event()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        NGINX[:-1],
        NGINX + b"x",
        b" " + NGINX,
        NGINX.replace(b"\r", b""),
        NGINX.replace(b"1.1", b"2.0", 1),
        NGINX.replace(b"200", b"100"),
        NGINX.replace(b"200", b"204"),
        NGINX.replace(b"200", b"304"),
        NGINX.replace(b"200", b"2000"),
        NGINX.replace(b"Content-Length: 2\r\n", b""),
        NGINX.replace(b"Length: 2", b"Length: 2, 2"),
        NGINX.replace(b"Length: 2", b"Length: +2"),
        NGINX.replace(b"Length: 2", b"Length: 2\r\nContent-Length: 2"),
        NGINX.replace(b"Length: 2", b"Length: 2\r\nTransfer-Encoding: chunked"),
        NGINX.replace(b"Length: 2", b"Length : 2"),
        NGINX.replace(b"Content-Length", b"X-Content-Length"),
        NGINX.replace(b"Server: nginx/1.22.1", b"Server: Content-Length: 2").replace(b"nContent-L", b"nContent L"),
        NGINX.replace(b"nginx", b"ng\0inx"),
        NGINX.replace(b"nginx", b"ng\ninx"),
        NGINX.replace(b"nginx", b"ng\r\n inx"),
        NGINX.replace(b"Server:", b"Server"),
        NGINX.replace(b"Server", b"Serv\xf6r"),
    ],
)
def test_what_is_not_usual_is_left_alone(data: bytes) -> None:
    assert usual(data) is None


LINES = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK", b"HTTP/1.0 500", b"HTTP/1.1 204 No", b"HTTP/1.1 100 Go", b"HTTP/1.1 304 Same", b""),
        *(b"Content-Length: 2", b"content-length:2", b"Content-Length: 02 ", b"Content-Length: 3", b" folded: 2"),
        *(b"Transfer-Encoding: chunked", b"Connection: close", b"X-Content-Length: 2", b"Via: content-length: 2"),
    ]
) | st.binary(max_size=8)
TEXTS = st.tuples(
    st.lists(LINES, max_size=6), st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r"]), st.sampled_from([b"", b"ok", b"2"])
).map(lambda parts: parts[1].join([*parts[0], b"", parts[2]]))


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A usual response in which a few bytes are others, or away."""
    data = bytearray(NGINX)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(data)


@settings(max_examples=PARSER_INPUTS)
@given(TEXTS | st.builds(lambda head, rest: head + rest, st.just(b"HTTP/1.1 200 OK\r\n"), TEXTS) | spoilt())
@example(NGINX)
def test_nothing_is_read_otherwise_than_by_h11(data: bytes) -> None:
    if (answer := usual(data)) is not None:
        assert answer == by_h11(data)
    assert by_events(Parser(request(), 1 << 14), data) == by_h11(data)
