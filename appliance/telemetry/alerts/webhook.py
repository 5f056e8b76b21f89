"""Posting to a webhook, the only place that does. The URL is a secret: no error, text or log line has a part of it.

A server can hold us up in no way: until its answer begins there is one time limit for all, for the rest another, no
redirection is followed, and of an answer a few kilobytes are read, never unpacked. A server that says yes and then is
slow to say more has said yes.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from collections.abc import Callable

import aiohttp

from appliance.telemetry.alerts.answers import LONGEST_DELAY, Judgement, Next, judge
from appliance.telemetry.alerts.grouping import Batch, Grouping
from appliance.telemetry.alerts.message import Message, compose
from appliance.telemetry.alerts.notice import Notice
from appliance.telemetry.alerts.outlet import PACE, Counts, Pace, Result
from appliance.telemetry.back_off import BackOff

ANSWER_BYTES = 4096
HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "vc5"}


class Webhook:
    """One webhook: what waits to be told there, and at most one request under way."""

    def __init__(
        self,
        kind: str,
        url: str,
        form: Callable[[Message], bytes],
        name: str,
        *,
        pace: Pace = PACE,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """`name` is what the balancer calls itself; `trust` says whom to believe, in place of what the system does."""
        self.name = self.kind = kind
        self.counts = Counts()
        self.url = url
        self._form = form
        self._observer = name
        self._limit = pace.limit
        self._back_off = BackOff(random.random, pace.back_off, LONGEST_DELAY)
        # Named, since what aiohttp does with none or True differs between its versions, and one would verify nothing.
        self._trust = trust or ssl.create_default_context()
        self._grouping = Grouping(pace.wait, pace.pause)
        self._task: asyncio.Task[None] | None = None
        self._one: asyncio.Lock | None = None
        self._trouble = ""

    @property
    def untold(self) -> int | None:
        return self._grouping.untold

    @property
    def waiting(self) -> int:
        """How many events are not told yet."""
        return self._grouping.waiting

    def take(self, told: Notice) -> None:
        self._grouping.take(told)

    def step(self, now: float) -> None:
        if (self._task is None or self._task.done()) and self._grouping.due(now):
            self._task = asyncio.ensure_future(self._tell(self._grouping.begin(now)))

    def trouble(self) -> str:
        return f"{self.name}: {self._trouble}" if self._trouble else ""

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def test(self, told: Notice) -> Result:
        batch = Batch()
        batch.add(told)
        began = time.monotonic()
        came = await self._post(self._form(compose(batch, self._observer)))
        return Result(self.name, came.next is Next.DONE, came.reason, time.monotonic() - began)

    async def _tell(self, batch: Batch) -> None:
        try:
            came = await self._post(self._form(compose(batch, self._observer)))
        except Exception as error:  # a mistake of ours must not end the telling; the words of an error may be the URL
            came = Judgement(Next.GIVEN_UP, f"unexpected: {type(error).__name__}")
        if came.next is Next.AGAIN:
            self.counts.failed += 1
            back_off = self._back_off.failed()
            self._trouble = f"{came.reason}; {self._back_off.failures} attempts failed, the next one tells all"
            self._grouping.again(time.monotonic(), max(came.wait, back_off))
            return
        self._back_off.succeeded()
        events = self._grouping.done()
        if came.next is Next.DONE:
            self.counts.sent += 1
            self._trouble = ""
            return
        self.counts.failed += 1
        self.counts.given_up += 1
        self.counts.dropped += events
        self._trouble = came.reason

    async def _post(self, body: bytes) -> Judgement:
        if self._one is None:
            self._one = asyncio.Lock()
        async with self._one:
            try:
                return await self._request(body)
            except TimeoutError:
                return Judgement(Next.AGAIN, f"no answer within {self._limit:g} s")
            except aiohttp.InvalidURL:
                return Judgement(Next.GIVEN_UP, "its URL makes no sense")
            except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
                return Judgement(Next.AGAIN, _cause(error))
            except ValueError:
                return Judgement(Next.GIVEN_UP, "its URL or its answer makes no sense")

    async def _request(self, body: bytes) -> Judgement:
        connector = aiohttp.TCPConnector(limit=1, force_close=True, ssl=self._trust)
        cookies = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False, cookie_jar=cookies) as session:
            async with asyncio.timeout(self._limit):
                answer = await session.post(self.url, data=body, headers=HEADERS, allow_redirects=False)
            said = bytearray()
            try:
                async with asyncio.timeout(self._limit / 4):
                    while len(said) < ANSWER_BYTES and (part := await answer.content.read(ANSWER_BYTES - len(said))):
                        said += part
            except (TimeoutError, aiohttp.ClientError):
                pass  # the status has said it
            finally:
                answer.close()
            text = said.decode("utf-8", "replace")
            return judge(answer.status, text, answer.headers.get("Retry-After", ""), time.time())


def _cause(error: BaseException) -> str:
    """Return why there was no answer, in words of the system's alone."""
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {inner.verify_message}"
    if isinstance(inner, ssl.SSLError):
        return f"TLS failed: {inner.reason or type(inner).__name__}"
    if isinstance(inner, OSError) and inner.errno:
        # getaddrinfo's numbers are negative, and its own.
        return str(inner.strerror or type(inner).__name__) if inner.errno < 0 else os.strerror(inner.errno)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it hung up without an answer"
    return "it broke off the answer" if isinstance(error, aiohttp.ClientPayloadError) else type(error).__name__
