"""The one door to Elasticsearch: the client of Debian 12 (7.17) and that of Debian 13 (8.17), used in the same way.

Both differ in nearly every call that has a name, so nothing is used but `transport.perform_request`, with plain media
types, which servers 7, 8 and 9 accept. Nothing is retried in here: who calls knows what may wait, and for how long.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import ssl
import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

import elasticsearch

from appliance.errors import ShipError
from appliance.model_logging import Elasticsearch
from appliance.telemetry.identity import authorization, shown, tls_context

TIMEOUT: Final = 30.0
"""Seconds that a request may take, unless its caller says otherwise."""
NO_JSON: Final = "Elasticsearch answers what is no JSON; is something between?"
_OLD: Final = int(elasticsearch.__version__[0]) < 8


class Answer(NamedTuple):
    """What a server answered.

    `status` is the HTTP status; of a success always 200, because client 7.17 does not tell which it was. `body` is
    what the JSON says (None where there is none; text where an error is no JSON).
    """

    status: int
    body: Any


class Elastic:
    """Requests to the servers of the settings, in turn; one that did not answer is left alone for a while.

        async with Elastic(settings) as elastic:
            status, body = await elastic.perform("GET", "/_cluster/health")
            status, body = await elastic.bulk(segment)          # ready NDJSON, compressed on the way

    Belongs to the event loop that first uses it. Requests may run side by side, up to ten at each server.
    """

    def __init__(
        self, settings: Elasticsearch, timeout: float = TIMEOUT, files: Mapping[str, str] | None = None
    ) -> None:
        """Prepare, without a word to a server; `timeout` is seconds for each request, `files` as in `tls_context`.

        Raises ShipError, not retryable, where the files of certificates cannot be used or there is no address.
        """
        if not settings.addresses:
            raise ShipError("there is no Elasticsearch to ask: logging.elasticsearch.addresses is empty")
        self._addresses = [_without_user(address) for address in settings.addresses]
        self._authorization = authorization(settings)
        self._timeout = timeout
        self._tls = None
        if any(address.startswith("https:") for address in self._addresses):
            self._tls = tls_context(settings, files)
        self._client: elasticsearch.AsyncElasticsearch | None = None
        # The clients tell every failure once more, in their own words and without an end.
        for name in ("elasticsearch", "elastic_transport"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        client, self._client = self._client, None
        if client is None:
            return
        await client.close()
        if _OLD:
            # It has closed the connections to servers that answer, and has forgotten the others.
            transport: Any = client.transport
            for connection in transport.seed_connections:
                await connection.close()

    async def perform(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Make one request and return its answer, whatever the status is (`refusal` makes an error of a bad one).

        `path` begins with a slash and may have a query. `body` is JSON-ready, or bytes, which are sent as they are;
        where they are compressed, `headers` says so ({"content-encoding": "gzip"}). `timeout` is seconds.

        Raises ShipError where there is no answer, or none that can be read; no message has a secret in it.
        """
        sent = {"accept": "application/json", **(headers or {})}
        if body is not None:
            # Not x-ndjson, which client 8 would end with a newline, compressed or not. Bulk requests may be either.
            sent.setdefault("content-type", "application/json")
        if self._authorization:
            sent["authorization"] = self._authorization
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode("ascii")
        seconds = self._timeout if timeout is None else timeout
        try:
            answer = await self._perform(method, path, body, sent, seconds)
        except elasticsearch.UnsupportedProductError as error:
            await self.close()  # it would go on saying so, whoever answers
            raise ShipError("what answers is no Elasticsearch, or hides it (X-Elastic-Product)") from error
        except elasticsearch.ConnectionTimeout as error:
            raise ShipError(f"Elasticsearch has not answered within {seconds:g} s", retryable=True) from error
        except elasticsearch.SSLError as error:
            raise ShipError(f"no TLS with Elasticsearch: {shown(_cause(error))}", retryable=True) from error
        except elasticsearch.ConnectionError as error:
            raise ShipError(f"Elasticsearch cannot be reached: {shown(_cause(error))}", retryable=True) from error
        except (elasticsearch.SerializationError, UnicodeDecodeError) as error:
            raise ShipError(NO_JSON, retryable=True) from error
        if answer.status == 200 and isinstance(answer.body, str):
            raise ShipError(NO_JSON, retryable=True)
        return answer

    async def _perform(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], seconds: float
    ) -> Answer:
        if self._client is None:
            self._client = _client(self._addresses, self._tls)
        transport: Any = self._client.transport
        if not _OLD:
            found = await transport.perform_request(method, path, body=body, headers=headers, request_timeout=seconds)
            status = found.meta.status
            return Answer(200 if 200 <= status < 300 else status, found.body)
        parts = urlsplit(path)
        values: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
        values["request_timeout"] = seconds
        try:
            answer = await transport.perform_request(method, parts.path, headers=headers, params=values, body=body)
        except elasticsearch.TransportError as error:
            if not isinstance(error.status_code, int):
                raise
            return Answer(error.status_code, error.info)
        if method == "HEAD":
            return Answer(200 if answer else 404, None)
        return Answer(200, answer)

    async def bulk(self, body: bytes, timeout: float | None = None) -> Answer:
        """Send a ready bulk body (NDJSON, complete lines), compressed in a thread meanwhile.

        The answer is short: `errors`, and `items` with `status` and `error` of each, in the order of the body.
        """
        packed = await asyncio.to_thread(gzip.compress, body, 1)
        path = "/_bulk?filter_path=errors,items.*.status,items.*.error"
        return await self.perform("POST", path, packed, {"content-encoding": "gzip"}, timeout)

    async def demand(self, method: str, path: str, body: Any = None) -> Any:
        """Return the body of an answer that must be a good one. Raises ShipError otherwise."""
        answer = await self.perform(method, path, body)
        if error := refusal(answer, f"{method} {path}"):
            raise error
        return answer.body


def refusal(answer: Answer, request: str) -> ShipError | None:
    """Return what a bad status means, None for a good one; `request` says what was asked for.

    429 and what begins with 5 may pass by itself, the rest will not.
    """
    status, body = answer
    if 200 <= status < 300:
        return None
    reason = body
    if isinstance(body, dict):
        reason = body.get("error", body)
        if isinstance(reason, dict):
            words = f"{reason.get('type', 'error')}: {reason.get('reason', '')}"
            while isinstance(reason.get("caused_by"), dict):
                reason = reason["caused_by"]
                words = f"{words}: {reason.get('reason', '')}"
            reason = words
    hint = {
        401: "; check user and password, or the API key",
        403: "; the user or API key lacks a privilege",
        413: "; the server takes no request as large as this",
    }.get(status, "")
    return ShipError(
        f"Elasticsearch answers {request} with {status} ({shown(reason)}){hint}",
        retryable=status == 429 or status >= 500,
        status=status,
    )


def _cause(error: Exception) -> str:
    """Return the words of a client's error; both wrap what was said at first."""
    message = getattr(error, "error", None) or getattr(error, "message", None)
    return str(message or error)


def _without_user(address: str) -> str:
    """Return an address in the form that both clients read: with its port, without a user, path or query."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"


def _client(addresses: list[str], tls: ssl.SSLContext | None) -> elasticsearch.AsyncElasticsearch:
    # Servers that have no security say so in a header of every answer, which the clients make a warning of.
    warnings.simplefilter("ignore", elasticsearch.ElasticsearchDeprecationWarning)
    if tls is None:
        return elasticsearch.AsyncElasticsearch(addresses, max_retries=0)
    return elasticsearch.AsyncElasticsearch(addresses, max_retries=0, ssl_context=tls)
