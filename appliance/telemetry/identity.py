"""Who we are to Elasticsearch and Kibana, how we know that it is them, and how we repeat what they say."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from appliance.errors import ShipError
from appliance.model_logging import Elasticsearch

SHOWN: Final = 500
"""Characters of what a server says that a message repeats."""


def authorization(settings: Elasticsearch) -> str:
    """Return the header's value that tells who we are: a secret. Empty where nothing is configured.

    An API key goes before user and password, and these before what stands in the first address.
    """
    if settings.api_key:
        key = settings.api_key
        return "ApiKey " + (base64.b64encode(key.encode()).decode("ascii") if ":" in key else key)
    user, password = settings.username, settings.password
    if not user and settings.addresses:
        parts = urlsplit(settings.addresses[0])
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii") if user else ""


def shown(what: object) -> str:
    """Return what somebody else said as words for a message: one line, printable, not too long."""
    text = what if isinstance(what, str) else json.dumps(what, default=str)
    line = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * SHOWN])
    line = " ".join(line.split())
    return line if len(line) <= SHOWN else line[:SHOWN] + "..."


def tls_context(settings: Elasticsearch, files: Mapping[str, str] | None = None) -> ssl.SSLContext:
    """Return what TLS is spoken with; `files` says where those are read whose place is not their own.

    Raises ShipError, not retryable, where a file cannot be used.
    """
    ca, certificate, key = (
        (files or {}).get(path, path) or None for path in (settings.ca, settings.certificate, settings.key)
    )
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise ShipError(f"{settings.ca}: no certificates to vouch for the server: {error}") from error
    if certificate:
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ValueError) as error:
            named = " and ".join(name for name in (settings.certificate, settings.key) if name)
            raise ShipError(f"{named}: no certificate to show to the server: {error}") from error
    return context
