"""The control plane's half of settled slots; the program's half, and the theory, stand in templates/bpf/tracking.h.

On any change of a slot's answer: if the slot is not tracked, `was := now` and the tracked bit is set; then
`changed := time` and `now := new`. The rule is the same whoever died or returned. As time passes (`sweep`):

  after `grace`       since `changed`: `was := now`. Every living older flow has sent a packet by then, and is
                      remembered.
  after 2 x `idle`    since `changed`, and `idle` since `diverted`: un-tracked. A living flow has sent its second
                      packet, and none that goes elsewhere than `now` lives any more.

A service may remember all flows. Then its slots stay tracked for ever, and once it has done so for `idle` every living
flow is remembered, so `was` follows `now` at once: only a flow for which there was no room notices the change.

Order of stores: history first, the slot's own word last; when un-tracking, the slot's word is the only store.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import compress
from operator import ne

from appliance.dataplane.abi import ASK_PREVIOUS, NO_DESTINATION
from appliance.dataplane.marks import Marks
from appliance.dataplane.memory import Memory


@dataclass(frozen=True)
class Slot:
    """One slot as `explain` shows it; indexes are those of destinations inside the service."""

    tracked: bool
    now: int
    was: int
    changed: int
    diverted: int


SLACK = 3
"""Seconds by which what others say of a time must be later than what is known.

