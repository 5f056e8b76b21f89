"""Imports saved objects into a Kibana: one POST of a file, as its import page does (Saved objects API, 7.17 and 8)."""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
from typing import Any, Final
from urllib.parse import quote, urlsplit

from appliance.errors import ShipError
from appliance.telemetry.identity import shown

TIMEOUT: Final = 60.0
LARGEST: Final = 1 << 24
"""Bytes of an answer that are read."""
HINTS: Final = {
    401: "; check user and password, or the API key",
    403: "; the user or API key lacks Kibana's privilege `all` on Saved Objects Management in this space",
    404: "; is there such a space, and is this Kibana?",
    413: "; Kibana takes no upload as large as this (savedObjects.maxImportPayloadBytes)",
    503: "; Kibana is not ready",
}


def import_path(base: str, space: str = "") -> str:
    """Return the path to post to; `base` is that of Kibana's URL, `space` a space other than the default one."""
    inside = f"/s/{quote(space, safe='')}" if space else ""
    return f"{base.rstrip('/')}{inside}/api/saved_objects/_import?overwrite=true"


def multipart(objects: bytes, boundary: str) -> bytes:
    """Return a form (RFC 7578) with one file."""
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename="vc5.ndjson"\r\n'
        "Content-Type: application/ndjson\r\n\r\n"
    )
    return head.encode("ascii") + objects + f"\r\n--{boundary}--\r\n".encode("ascii")


def import_objects(
    url: str,
    objects: bytes,
    *,
    space: str = "",
    authorization: str = "",
    tls: ssl.SSLContext | None = None,
    timeout: float = TIMEOUT,
) -> int:
    """Import saved objects (NDJSON) over those that have the same ids, and return how many there are.

    Raises ShipError where Kibana does not answer, refuses, or takes some of them only.
    """
    parts = urlsplit(url)
    boundary = f"vc5-{secrets.token_hex(16)}"
    headers = {"kbn-xsrf": "true", "Content-Type": f"multipart/form-data; boundary={boundary}"}
    if authorization:
        headers["Authorization"] = authorization
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=timeout, context=tls or ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=timeout)
    )
    try:
        connection.request("POST", import_path(parts.path, space), multipart(objects, boundary), headers)
        answer = connection.getresponse()
        status, text = answer.status, answer.read(LARGEST)
        if answer.length:
            raise http.client.IncompleteRead(text, answer.length)
    except TimeoutError as error:
        raise ShipError(f"Kibana has not answered within {timeout:g} s", retryable=True) from error
    except (OSError, http.client.HTTPException) as error:
        raise ShipError(f"Kibana cannot be reached: {shown(str(error) or repr(error))}", retryable=True) from error
    finally:
        connection.close()
    return _judge(status, text)


def _judge(status: int, text: bytes) -> int:
    try:
        body: Any = json.loads(text)
    except ValueError:
        body = None
    if status != 200:
        said = shown(body.get("message") or body) if isinstance(body, dict) else "no JSON"
        retryable = status == 429 or status >= 500
        raise ShipError(f"Kibana answers {status} ({said}){HINTS.get(status, '')}", retryable=retryable, status=status)
    if not isinstance(body, dict) or "success" not in body:
        raise ShipError("what answers is no Kibana: there is no `success` in what it says", status=status)
    if body["success"] is not True:
        errors = body.get("errors")
        first = [_reason(error) for error in errors[:5]] if isinstance(errors, list) else []
        more = f", and {len(errors) - 5} more" if isinstance(errors, list) and len(errors) > 5 else ""
        raise ShipError(
            f"Kibana has not imported everything: {'; '.join(first) or 'it says no more'}{more}", status=200
        )
    count = body.get("successCount", 0)
    return count if isinstance(count, int) else 0


def _reason(error: Any) -> str:
    if not isinstance(error, dict):
        return shown(error)
    inner = error.get("error")
    why = inner.get("type", inner) if isinstance(inner, dict) else inner
    return shown(f"{error.get('type', 'object')} {error.get('id', '')}: {why}")
