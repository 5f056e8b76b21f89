"""Who may look: by which name a request calls the server, and who it says it comes from. Pure.

A page of another site can have a name of its own point to this host (DNS rebinding), and would then be of the same
origin as the console. It cannot choose what the browser puts into Host, which is that name; so only addresses and names
that are known to be ours are answered (RFC 9110 section 7.2).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterable
from ipaddress import ip_address

from appliance.model_console import Console

_PORT = re.compile(r":[0-9]{1,5}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9.-]{1,255}", re.ASCII)
REALM = "vc5"


def is_ours(host: str, names: Iterable[str]) -> bool:
    """Return whether the value of Host names this server: an address, `localhost`, or one of `names`."""
    if host.startswith("["):
        bare, bracket, port = host[1:].partition("]")
        return bool(bracket) and (not port or bool(_PORT.fullmatch(port))) and _is_address(bare)
    bare, colon, _ = host.partition(":")
    if colon and not _PORT.fullmatch(host[len(bare) :]):
        return False
    if _is_address(bare):
        return True
    name = bare.lower().removesuffix(".")
    return bool(_NAME.fullmatch(bare)) and (name == "localhost" or name in {one.lower() for one in names})


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def may_look(authorization: str, console: Console) -> bool:
    """Return whether the value of Authorization is that of somebody who may look; each comparison takes as long."""
    if not console.guarded:
        return True
    scheme, _, given = authorization.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return bool(console.token) and _equal(given.strip(), console.token)
        case "basic":
            return bool(console.password) and _equal(_decoded(given.strip()), f"{console.user}:{console.password}")
    return False


def challenge(console: Console) -> str:
    """Return the value of WWW-Authenticate (RFC 9110 section 11.6.1)."""
    ways = [f'Basic realm="{REALM}", charset="UTF-8"'] if console.password else []
    return ", ".join([*ways, *([f'Bearer realm="{REALM}"'] if console.token else [])])


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return ""


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))
