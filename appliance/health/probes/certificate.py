"""When a certificate ends, read from its DER: Python tells that only of certificates that it has verified.

A certificate is SEQUENCE { SEQUENCE { [0] version, serial, algorithm, issuer, SEQUENCE { notBefore, notAfter }, ...
(RFC 5280 section 4.1). Nothing else of it is read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

DAY = 86400

SEQUENCE, VERSION, UTC_TIME, GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
BEFORE_VALIDITY = 3
"""Elements between version and validity: serial number, algorithm, issuer."""


@lru_cache(maxsize=4096)
def expiry(der: bytes) -> int:
    """Return notAfter in seconds since the epoch; 0 where that cannot be read."""
    try:
        return _expiry(der)
    except (ValueError, IndexError):
        return 0


def remark(expires: int, now: float, warning: int) -> str:
    """Return what to say of a certificate that ends in fewer than `warning` days, else nothing."""
    left = expires - now
    if not expires or left >= warning * DAY:
        return ""
    if left <= 0:
        return f"certificate expired {_days(-left)} ago"
    return f"certificate expires in {_days(left)}"


def _days(seconds: float) -> str:
    count = int(seconds // DAY)
    return "1 day" if count == 1 else f"{count} days" if count else "less than a day"


def _expiry(der: bytes) -> int:
    _, inside, _ = _element(der, 0)
    _, inside, _ = _element(inside, 0)
    tag, _, at = _element(inside, 0)
    for _ in range(BEFORE_VALIDITY if tag == VERSION else BEFORE_VALIDITY - 1):
        _, _, at = _element(inside, at)
    tag, validity, _ = _element(inside, at)
    if tag != SEQUENCE:
        raise ValueError("no validity")
    _, _, at = _element(validity, 0)
    tag, moment, _ = _element(validity, at)
    digits = moment.decode("ascii")
    if tag == UTC_TIME:
        # Years from 50 on are of the last century (section 4.1.2.5.1).
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    elif tag != GENERALIZED_TIME:
        raise ValueError("no time")
    return int(datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp())


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Return tag, content, and where the next element begins; raises IndexError, ValueError (X.690 section 8.1)."""
    tag, length = data[at], data[at + 1]
    at += 2
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4:
            raise ValueError("a length of no known form")
        length = int.from_bytes(data[at : at + size])
        at += size
    if at + length > len(data):
        raise IndexError
    return tag, data[at : at + length], at + length
