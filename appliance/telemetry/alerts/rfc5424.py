"""Notices as syslog messages (RFC 5424), and how they follow each other on a connection (RFC 6587, 5425). Pure.

    <27>1 2026-11-22T08:00:01.123456Z lb1 vc5 812 vip-down [vc5@32473 sequence="7" kind="vip" ...] VIP 203.0.113.10 down

The facility is `daemon`. The message's id (MSGID) is kind and outcome. Who has no enterprise number of the IANA can
name a structured element only by the one that RFC 5612 sets aside for documentation, 32473: the number is no one's, so
it can never mean somebody else's element, and names without `@` are the IANA's to give. Besides there is `origin`
(RFC 5424, 7.2), which is one of those.

A text that is not ASCII begins with the byte order mark, by which RFC 5424, 6.4 tells UTF-8 from anything else. One
that is ASCII needs none, and gets none: many servers show it as three odd characters.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from appliance import __version__
from appliance.model import Severity
from appliance.telemetry.alerts.notice import Notice, clock

FACILITY = 3
"""daemon (RFC 5424, 6.2.1)."""
ELEMENT = "vc5@32473"
BOM = b"\xef\xbb\xbf"
NIL = "-"
DATAGRAM_BYTES = 2048
"""What every receiver should take (RFC 5426, 3.2); larger ones are lost where a fragment is."""
STREAM_BYTES = 8192
"""What every receiver should take (RFC 5425, 4.3.1)."""
LOCAL_BYTES = 2048
LEAST_TEXT = 200
"""Bytes of the text that structured data leave room for."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
PARAMETERS = ("outcome", "before", "vip", "service", "backend", "interface", "peer", "reason")


def header_word(text: str, most: int) -> str:
    """Return a field of the header: printable ASCII without spaces, or the sign for none (RFC 5424, 6)."""
    word = "".join(one if "!" <= one <= "~" else "_" for one in text[:most])
    return word or NIL


def parameter(name: str, value: str) -> str:
    """Return a parameter of a structured element, escaped (RFC 5424, 6.3.3)."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
    return f'{name}="{escaped}"'


def element(notice: Notice) -> str:
    """Return the structured data of a notice."""
    found = [("sequence", str(notice.sequence)), ("kind", str(notice.kind))]
    found += [(name, getattr(notice, name)) for name in PARAMETERS if getattr(notice, name)]
    told = " ".join(parameter(name, value) for name, value in found)
    return f'[origin software="vc5" swVersion="{__version__}"][{ELEMENT} {told}]'


def message(notice: Notice, hostname: str, process: int, most: int) -> bytes:
    """Return the message of a notice, in at most `most` bytes, 600 at least.

    Its text is cut where it is too long. Where the structured data alone are, the reason is left out, which the text
    tells as well, or all of them.
    """
    stamp = clock(notice.at, "%Y-%m-%dT%H:%M:%S")
    if stamp:
        stamp += f".{int(notice.at % 1 * 1e6):06}Z"
    identifier = f"{notice.kind}-{notice.outcome}" if notice.outcome else str(notice.kind)
    host, of = header_word(hostname, 255), header_word(identifier, 32)
    head = f"<{priority(notice.severity)}>1 {stamp or NIL} {host} vc5 {process or NIL} {of}"
    body = (b"" if notice.text.isascii() else BOM) + notice.text.encode()
    start = b""
    for data in (element(notice), element(replace(notice, reason="")), NIL):
        start = f"{head} {data} ".encode()
        if len(start) + min(len(body), LEAST_TEXT) <= most:
            break
    return start + whole_characters(body, most - len(start))


def priority(severity: Severity) -> int:
    """Return the number in front of a message: facility and severity."""
    return FACILITY * 8 + severity


def whole_characters(text: bytes, most: int) -> bytes:
    """Return the beginning of a text in UTF-8, cut between two characters."""
    return text if len(text) <= most else text[:most].decode("utf-8", "ignore").encode()


def framed(content: bytes) -> bytes:
    """Return a message as it stands on a connection, its length in front (RFC 6587, 3.4.1; RFC 5425, 4.3)."""
    return b"%d " % len(content) + content


def local(notice: Notice, tag: str, process: int) -> bytes:
    """Return the message of a notice as programs write it to /dev/log: of RFC 3164, in local time, without a host."""
    at = datetime.fromtimestamp(notice.at, UTC).astimezone()
    stamp = f"{MONTHS[at.month - 1]} {at.day:2} {at:%H:%M:%S}"
    head = f"<{priority(notice.severity)}>{stamp} {tag}[{process}]: "
    return whole_characters(f"{head}{notice.text}".encode(), LOCAL_BYTES)
