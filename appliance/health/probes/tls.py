"""The settings of TLS connections. Every probe makes a connection of its own, and no session is resumed."""

from __future__ import annotations

import ssl
from functools import lru_cache

from appliance.health.probes.failure import ProbeNotSent
from appliance.model import Check


def context_of(check: Check, authority: str, protocol: str = "") -> ssl.SSLContext:
    """Return the settings for a check: TLS 1.2 or later, no renegotiation; any certificate, unless it is verified.

    `authority` is the content of the check's file of certificates, `protocol` what is offered by ALPN (RFC 7301).
    Raises ProbeNotSent where the file is of no use: that says nothing of a backend.
    """
    if check.verify and check.ca and not authority:
        raise ProbeNotSent(f"the file of certificates {check.ca} cannot be read")
    try:
        return _context(check.verify, authority, protocol)
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        raise ProbeNotSent(f"the file of certificates {check.ca} is of no use: {reason}") from None


@lru_cache(maxsize=64)
def _context(verify: bool, authority: str, protocol: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authority:
        context.load_verify_locations(cadata=authority)
    else:
        context.load_default_certs()
    if protocol:
        context.set_alpn_protocols([protocol])
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context
