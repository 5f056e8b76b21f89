"""When the state file is replaced: seldom where much changes, and soon after what others were told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.control.instance import Instance
from appliance.control.saving import Saving
from appliance.errors import HostError
from appliance.paths import root


class Kept:
    """What of an instance its saving looks at; `told` is what the state file is to hold."""

    def __init__(self, place: Path) -> None:
        self.root = root(str(place))
        self.root.state.mkdir(parents=True)
        self.saving, self.saved, self.told = threading.Lock(), 0, 0
        self.health = SimpleNamespace(pieces=self.pieces)

    def kept(self) -> dict[str, Any]:
        return {"told": self.told}

    def pieces(self, _backends: int) -> Iterator[dict[str, Any]]:
        yield from ({"one": {}}, {"other": {}})

    @property
    def written(self) -> int | None:
        """What a daemon that starts now would find."""
        file = self.root.state_file
        return int(json.loads(file.read_text())["told"]) if file.exists() else None


@pytest.fixture
def instance(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "root")


def saving_of(instance: Kept, failed: list[HostError]) -> Saving:
    return Saving(cast(Instance, instance), failed.append)


async def until(instance: Kept, told: int) -> None:
    """Wait for the file; there is a limit to what it may take, which no machine comes near."""
    async with asyncio.timeout(20):
        while instance.written != told:
            await asyncio.sleep(0.005)


def test_early_comes_after_what_is_under_way(instance: Kept) -> None:
    async def scene() -> None:
        saving, now = saving_of(instance, []), asyncio.get_running_loop().time
        instance.told = 1
        assert saving.soon(now())
        await asyncio.sleep(0)  # the first one has put together what it tells
        instance.told = 2
        assert not saving.soon(now()), "one at a time"
        for _ in range(3):
            saving.early(now())
        await until(instance, 2)
        instance.told = 3
        await asyncio.sleep(0.2)
        assert instance.written == 2, "once is enough"

    asyncio.run(scene())


def test_early_waits_until_the_last_one_has_paid(instance: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(100))
    monkeypatch.setattr("appliance.control.saving.thread_time", lambda: next(times) * 0.002)

    async def scene() -> None:
        saving, now = saving_of(instance, []), asyncio.get_running_loop().time
        began = now()
        saving.early(began)
        await until(instance, 0)
        instance.told = 1
        saving.early(now())
        await until(instance, 1)
        # 2 ms each for the head, two pieces and the end: twenty times as long from one to the next.
        assert now() - began >= 20 * 3 * 0.002

    asyncio.run(scene())


def test_a_file_that_cannot_be_written_is_told(instance: Kept) -> None:
    async def scene() -> None:
        failed: list[HostError] = []
        saving = saving_of(instance, failed)
        instance.root.state_file.mkdir()
        saving.early(asyncio.get_running_loop().time())
        async with asyncio.timeout(20):
            while not failed:
                await asyncio.sleep(0.005)
        assert str(instance.root.state_file) in str(failed[0])

    asyncio.run(scene())
