"""Documents in are documents found: the real process between a spool and a real Elasticsearch, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.telemetry import segments
from tests.lab.elasticsearch import Elasticsearch
from tests.lab.interference import Interference, Mode
from tests.telemetry.shipping import Shipping

pytestmark = pytest.mark.root


def everything(count: int) -> list[int]:
    return list(range(1, count + 1))


def test_everything_arrives_once(tmp_path: Path, elasticsearch: Elasticsearch, namespace: str) -> None:
    async def story() -> None:
        shipping = Shipping(tmp_path, elasticsearch, namespace)
        shipping.write(1500)
        async with shipping.running():
            await shipping.delivered()
            shipping.write(1500)
            await shipping.delivered()
            shipped = shipping.client.status["shipper"]["shipped"]
        assert shipping.arrived() == everything(3000)
        assert shipped == {"vc5.probe": 2970, "vc5.event": 30}
        assert shipping.told == []
        assert elasticsearch.count(f"logs-vc5.event-{namespace}") == 30

    asyncio.run(story())


def test_twenty_thousand_arrive_by_the_server_that_answers(
    tmp_path: Path, elasticsearch: Elasticsearch, namespace: str
) -> None:
    """The first address is one where nobody is."""

    async def story() -> None:
        shipping = Shipping(tmp_path, elasticsearch, namespace)
        search = shipping.settings.logging.elasticsearch
        assert search is not None
        two = replace(search, addresses=("http://127.0.0.1:9", *search.addresses))
        shipping.settings = replace(shipping.settings, logging=replace(shipping.settings.logging, elasticsearch=two))
        async with shipping.running():
            for _ in range(10):
                shipping.write(2000)
                await asyncio.sleep(0.1)
            await shipping.delivered()
        assert shipping.arrived() == everything(20_000)

    asyncio.run(story())


TROUBLES = [
    (Mode.REFUSE, "cannot be reached"),
    (Mode.CUT, "cannot be reached"),
    (Mode.CUT_REQUEST, "cannot be reached"),
    (Mode.GARBAGE, "what is no JSON"),
    (Mode.ANSWER_401, "status 401, security_exception: said by the laboratory"),
    (Mode.ANSWER_403, "status 403, security_exception: said by the laboratory"),
    (Mode.ANSWER_429, "status 429"),
    (Mode.ANSWER_503, "status 503"),
]


@pytest.mark.parametrize(("mode", "words"), TROUBLES, ids=lambda value: getattr(value, "name", ""))
def test_a_server_that_fails_and_recovers(
    tmp_path: Path, elasticsearch: Elasticsearch, namespace: str, mode: Mode, words: str
) -> None:
    async def story() -> None:
        with Interference(elasticsearch.port) as between:
            shipping = Shipping(tmp_path, elasticsearch, namespace, between.url)
            async with shipping.running():
                shipping.write(300)
                await shipping.delivered()
                between.mode = mode
                shipping.write(700)
                await shipping.until("trouble", lambda: shipping.trouble)
                assert words in shipping.trouble
                await shipping.until("a second try", lambda: shipping.said("failures") > 1)
                shipping.write(200)
                between.mode = Mode.PASS
                await shipping.delivered()
                await shipping.until("the end of the trouble", lambda: not shipping.trouble)
                assert shipping.said("dead") == shipping.said("lost") == 0
            assert shipping.arrived() == everything(1200)
            assert [(name, outcome) for name, _, outcome in shipping.told] == [
                ("shipper", "began"),
                ("shipper", "over"),
            ]

    asyncio.run(story())


def test_a_server_that_hangs(tmp_path: Path, elasticsearch: Elasticsearch, namespace: str) -> None:
    async def story() -> None:
        with Interference(elasticsearch.port) as between:
            shipping = Shipping(tmp_path, elasticsearch, namespace, between.url)
            async with shipping.running():
                between.mode = Mode.HANG
                shipping.write(500)
                await shipping.until("requests that hang", lambda: between.seen[Mode.HANG])
                shipping.write(500)
                between.mode = Mode.SLOW
                await shipping.delivered()
            assert between.seen[Mode.SLOW] > 0
            assert shipping.arrived() == everything(1000)

    asyncio.run(story())


def test_a_server_that_is_down_all_along_and_comes_back(
    tmp_path: Path, elasticsearch: Elasticsearch, namespace: str
) -> None:
    async def story() -> None:
        shipping = Shipping(tmp_path, elasticsearch, namespace)
        elasticsearch.kill()
        async with shipping.running():
            shipping.write(1000)
            await shipping.until("trouble", lambda: "cannot be reached" in shipping.trouble)
            shipping.write(1000)
        # Nobody ships any more; what came meanwhile waits for the next.
        elasticsearch.start()
        again = Shipping.__new__(Shipping)
        again.__dict__.update(shipping.__dict__)
        again.client = type(shipping.client)(lambda *words: None)
        async with again.running():
            await again.delivered()
        assert again.arrived() == everything(2000)

    asyncio.run(story())


def test_an_index_that_is_read_only_for_a_while(tmp_path: Path, elasticsearch: Elasticsearch, namespace: str) -> None:
    async def story() -> None:
        shipping = Shipping(tmp_path, elasticsearch, namespace)
        stream = f"logs-vc5.probe-{namespace}"
        async with shipping.running():
            shipping.write(200)
            await shipping.delivered()
            elasticsearch.asked("PUT", f"/{stream}/_settings", {"index.blocks.write": True})
            shipping.write(600)
            await shipping.until("trouble", lambda: "cluster_block_exception" in shipping.trouble)
            elasticsearch.asked("PUT", f"/{stream}/_settings", {"index.blocks.write": False})
            await shipping.delivered()
            assert shipping.said("dead") == 0
        assert shipping.arrived() == everything(800)

    asyncio.run(story())


def test_documents_that_do_not_fit_are_put_aside(tmp_path: Path, elasticsearch: Elasticsearch, namespace: str) -> None:
    async def story() -> None:
        shipping = Shipping(tmp_path, elasticsearch, namespace)
        async with shipping.running():
            shipping.write(300)
            shipping.write_one_that_does_not_fit()
            shipping.write(300)
            await shipping.delivered()
            assert shipping.said("dead") == 1
            assert shipping.trouble == ""
        assert shipping.arrived() == [number for number in everything(601) if number != 301]
        letters = (shipping.root.state / "telemetry" / "dead-letters.ndjson").read_text(encoding="utf-8").splitlines()
        (letter,) = map(json.loads, letters)
        assert letter["status"] == 400
        assert "http" in letter["reason"]
        assert json.loads(letter["record"].splitlines()[1])["event"]["sequence"] == 301

    asyncio.run(story())


def test_damage_on_disk_costs_what_is_damaged(tmp_path: Path, elasticsearch: Elasticsearch, namespace: str) -> None:
    async def story() -> None:
        shipping = Shipping(tmp_path, elasticsearch, namespace)
        shipping.write(300)
        path = segments.segment(shipping.root.log, 1)
        lines = path.read_bytes().splitlines(keepends=True)
        lines[200] = lines[200].replace(b'"create"', b'"cre\0te"')
        lines[301] = lines[301][:100] + b"\xff" * 50 + lines[301][150:]
        lines.insert(400, b"neither action nor document\n")
        path.write_bytes(b"".join(lines))
        async with shipping.running():
            await shipping.delivered()
            assert shipping.said("dead") >= 2
        assert shipping.arrived() == [number for number in everything(300) if number not in (101, 151)]

    asyncio.run(story())


def test_kill_9_of_the_process(tmp_path: Path, elasticsearch: Elasticsearch, namespace: str) -> None:
    async def story() -> None:
        shipping = Shipping(tmp_path, elasticsearch, namespace)
        async with shipping.running():
            for _ in range(4):
                await shipping.until("a process", lambda: shipping.client.child)
                shipping.write(400)
                await shipping.until("progress", lambda: shipping.said("requests"))
                shipping.write(400)
                assert shipping.client.child is not None
                os.kill(shipping.client.child.pid, signal.SIGKILL)
                await shipping.until("its end", lambda: not shipping.client.status)
            await shipping.delivered()
            assert shipping.client.restarts == 4
        assert shipping.arrived() == everything(3200)

    asyncio.run(story())


def test_what_the_spool_had_to_remove_is_counted(tmp_path: Path, elasticsearch: Elasticsearch, namespace: str) -> None:
    async def story() -> None:
        with Interference(elasticsearch.port) as between:
            shipping = Shipping(tmp_path, elasticsearch, namespace, between.url)
            async with shipping.running():
                shipping.write(100)
                await shipping.delivered()
                between.mode = Mode.ANSWER_503
                await shipping.until("a quiet spool", lambda: True)
                shipping.spool.bound(space=1, keep=1e9)
                shipping.spool._segment_bytes = 50_000
                for _ in range(20):
                    shipping.write(200)
                await shipping.until("trouble", lambda: shipping.trouble)
                between.mode = Mode.PASS
                await shipping.delivered()
                lost = shipping.said("lost")
            arrived = shipping.arrived()
            assert lost > 0
            assert len(arrived) + lost == shipping.written == 4100

    asyncio.run(story())