Seconds are cut off on the way, and a time that came back a little later whenever it was told would never pass.
"""


@dataclass(frozen=True)
class ToldSlot:
    """A slot as another node sees it, in the terms of this one; None is a backend that is not known here.

    `changed` and `diverted` are ages in seconds.
    """

    was: int | None
    now: int | None
    changed: int
    diverted: int


@dataclass
class SlotTable:
    """The slots of one service: `count` of them from `first` on. `tracked` holds the numbers of the tracked ones.

    Where every flow is remembered, `since` is the coarse time from which on, and None elsewhere.
    """

    memory: Memory
    first: int
    count: int
    since: int | None = None
    tracked: Marks = field(init=False)
    _open: Marks = field(init=False)
    """Where every flow is remembered: tracked slots whose `was` may still differ."""
    _filled: int = 0
    """The coarse time at which the table got its first answers; 0 where nobody knows."""
    _later: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Slots whose older flows others know better: their `was`, and the coarse time from which on it holds here."""
    _heard: Marks = field(init=False)
    """Slots that others have told of since the table got its first answers."""

    def __post_init__(self) -> None:
        self.tracked, self._open, self._heard = Marks(self.count), Marks(0), Marks(self.count)

    def adopt(self, *, remember_all: bool = False) -> None:
        """Find the tracked slots in memory that another process has written. Since when, nobody knows any more."""
        words = self.memory.slots[self.first : self.first + self.count].tolist()
        self.tracked = Marks(self.count, (number for number, word in enumerate(words) if word & self.memory.tracked))
        self._follow(self.memory.time if remember_all else None)

    def remember_all(self, on: bool, time: int) -> None:
        """Track every slot that has a backend, for good; or let `sweep` un-track them, by its rules."""
        if on == (self.since is not None):
            return
        words = self.memory.slots[self.first : self.first + self.count].tolist() if on else []
        settled = [(number, word) for number, word in enumerate(words) if 0 < word < self.memory.tracked]
        for number, word in settled:
            self.memory.histories.put(self.first + number, "was", word)
            self.memory.histories.put(self.first + number, "changed", time)
        self.memory.fence()
        for number, word in settled:
            self.memory.slots[self.first + number] = self.memory.tracked | word
        self.tracked.update(number for number, _ in settled)
        self._follow(time if on else None)

    def _follow(self, since: int | None) -> None:
        """Set from when on every flow is remembered; then `was` of all tracked slots may still differ."""
        self.since = since
        self._open = Marks(0) if since is None else Marks(self.count, self.tracked)

    @property
    def blank(self) -> bool:
        """Whether no slot has a backend, or had one of whom there may be flows."""
        return not self.tracked and not any(self.owners())

    def owners(self) -> list[int]:
        """The index of each slot's destination for new flows."""
        index = self.memory.tracked - 1
        return [word & index for word in self.memory.slots[self.first : self.first + self.count].tolist()]

    def slot(self, number: int) -> Slot:
        """All that is known of a slot."""
        word = self.memory.slots[self.first + number]
        index = word & (self.memory.tracked - 1)
        tracked = word != index
        get = self.memory.histories.get
        at = self.first + number
        was = get(at, "was") if tracked else index
        return Slot(tracked, index, was, get(at, "changed"), get(at, "diverted"))

    def assign(self, owners: list[int], time: int, *, remember: bool = True, idle: int | None = None) -> int:
        """Make `owners` the answers for new flows; returns how many slots changed.

        A settled slot that had no backend has no flows to keep, and changes untracked; so do all without `remember`.
        Where every flow has been remembered for longer than `idle`, no older one depends on `was`.
        """
        complete = self.since is not None and idle is not None and time - self.since > idle
        memory, slots, histories = self.memory, self.memory.slots, self.memory.histories
        words = slots[self.first : self.first + self.count].tolist()
        index = memory.tracked - 1
        held = [word & index for word in words] if self.tracked else words
        differing = list(compress(range(self.count), map(ne, held, owners)))
        changing: list[int] = []
        direct: list[int] = []
        for number in differing:
            word, at = words[number], self.first + number
            if not remember or (word == NO_DESTINATION and self.since is None):
                direct.append(number)
                continue
            changing.append(number)
            if complete or word == NO_DESTINATION:
                histories.put(at, "was", owners[number])
            elif not word & memory.tracked:
                histories.put(at, "was", word)
            histories.put(at, "changed", time)
        memory.fence()
        for number in changing:
            slots[self.first + number] = memory.tracked | owners[number]
        for number in direct:
            slots[self.first + number] = owners[number]
        self.tracked.update(changing)
        if self.since is not None:
            self._open.update(changing)
        self.tracked.difference_update(direct)
        return len(differing)

    def fill(self, owners: list[int]) -> int:
        """Give the slots of a new service, which nothing finds yet, their first answers; returns how many have one."""
        words = array("H" if self.memory.shape.wide else "B", owners)
        self.memory.slots[self.first : self.first + self.count] = memoryview(words)
        self.tracked.clear()
        self._later.clear()
        self._heard.clear()
        self._filled = self.memory.time
        return self.count - owners.count(NO_DESTINATION)

    def hold(self, living: Collection[int]) -> None:
        """Let new flows of tracked slots go to the former owner where that lives, so that none needs remembering.

        While the flow table is copied, what the program adds to the former one may be lost; but then a flow that is not
        remembered goes where it began all the same. `assign` with the owners as they were ends it.
        """
        for number in self.tracked:
            slot = self.slot(number)
            if slot.was in living:
                self.memory.slots[self.first + number] += slot.was - slot.now

    def begin(self, owners: list[int], time: int, *, remember_all: bool = False) -> None:
        """Fill the table after a hash change: older flows are answered by the generation before."""
        memory, histories = self.memory, self.memory.histories
        for number in range(self.count):
            histories.put(self.first + number, "was", ASK_PREVIOUS)
            histories.put(self.first + number, "changed", time)
        memory.fence()
        for number, owner in enumerate(owners):
            memory.slots[self.first + number] = memory.tracked | owner
        self.tracked.fill()
        self._follow(time if remember_all else None)
        self._later.clear()

    def asks(self) -> bool:
        """Whether any slot still needs the generation before."""
        get = self.memory.histories.get
        return any(get(self.first + number, "was") == ASK_PREVIOUS for number in self.tracked)

    def sweep(self, time: int, idle: int, grace: int) -> int:
        """Settle what has become safe to settle; returns how many slots were un-tracked."""
        slots, histories = self.memory.slots, self.memory.histories
        settled, closed = [], []
        for number in [number for number, (_, at) in self._later.items() if time >= at]:
            was, _ = self._later.pop(number)
            if number in self.tracked:
                histories.put(self.first + number, "was", was)
        for number in self.tracked if self.since is None else self._open:
            at = self.first + number
            age = time - histories.get(at, "changed")
            if age <= grace:
                continue
            now = slots[at] & (self.memory.tracked - 1)
            if histories.get(at, "was") != now:
                histories.put(at, "was", now)
            if self.since is not None:
                closed.append(number)
            elif age > 2 * idle and time - histories.get(at, "diverted") > idle:
                slots[at] = now
                settled.append(number)
        self.tracked.difference_update(settled)
        self._open.difference_update(closed)
        return len(settled)

    def learn(self, number: int, told: ToldSlot, time: int, *, joining: bool = False) -> bool:
        """Take in what another node says of a slot; returns whether it has become tracked. The rules: slotshare.py.

        A node that is `joining` has answered nobody yet, and takes over the other's `was`.
        """
        if self.since is not None or not 0 <= number < self.count:
            return False
        at, histories = self.first + number, self.memory.histories
        word = self.memory.slots[at]
        now = word & (self.memory.tracked - 1)
        tracked, differs = word != now, told.now != now
        changed = time if differs else time - told.changed
        if not joining:
            self._defer(number, told, time)
        self._heard.add(number)
        if not tracked:
            adopted = told.was if joining or now == NO_DESTINATION else now
            histories.put(at, "was", adopted if adopted is not None else now)
            histories.put(at, "changed", max(1, changed))
            histories.put(at, "diverted", max(1, time - told.diverted))
            self.memory.fence()
            self.memory.slots[at] = self.memory.tracked | now
            self.tracked.add(number)
            return True
        if joining and told.was is not None and histories.get(at, "was") != ASK_PREVIOUS:
            histories.put(at, "was", told.was)
        for name, then in (("changed", changed), ("diverted", time - told.diverted)):
            if then > histories.get(at, name) + (0 if then == time else SLACK):
                histories.put(at, name, then)
        return False

    def _defer(self, number: int, told: ToldSlot, time: int) -> None:
        """Take over another's `was` later, where it knows older flows better.

        That is so where it has changed a slot that stayed as it was here; and of all slots where this table was young,
        and had heard of nobody, when it is told of them first. Flows that began here meanwhile are given as long again
        to be remembered.
        """
        at, index = self.first + number, self.memory.tracked - 1
        word, age = self.memory.slots[at], time - self._filled
        now = word & index
        own = self.memory.histories.get(at, "was") if word != now else now
        if told.was in (None, NO_DESTINATION, own) or NO_DESTINATION in (now, own) or own == ASK_PREVIOUS:
            return
        assert told.was is not None
        if word == now and told.now == now:
            self._later[number] = told.was, time + min(told.changed, age)
        elif self._filled and number not in self._heard and age <= self.memory.settings.get(0, "idle"):
            self._later[number] = told.was, time + age

    def clear(self) -> None:
        """Forget everything: for slots that no service uses."""
        wide = self.memory.shape.wide
        empty = memoryview(bytes(self.count * (2 if wide else 1)))
        self.memory.slots[self.first : self.first + self.count] = empty.cast("H") if wide else empty
        self.tracked.clear()
        self._open.clear()
        self._later.clear()
        self._heard.clear()
