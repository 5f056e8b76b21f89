"""The door to what must outlive the program: open descriptors, each with a name and what its owner wants to tell of it.

    left = daemon.descriptors.take("bgp-192.0.2.1")               what the former program left; None where nothing was
    daemon.descriptors.keep("bgp-192.0.2.1", number, {"as": 1})    again, whenever the state has changed
    daemon.descriptors.release("bgp-192.0.2.1")                   before it is closed, or the peer hears nothing of it

Over a re-execution they go by exec (handover.py). Against a sudden end the service manager holds a copy of each all the
time (FDSTORE=1 of sd_notify(3)), and one of the ledger with the states: the next program is given them at its start,
be the former one killed, or ended by the watchdog or for want of memory. A connected socket lives on meanwhile, and the
kernel acknowledges what arrives; what the program had read and not acted on is lost, unless its state tells. The
service manager lets go of a connection that breaks. A stop releases everything.

Outside of systemd a descriptor outlives a re-execution alone.
"""

from __future__ import annotations

import os
from typing import Any

from appliance.control.handover import LEDGER, Estate, Inheritance
from appliance.control.heritage import Bequest
from appliance.control.ledger import Ledger
from appliance.control.notify import Notifier

Identity = tuple[int, int]


class Descriptors:
    """What this program keeps, and what the former one kept."""

    def __init__(self, estate: Estate, inherited: Inheritance, notifier: Notifier) -> None:
        self._estate = estate
        self._inherited = inherited
        self._notifier = notifier
        self._kept: dict[str, Bequest] = {}
        self._held: dict[str, Identity] = {}  # what the service manager has under a name
        left = inherited.descriptor(LEDGER)
        self._ledger: Ledger | None = None
        if left is not None:
            self._ledger = Ledger(left)
            self._held[LEDGER] = _identity(left)
        estate.offer(LEDGER, lambda: Bequest(LEDGER, self._ledger.descriptor) if self._ledger is not None else None)

    @property
    def names(self) -> frozenset[str]:
        """Names under which the service manager has to go on holding something."""
        return frozenset(self._kept) | ({LEDGER} if self._kept else set())

    def take(self, name: str) -> Bequest | None:
        """Return what the former program kept under a name, once. It is the caller's, to keep again or to close."""
        left = self._inherited.take(name)
        if left is not None and left.descriptor is not None and name in self._inherited.kept:
            self._held[name] = _identity(left.descriptor)
        return left

    def keep(self, name: str, descriptor: int, state: Any = None) -> None:
        """Have a descriptor outlive this program, with a state in JSON's terms; what had that name is released.

        Raises ValueError for a name that heritage.py does not take, HostError where the states are too long.
        """
        kept = Bequest(name, descriptor, state)
        ledger = self._ledger if self._ledger is not None else Ledger()
        # Told before it is held: of what is held and not told, the next program would not know what it is.
        ledger.write([*(one for one in self._kept.values() if one.name != name), kept])
        self._ledger = ledger
        self._kept[name] = kept
        self._estate.offer(name, lambda: self._kept.get(name))
        for one, number in ((LEDGER, ledger.descriptor), (name, descriptor)):
            if self._held.get(one) != _identity(number):
                self._notifier.forget(one)
                self._notifier.store(one, number)
                self._held[one] = _identity(number)

    def release(self, name: str) -> None:
        """Let it end with this program; it is the caller's to close. Nothing happens where nothing has that name."""
        if self._kept.pop(name, None) is None:
            return
        self._estate.withdraw(name)
        self._notifier.forget(name)
        self._held.pop(name, None)
        if self._ledger is not None:
            self._ledger.write(self._kept.values())

    def forget_rest(self) -> None:
        """Have nothing held any more that the former program left and nobody has kept again by now."""
        for name in sorted(self._inherited.kept - self.names):
            self._notifier.forget(name)
            self._held.pop(name, None)

    def release_all(self) -> None:
        """Leave nothing to the next program."""
        for name in tuple(self._kept):
            self.release(name)
        if self._held.pop(LEDGER, None) is not None:
            self._notifier.forget(LEDGER)


def _identity(descriptor: int) -> Identity:
    """What tells an open file from others; the number of a descriptor is used again."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino
