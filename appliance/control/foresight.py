"""`vc5 plan` in the running daemon: takes the scene as it is, has a thread look ahead, and changes nothing.

What must be read where the daemon writes, the event loop reads, a slice at a time; the rest is a thread's work. While
it lasts, no reload begins.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import gc
import sys
import time
import zlib
from array import array
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import thread_time
from typing import TYPE_CHECKING, Any, TypeVar

from appliance import config
from appliance.config.compose import MAX_CHARACTERS
from appliance.control import standing
from appliance.control.forecast import Seat, flows_leaving
from appliance.control.outlook import Flows, Outlook, Scene, apart, look, overview, told
from appliance.control.socket import Encoded
from appliance.dataplane import lookup
from appliance.dataplane.hashchange import new_keys
from appliance.dataplane.sync import At
from appliance.dataplane.tables import Tables
from appliance.errors import ControlError, HostError
from appliance.model import Config, Protocol, ServiceKey

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon
    from appliance.control.instance import Instance

GIVE_WAY = 0.0005
"""Seconds after which the thread lets the event loop go on (sys.setswitchinterval)."""
Item = TypeVar("Item")


@contextmanager
def considerate() -> Iterator[None]:
    """While a thread looks ahead: it gives way at once, and no garbage is collected.

    What a forecast makes is gone right after it; to look all of it through meanwhile would hold up the loop.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(GIVE_WAY)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        sys.setswitchinterval(before)


async def answer(daemon: Daemon, arguments: Mapping[str, Any]) -> Encoded:
    """The answer to `plan`: with a file's text that, else the configuration that a reload would read.

    Raises ConfigError where it is refused, and whatever would keep a reload from putting it in force.
    """
    async with daemon.reloading:
        with considerate():
            return await _answer(daemon, arguments)


async def _answer(daemon: Daemon, arguments: Mapping[str, Any]) -> Encoded:
    given, name = arguments.get("text"), str(arguments.get("name", ""))
    if given is None:
        loaded = await asyncio.to_thread(config.load, daemon.file)
    else:
        loaded = await asyncio.to_thread(config.load_text, unpacked(given), name)
    outlook, program = await foresee(daemon.instance, loaded.config)
    flows = await _flows(daemon.instance, outlook)
    head = {
        "file": name if given is not None else str(daemon.file),
        "against": "the running daemon",
        **overview(outlook),
        "program": str(program),
        "recompile": program is At.NOWHERE,
        "warnings": [issue.as_json() for issue in loaded.warnings],
    }
    return await standing.encoded(head, told(outlook, flows))


async def foresee(instance: Instance, wanted: Config) -> tuple[Outlook, At]:
    """Look ahead to a configuration, and say where the program for it is; to be called while no reload can begin.

    Raises PlanError where it would be refused, HostError while the daemon is still starting.
    """
    if instance.current is None or instance.data.tables is None:
        raise HostError("the daemon is still starting")
    tables, seed, now = instance.data.tables, instance.seed_for(wanted), time.monotonic()
    seats = await _seats(tables)
    before = lookup.keys(tables.memory).current
    idle = tables.memory.settings.get(0, "idle")
    keys = new_keys(tables.memory, (seat.entry for seat in seats.values()), seed, idle)
    host = instance.host()
    shape = await asyncio.to_thread(instance.shape, wanted, host)
    current, left = instance.current, frozenset(instance.current.left)
    scene = Scene(
        apart(instance.state),
        wanted,
        seats,
        instance.verdict,
        host,
        seed,
        keys.current != before,
        instance.openings.apart(),
        instance.shares.apart(),
        {one.key: one for one in current.desired.services if one.key not in left},
        current.desired.vips,
        now,
        instance.clock.at(now),
    )
    outlook = await asyncio.to_thread(look, scene)
    return outlook, await asyncio.to_thread(instance.data.program_for, shape)


async def _seats(tables: Tables) -> dict[ServiceKey, Seat]:
    found: dict[ServiceKey, Seat] = {}
    mask, code = tables.memory.tracked - 1, "H" if tables.memory.shape.wide else "B"
    async for key in _in_slices(list(tables.tracked())):
        slots, entry = tables.slots(key), tables.entry(key)
        if slots is not None and entry is not None:
            names = {number - entry.destinations: address for address, number in tables.numbers(key).items()}
            words = tables.memory.slots[slots.first : slots.first + slots.count]
            found[key] = Seat(entry, array(code, bytes(words)), mask, names)
    return found


async def _flows(instance: Instance, outlook: Outlook) -> dict[ServiceKey, Flows]:
    found: dict[ServiceKey, Flows] = {}
    tables, moves = instance.data.tables, outlook.moves
    if tables is None:
        return found
    gone = {key for key, lost in outlook.lost.items() if lost.total}
    async for key in _in_slices([key for key, move in moves.items() if move.moved or key in gone]):
        counted = instance.active_flows(key)
        if not counted and key.protocol is not Protocol.TCP:
            continue  # a flow without a SYN has no beginning that could be counted
        numbers = tables.numbers(key)
        concerned = numbers if key in gone else moves[key].left
        begun = {who: tables.memory.counter(numbers[who], "flows") for who in concerned if who in numbers}
        flows = counted or begun
        found[key] = Flows(sum(flows.values()) if key in gone else flows_leaving(moves[key], flows), bool(counted))
    return found


async def _in_slices(items: Iterable[Item]) -> AsyncIterator[Item]:
    """Yield the items, with a turn for others whenever it has taken long enough."""
    began = thread_time()
    for item in items:
        yield item
        if thread_time() - began > standing.TURN:
            await asyncio.sleep(0)
            began = thread_time()


def unpacked(given: object) -> str:
    """The text of a file as it came over the socket: base64 of zlib. Raises ControlError."""
    try:
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(base64.b64decode(str(given), validate=True), MAX_CHARACTERS + 1)
        if len(data) > MAX_CHARACTERS or not unpacking.eof:
            raise ControlError(f"the text is cut off, or larger than {MAX_CHARACTERS >> 20} MiB")
        return data.decode("utf-8")
    except (ValueError, binascii.Error, zlib.error) as error:
        raise ControlError(f"the request holds no text of a configuration: {error}") from None
