"""The usual response to a GET, read at one glance: a whole one, plainly written, in the first bytes that came.

h11 takes a third of what a whole probe takes. Nearly every response is the same few lines with a length, so these are
recognised by one pattern; and only those of which h11 says exactly the same, which a test compares. Everything else,
be it a response in pieces, chunked, without a length, oddly written or wrong, is left to h11.
"""

from __future__ import annotations

import re

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
