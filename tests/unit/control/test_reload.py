"""What a reload does where its last steps fail, and where something fails that nobody waits for."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.control import reload
from appliance.control.daemon import Daemon
from appliance.errors import HostError
from appliance.model import Config


class Stub:
    """A daemon whose configuration changes, while its host can only be watched some of the times."""

    def __init__(self, watchable: list[bool], error: Exception) -> None:
        self.watchable, self.error = watchable, error
        self.events: list[str] = []
        self.watched: tuple[str, ...] = ("eth0",)
        self.generation, self.loaded_at = 1, 0.0
        config, nothing = Config(interfaces=("eth0",)), lambda *_: None
        data = SimpleNamespace(generation=None)
        self.instance = SimpleNamespace(data=data, state=SimpleNamespace(config=config), targets=list)
        self.judging = SimpleNamespace(look=nothing)
        self.upkeep = SimpleNamespace(warn=nothing, tell=nothing)
        self.prober = SimpleNamespace(schedule=nothing)

    def watch_for(self, interfaces: tuple[str, ...]) -> None:
        if not self.watchable.pop(0):
            raise self.error
        self.watched = interfaces

    async def reconfigure(self, new: Config) -> Any:
        if not new.interfaces:
            raise HostError("not this one")
        self.instance.state.config = new
        return SimpleNamespace(seconds=1.0, digest="x")

    def record(self, kind: Any, message: str) -> None:
        self.events.append(message)


TOLD = "the interfaces of two configurations are watched until the next reload: no more sockets"
WATCHES = [
    ([True, True], ("eth1",), []),
    ([True, False], ("eth0", "eth1"), [TOLD]),
]


@pytest.mark.parametrize("error", [OSError("no more sockets"), HostError("no more sockets")])
@pytest.mark.parametrize(("watchable", "watched", "told"), WATCHES)
def test_what_is_in_force_is_not_refused(
    error: Exception, watchable: list[bool], watched: tuple[str, ...], told: list[str]
) -> None:
    daemon = Stub(list(watchable), error)
    asyncio.run(reload.put_in_force(cast(Any, daemon), Config(interfaces=("eth1",))))
    assert daemon.instance.state.config.interfaces == ("eth1",)
    assert (daemon.generation, daemon.watched, daemon.events) == (2, watched, told)


def test_a_refusal_is_told_of_and_not_the_watch() -> None:
    daemon = Stub([True, False], OSError("no more sockets"))
    with pytest.raises(HostError, match="not this one"):
        asyncio.run(reload.put_in_force(cast(Any, daemon), Config()))
    assert (daemon.generation, daemon.events) == (1, [TOLD])


def test_a_watch_that_cannot_be_made_changes_nothing() -> None:
    daemon = Stub([False, True], OSError("no more sockets"))
    with pytest.raises(OSError, match="no more sockets"):
        asyncio.run(reload.put_in_force(cast(Any, daemon), Config(interfaces=("eth1",))))
    assert (daemon.generation, daemon.instance.state.config.interfaces) == (1, ("eth0",))


async def fail() -> None:
    """Something that should not happen."""
    raise KeyError("a defect")


async def end() -> None:
    """What nobody needs to hear of."""


async def forever() -> None:
    """Until it is cancelled."""
    await asyncio.Event().wait()


def test_what_fails_while_nobody_waits_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    async def play() -> None:
        daemon = cast(Any, Daemon.__new__(Daemon))
        daemon._tasks = set()
        daemon.record = lambda kind, message: told.append(message)
        for work in (fail(), end(), forever()):
            daemon.go_on(work)
        tasks = list(daemon._tasks)
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
        assert daemon._tasks == set()

    with caplog.at_level(logging.ERROR):
        asyncio.run(play())
    assert told == ["unexpected: KeyError: 'a defect'"]
    assert "please report" in caplog.text
