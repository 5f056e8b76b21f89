"""Memory that writes down every store, so that a test can see all the states that a packet or a kill may meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from appliance.dataplane.memory import Memory


@dataclass(frozen=True)
class Store:
    """Bytes stored at a place of a map."""

    map: str
    offset: int
    content: bytes


@dataclass(frozen=True)
class Fence:
    """No store before it is seen after one behind it."""


class _View:
    """A memoryview that tells of every assignment."""

    def __init__(self, log: list[Store | Fence], name: str, view: memoryview[Any], offset: int = 0) -> None:
        self._log, self._name, self._view, self._offset = log, name, view, offset

    def _range(self, key: int | slice) -> tuple[int, int]:
        start, stop, step = key.indices(len(self._view)) if isinstance(key, slice) else (key, key + 1, 1)
        assert step == 1
        return start * self._view.itemsize, stop * self._view.itemsize

    def __getitem__(self, key: int | slice) -> Any:
        part = self._view[key]
        if isinstance(key, int) or (key.step or 1) != 1:
            return part
        return _View(self._log, self._name, part, self._offset + self._range(key)[0])

    def __setitem__(self, key: int | slice, value: Any) -> None:
        self._view[key] = value
        start, stop = self._range(key)
        self._log.append(Store(self._name, self._offset + start, bytes(self._view.cast("B")[start:stop])))

    @property
    def itemsize(self) -> int:
        return self._view.itemsize

    @property
    def format(self) -> str:
        return self._view.format

    def __len__(self) -> int:
        return len(self._view)

    def __bytes__(self) -> bytes:
        return bytes(self._view)

    def tolist(self) -> list[int]:
        return self._view.tolist()

    def cast(self, code: Any) -> _View:
        return _View(self._log, self._name, self._view.cast(code), self._offset)


Image = dict[str, bytes]


def image(memory: Memory) -> Image:
    """All that the memory holds."""
    return {name: bytes(view) for name, view in memory.raw.items()}


def restored(memory: Memory, held: Image) -> Memory:
    """New memory of the same shape with this content."""
    return Memory(memory.shape, {name: memoryview(bytearray(content)) for name, content in held.items()})


def recorded(memory: Memory) -> tuple[Memory, list[Store | Fence]]:
    """The same memory, but every store goes into the list as well."""
    log: list[Store | Fence] = []
    raw = {name: cast("memoryview[int]", _View(log, name, view)) for name, view in memory.raw.items()}
    return Memory(memory.shape, raw, lambda: log.append(Fence())), log


def put(memory: Memory, store: Store) -> None:
    """Repeat a store."""
    memory.raw[store.map][store.offset : store.offset + len(store.content)] = store.content


def reordered(log: Sequence[Store | Fence], random: Random, subsets: int) -> Iterator[list[Store]]:
    """What another processor may have seen: all stores before a fence, and any of those between it and the next.

    Stores to the same place are seen in order.
    """
    done: list[Store] = []
    epoch: list[Store] = []
    for event in (*log, Fence()):
        if isinstance(event, Store):
            epoch.append(event)
            continue
        for _ in range(subsets if epoch else 0):
            chance, unseen, seen = random.random(), set[tuple[str, int]](), []
            for store in epoch:
                place = (store.map, store.offset)
                if place not in unseen and random.random() < chance:
                    seen.append(store)
                else:
                    unseen.add(place)
            yield done + seen
        done += epoch
        epoch = []
