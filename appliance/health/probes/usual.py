"""The usual response to a GET, read at one glance: a whole one, plainly written, in the first bytes that came.

h11 takes a third of what a whole probe takes. Nearly every response is the same few lines with a length, so these are
recognised by one pattern; and only those of which h11 says exactly the same, which a test compares. Everything else,
be it a response in pieces, chunked, without a length, oddly written or wrong, is left to h11.
"""

from __future__ import annotations

import re
from functools import lru_cache

import h11

Event = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]

# Status line and fields as in RFC 9112 sections 4 and 5, without line folding, control characters and bare line feeds.
# A response with status 204 or 304 has no body, whatever its length says; one below 200 is not the final one.
_HEAD = re.compile(
    rb"HTTP/1\.[01] (?!204|304)([2-9][0-9]{2})(?: [\t -~\x80-\xff]*+)?\r\n"
    rb"((?:[-!#$%&'*+.^_`|~0-9A-Za-z]++:[\t -~\x80-\xff]*+\r\n)*+)\r\n"
)
_LENGTH = re.compile(rb"(?:\A|\n)content-length:[\t ]*([0-9]{1,7})[\t ]*\r")


def usual(data: bytes) -> tuple[int, bytes] | None:
    """Return status and body if `data` is one whole response with one length and nothing behind it, else None."""
    head = _HEAD.match(data)
    if head is None:
        return None
    fields = head[2].lower()
    if fields.count(b"content-length:") != 1 or b"transfer-encoding:" in fields:
        return None
    length = _LENGTH.search(fields)
    if length is None or len(data) - head.end() != int(length[1]):
        return None
    return int(head[1]), data[head.end() :]


class Parser:
    """What reads the response to a request, used as an `h11.Connection` is, and with its events.

    `most` is the most bytes of a status line with its headers, and of one chunk line.
    """

    __slots__ = ("_events", "_h11", "_most", "_request")

    def __init__(self, request: h11.Request, most: int) -> None:
        self._request = request
        self._most = most
        self._h11: h11.Connection | None = None
        self._events: list[h11.Event] = []
        """What comes of a usual response, the last first."""

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes, empty at the end of the stream."""
        if self._h11 is None:
            # A HEAD request has the length of a body that does not come.
            response = usual(data) if self._request.method == b"GET" else None
            if response is not None:
                status, body = response
                self._events = [_END, *((h11.Data(data=body),) if body else ()), _response(status)]
                return
            self._h11, _ = asked(self._request, self._most)
        self._h11.receive_data(data)

    def next_event(self) -> Event:
        """Return the next event; raises h11.RemoteProtocolError."""
        if self._h11 is not None:
            return self._h11.next_event()
        return self._events.pop() if self._events else h11.NEED_DATA


def asked(request: h11.Request, most: int) -> tuple[h11.Connection, bytes]:
    """Return a connection that has sent a request without a body, and the bytes of that."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=most)
    return connection, (connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b"")


_END = h11.EndOfMessage()


@lru_cache(maxsize=1000)
def _response(status: int) -> h11.Response:
    return h11.Response(status_code=status, headers=[])
