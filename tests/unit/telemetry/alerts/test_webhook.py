"""Alerts on their way to webhooks, past everything that a server can do wrong: documents in, messages out."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from functools import partial
from pathlib import Path

import pytest

from appliance.model_logging import Logging
from appliance.telemetry.alerts.alerter import Alerter
from appliance.telemetry.alerts.outlet import Counts, Pace
from tests.unit.health.authority import self_signed, serving_with
from tests.unit.telemetry.alerts import hooks
from tests.unit.telemetry.alerts.hooks import OK, Behaviour, Hook, answer, drive, events
from tests.unit.telemetry.alerts.samples import backend, document, vip

QUICK = Pace(wait=0.02, pause=0.05, limit=0.4, back_off=0.02)


def alerter(settings: Logging, **more: object) -> Alerter:
    return Alerter(settings, name="lb1", hostname="lb1", pace=QUICK, **more)  # type: ignore[arg-type]


def told(hook: Hook) -> int:
    return sum(map(events, hook.bodies))


def test_forty_backends_are_one_message_for_each() -> None:
    async def run() -> None:
        async with Hook() as slack, Hook() as teams:
            one = alerter(Logging(5, teams.url(), slack.url()))
            for number in range(1, 41):
                one.take(backend(number, number))
            assert one.told == 0
            await drive(one, lambda: one.told == 40)
            assert (slack.requests, teams.requests, told(slack)) == (1, 1, 40)
            card = teams.bodies[0]["attachments"][0]["content"]
            assert card["fallbackText"] == slack.bodies[0]["text"].removeprefix("🔴 ") == "lb1: 40 backends dead"
            assert one.counts == {"slack": Counts(1), "teams": Counts(1)}
            await one.close()

    asyncio.run(run())


# What the server does with the first requests; afterwards it is well.
PASSING: dict[str, tuple[Behaviour, ...]] = {
    "429 again and again": (answer(429, "", "Retry-After: 0"),) * 8,
    "429 by Teams' connectors": (answer(200, "failed: Microsoft Teams endpoint returned HTTP error 429"),),
    "500, 502, 503": (answer(500), answer(502, "<html>"), answer(503)),
    "hangs": (hooks.hang, hooks.hang),
    "hangs up": (hooks.hang_up, hooks.hang_up),
    "half an answer": (hooks.half, hooks.half),
    "drips": (hooks.drip,),
    "rubbish": (hooks.rubbish,),
}


@pytest.mark.parametrize("story", PASSING)
def test_what_passes_is_waited_for_and_all_is_told_once(story: str) -> None:
    async def run() -> None:
        async with Hook(*PASSING[story]) as hook:
            one = alerter(Logging(5, slack=hook.url()))
            taken = 0
            while len(PASSING[story]) >= hook.requests:
                seen = hook.requests
                for _ in range(3):
                    taken += 1
                    one.take(backend(taken, taken))
                await drive(one, lambda seen=seen: hook.requests > seen)  # type: ignore[misc]
            await drive(one, lambda: one.told == taken)
            assert told(hook) == taken
            assert hook.most_at_once == 1
            counts = one.counts["slack"]
            assert (counts.failed, counts.given_up, counts.dropped) == (len(PASSING[story]), 0, 0)
            assert one.trouble() == []
            await one.close()

    asyncio.run(run())


# headers of a refusal -> seconds after which it is asked again, at the latest, and when it is not yet
@pytest.mark.parametrize(
    ("headers", "early", "late"),
    [((), 49.0, 101.0), (("Retry-After: 7",), 49.0, 101.0), (("Retry-After: 120",), 118.0, 121.0)],
)
def test_when_it_is_asked_again(headers: tuple[str, ...], early: float, late: float) -> None:
    async def run() -> None:
        async with Hook(answer(429, "", *headers)) as hook:
            one = Alerter(
                Logging(5, slack=hook.url()), name="", hostname="", pace=Pace(wait=0.0, pause=0.0, back_off=100.0)
            )
            one.take(backend(1, 11))
            await drive(one, lambda: one.counts["slack"].failed == 1)
            asked = time.monotonic()
            one.step(asked + early)
            await one.test()  # has its turn after what is under way
            assert hook.requests == 2
            one.step(asked + late)
            await drive(one, lambda: one.told == 1)
            assert (hook.requests, told(hook)) == (3, 2)
            await one.close()

    asyncio.run(run())


def test_what_the_beginning_brings_is_not_told_and_not_forgotten() -> None:
    """A process that ends meanwhile leaves it to the next one to hear the beginning again."""

    async def run() -> None:
        start = document(5, "daemon", "started", "started", details={"learn_s": 15})
        learned = document(8, "daemon", "learned", "after the start 1 of 2 VIPs down: 203.0.113.10", severity=3)
        async with Hook() as hook:
            one = alerter(Logging(3, slack=hook.url()), since=4)
            for found in (start, backend(6, 11, severity=3), vip(7)):
                one.take(found)
            one.step(time.monotonic())
            assert (one.told, one.muted) == (4, 2)
            await one.close()
            one = alerter(Logging(3, slack=hook.url()), since=one.told, cursors=one.cursors)
            for found in (start, backend(6, 11, severity=3), vip(7), learned):
                one.take(found)
            await drive(one, lambda: one.told == 8)
            assert hook.bodies[0]["text"] == "🟠 lb1: after the start 1 of 2 VIPs down: 203.0.113.10"
            assert (hook.requests, told(hook)) == (1, 1)
            await one.close()

    asyncio.run(run())


@pytest.mark.parametrize("behave", [hooks.drip_body, hooks.flood], ids=lambda one: one.__name__)
def test_who_has_said_yes_is_not_asked_again(behave: Behaviour) -> None:
    async def run() -> None:
        async with Hook(behave) as hook:
            one = alerter(Logging(5, slack=hook.url()))
            one.take(backend(1, 11))
            await drive(one, lambda: one.told == 1)
            assert (hook.requests, one.counts["slack"]) == (1, Counts(1))
            await one.close()

    asyncio.run(run())


def test_what_was_refused_is_given_up_counted_and_told_of() -> None:
    async def run() -> None:
        async with Hook() as elsewhere:
            away = f"Location: {elsewhere.url()}"
            async with Hook(
                answer(302, "", away), answer(404, "no_service"), answer(400, "invalid_payload"), OK
            ) as hook:
                one = alerter(Logging(5, slack=hook.url()))
                for number, word in enumerate(("a redirection", "404 (no_service)", "400 (invalid_payload)"), 1):
                    one.take(backend(number, number))
                    await drive(one, lambda number=number: one.told == number)  # type: ignore[misc]
                    (trouble,) = one.trouble()
                    assert trouble.startswith("slack: it answered")
                    assert word in trouble
                assert one.counts["slack"] == Counts(sent=0, failed=3, given_up=3, dropped=3)
                one.take(vip(4))
                await drive(one, lambda: one.told == 4)
                assert one.trouble() == []
                assert (hook.requests, elsewhere.requests) == (4, 0)
                await one.close()

    asyncio.run(run())


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


SECRET_PATHS = ("/services/SECRET?sig=SECRET", "/%zzSECRET")


@pytest.mark.parametrize("path", SECRET_PATHS)
@pytest.mark.parametrize(
    "behave",
    [answer(404, "SECRET"), answer(302, "", "Location: http://SECRET/"), hooks.hang_up, hooks.rubbish, hooks.hang],
)
def test_the_url_is_in_no_text(
    path: str, behave: Behaviour, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)

    async def run() -> None:
        async with Hook(behave) as hook:
            one = alerter(Logging(5, slack=hook.url(path).replace("://", "://me:SECRET@")))
            one.take(backend(1, 11))
            await drive(one, lambda: one.counts["slack"].failed > 0)
            assert "SECRET" not in str(one.trouble()) + str(one.counts) + str(one.cursors)
            assert len(one.trouble()) == 1
            await one.close()

    asyncio.run(run())
    # asyncio's own lines at this level tell of sockets, by address.
    assert "SECRET" not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:{port}/SECRET", "Connection refused"),
        ("{scheme}nowhere.invalid/SECRET", ""),
        ("http://[::SECRET]/", ""),
        ("http://127.0.0.1:99999/SECRET", "its URL"),
    ],
)
def test_a_url_that_leads_nowhere(url: str, reason: str) -> None:
    async def run() -> None:
        one = alerter(Logging(5, teams=url.format(port=free_port(), scheme="http://")))
        (came,) = await one.test()
        assert not came.ok
        assert came.reason
        assert reason in came.reason
        assert "SECRET" not in came.reason
        await one.close()

    asyncio.run(run())


def test_certificates_are_looked_at(tmp_path: Path) -> None:
    import ssl

    file = self_signed(tmp_path / "hook.pem", names="IP:127.0.0.1")

    async def run() -> None:
        async with Hook(tls=serving_with(file)) as hook:
            one = alerter(Logging(5, slack=hook.url()))
            (came,) = await one.test()
            assert "its certificate is not believed: self" in came.reason
            assert hook.requests == 0
            trusting = alerter(Logging(5, slack=hook.url()), trust=ssl.create_default_context(cafile=str(file)))
            (came,) = await trusting.test()
            assert (came.ok, hook.requests) == (True, 1)

    asyncio.run(run())


def test_another_process_goes_on_where_this_one_ended() -> None:
    """Ten processes, each killed with a message under way: everything is told, and most of it once."""

    async def run() -> None:
        documents = [backend(number, number) for number in range(1, 41)]
        async with Hook(*(hooks.hang,) * 3, OK, *(hooks.hang,) * 3) as hook, Hook() as other:
            settings = Logging(5, other.url(), hook.url())
            since, cursors = 0, dict[str, int]()
            for turn in range(10):
                one = Alerter(settings, name="lb1", hostname="lb1", since=since, cursors=cursors, pace=QUICK)
                for document in documents[since : 4 * (turn + 1)]:
                    one.take(document)
                seen = hook.requests
                caught_up = partial(_told_by, one, "teams", 4 * (turn + 1))
                await drive(one, lambda seen=seen, done=caught_up: hook.requests > seen and done())  # type: ignore[misc]
                await one.close()
                since, cursors = one.told, one.cursors
            one = Alerter(settings, name="lb1", hostname="lb1", since=since, cursors=cursors, pace=QUICK)
            for document in documents[since:]:
                one.take(document)
            await drive(one, lambda: one.told == 40)
            assert told(hook) >= 40
            assert sum(map(hooks.events_of_card, other.bodies)) == 40
            assert hook.most_at_once == 1
            await one.close()

    asyncio.run(run())


def _told_by(one: Alerter, outlet: str, sequence: int) -> bool:
    return one.cursors[outlet] >= sequence


def test_other_settings() -> None:
    async def run() -> None:
        async with Hook(hooks.hang) as old, Hook() as new:
            one = alerter(Logging(5, slack=old.url()))
            one.take(backend(1, 11))
            await drive(one, lambda: old.requests == 1)
            one.reconfigure(Logging(5, slack=new.url(), teams=new.url()))
            one.take(backend(2, 12))
            await drive(one, lambda: one.told == 2)
            slack = [body for body in new.bodies if "blocks" in body]
            assert sum(map(events, slack)) == 2  # what the old URL never took went to the new one
            assert len(new.bodies) == len(slack) + 1
            one.reconfigure(Logging(0))
            one.take(backend(3, 12))
            one.step(0.0)
            assert (one.told, one.counts, one.trouble()) == (3, {}, [])
            one.take(document(4, "probe", "ok", severity=0))
            assert one.told == 4
            one.skip(9)
            assert one.told == 9
            await one.close()

    asyncio.run(run())


def test_a_test_message() -> None:
    async def run() -> None:
        async with Hook() as slack, Hook(answer(410)) as teams:
            one = alerter(Logging(0, teams.url(), slack.url(), syslog=(f"tcp://127.0.0.1:{free_port()}",)))
            found = await one.answer({"alert": "test", "outlets": []})
            assert [(row["outlet"].split(":")[0], row["ok"]) for row in found["results"]] == [
                ("slack", True),
                ("teams", False),
                ("syslog tcp", False),
            ]
            assert "410" in found["results"][1]["reason"]
            assert "test message" in slack.bodies[0]["blocks"][1]["text"]["text"]
            assert [row.outlet for row in await one.test(["slack"])] == ["slack"]
            (missing,) = await alerter(Logging(0, slack=slack.url())).test(["teams"])
            assert (missing.ok, missing.reason) == (False, "it is not configured (logging)")
            await one.close()

    asyncio.run(run())
