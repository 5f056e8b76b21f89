"""Tells people what happens: from documents of the log to webhooks and syslog.

Runs beside the daemon, in the process that tails the log, and keeps nothing on disk: `cursors` says how far each outlet
has been told, and a new one that is given them and the documents after `told` goes on where this ended. What was under
way then may be told twice, and is never lost.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.model import EventKind, Severity
from appliance.model_logging import Logging
from appliance.telemetry.alerts.message import Message
from appliance.telemetry.alerts.muting import Muting
from appliance.telemetry.alerts.notice import Notice, alerts, notice, sequence_of, silent
from appliance.telemetry.alerts.outlet import PACE, Counts, Outlet, Pace, Result
from appliance.telemetry.alerts.slack import slack
from appliance.telemetry.alerts.syslog import Syslog, naming
from appliance.telemetry.alerts.teams import teams
from appliance.telemetry.alerts.webhook import Webhook

FORMS: Mapping[str, Callable[[Message], bytes]] = {"slack": slack, "teams": teams}
KINDS = ("slack", "teams", "syslog")
TEST = "This is a test message of vc5, sent by `vc5 alert test`. Nothing has happened."


@dataclass
class _Told:
    """An outlet, and the sequence number after which it is told: by a process before this one, or not its business."""

    outlet: Outlet
    after: int


class Alerter:
    """All outlets of one configuration. `name` is what the balancer calls itself, `hostname` that of its host."""

    def __init__(
        self,
        settings: Logging,
        *,
        name: str,
        hostname: str,
        since: int = 0,
        cursors: Mapping[str, int] | None = None,
        pace: Pace = PACE,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """Tell what comes after the sequence number `since`; an outlet that is in `cursors`, what comes after that.

        `trust` says whose certificates to believe, in place of what the system does.
        """
        self._name, self._hostname, self._pace, self._trust = name, hostname, pace, trust
        self._muting = Muting()
        self._seen = since
        self._least = settings.alert
        self._outlets: list[_Told] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._leaving: list[Outlet] = []
        self._settle(settings, cursors or {})

    def reconfigure(self, settings: Logging) -> None:
        """Go on with other settings; outlets that stay keep what they have yet to tell. Within the event loop."""
        self._settle(settings, {})

    def _settle(self, settings: Logging, cursors: Mapping[str, int]) -> None:
        known = {one.outlet.name: one for one in self._outlets}
        self._least = settings.alert
        wanted: dict[str, Outlet] = {}
        for kind in FORMS:
            url = getattr(settings, kind)
            before = known[kind].outlet if kind in known else None
            if url and isinstance(before, Webhook):
                before.url = url
            if url:
                wanted[kind] = before or self._webhook(kind, url)
        for target in settings.syslog:
            name = naming(target)
            wanted[name] = known[name].outlet if name in known else self._syslog(target)
        self._leaving += [one.outlet for name, one in known.items() if name not in wanted]
        self._outlets = [
            known.get(name) or _Told(outlet, cursors.get(name, self._seen)) for name, outlet in wanted.items()
        ]

    def _webhook(self, kind: str, url: str) -> Webhook:
        return Webhook(kind, url, FORMS[kind], self._name, pace=self._pace, trust=self._trust)

    def _syslog(self, target: str) -> Syslog:
        return Syslog(target, self._hostname, pace=self._pace, trust=self._trust)

    def take(self, document: Mapping[str, Any]) -> None:
        """Take a document of the log, in their order; what is no event is passed over. Never fails."""
        heard = None if silent(document) else notice(document)
        self.skip(sequence_of(document))
        if heard is not None:
            self._tell(self._muting.take(heard))

    def skip(self, sequence: int) -> None:
        """Note that the log is there up to this document, which concerns nobody: a probe, which need not be decoded."""
        self._seen = max(self._seen, sequence)

    def step(self, now: float) -> None:
        """Do what is due; to be called a few times a second, within the event loop. `now` is monotonic seconds."""
        self._tell(self._muting.step(now))
        for one in self._outlets:
            one.outlet.step(now)
        leaving, self._leaving = self._leaving, []
        for outlet in leaving:
            task = asyncio.ensure_future(outlet.close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _tell(self, heard: Iterable[Notice]) -> None:
        for told in heard:
            if not alerts(told, self._least):
                continue
            for one in self._outlets:
                if told.sequence > one.after or not told.sequence:
                    one.outlet.take(told)

    @property
    def told(self) -> int:
        """Up to which sequence number all is told, at every outlet; what is after it is to be taken again."""
        return min(self.cursors.values(), default=self._upto(None))

    @property
    def cursors(self) -> dict[str, int]:
        """The same for each outlet, by its name; for the next process to begin with."""
        return {one.outlet.name: max(self._upto(one.outlet.untold), one.after) for one in self._outlets}

    def _upto(self, untold: int | None) -> int:
        open_ = [first for first in (untold, self._muting.since) if first is not None]
        return max(0, min([self._seen, *(first - 1 for first in open_)]))

    @property
    def muted(self) -> int:
        """Events that nobody was told of because the daemon was learning."""
        return self._muting.muted

    @property
    def counts(self) -> dict[str, Counts]:
        """What became of the messages, by outlet."""
        return {one.outlet.name: one.outlet.counts for one in self._outlets}

    def trouble(self) -> list[str]:
        """What is wrong with whom, a sentence each."""
        return [text for one in self._outlets if (text := one.outlet.trouble())]

    async def test(self, outlets: Collection[str] = ()) -> list[Result]:
        """Send a test message to each configured outlet of these kinds, or to all; returns what came of each."""
        told = Notice(0, time.time(), EventKind.DAEMON, Severity.NOTICE, TEST, outcome="test")
        chosen = [one.outlet for one in self._outlets if not outlets or one.outlet.kind in outlets]
        missing = [kind for kind in KINDS if kind in outlets and kind not in {one.kind for one in chosen}]
        came = await asyncio.gather(*(outlet.test(told) for outlet in chosen))
        return [*came, *(Result(kind, False, "it is not configured (logging)", 0.0) for kind in missing)]

    async def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answer what the daemon asks on behalf of `vc5 alert`: `{"alert": "test", "outlets": [...]}`."""
        outlets = question.get("outlets")
        wanted = [str(one) for one in outlets] if isinstance(outlets, list) else []
        return {"results": [result.as_json for result in await self.test(wanted)]}

    async def close(self) -> None:
        """End what is under way; `cursors` tell afterwards what was told."""
        await asyncio.gather(*(outlet.close() for outlet in [*self._leaving, *(one.outlet for one in self._outlets)]))
