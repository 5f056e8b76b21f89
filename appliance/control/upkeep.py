"""The daemon's care for the program on its interfaces: brings it back, and makes it anew where it must be another."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from appliance.control import heap
from appliance.control.doctor import headlines
from appliance.control.recorder import headline
from appliance.errors import Vc5Error
from appliance.model import EventKind
from appliance.net import namespace

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

log = logging.getLogger("vc5")

AGAIN = 10.0
"""Seconds after which the probe namespace is made again where that failed."""


class Upkeep:
    """Looks after the links of a running daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._tried: tuple[int, ...] = ()
        """The MTUs that the program was last made anew for."""
        self._again = 0.0
        """When to make the probe namespace again, monotonic seconds."""

    def look(self) -> None:
        """Every second: take in how the interfaces are now, for a link is held against its interface; then `keep`.

        Pins and the probe namespace are looked at as well: others can remove them.
        """
        daemon = self._daemon
        try:
            daemon.watch.read()
        except Vc5Error as error:
            log.warning("%s", error)
        try:
            if daemon.instance.follow_probe_link():
                daemon.record(EventKind.DAEMON, "the way to the prober was made anew")
                daemon.plan_soon()
        except Vc5Error as error:
            log.warning("the way to the prober cannot be made anew: %s", error)
        self.keep()
        if daemon.reloading.locked():
            return
        for note in daemon.instance.data.pins.mend(daemon.instance.data.generation, daemon.instance.data.attachments):
            daemon.record(EventKind.ALARM, note)
        now = time.monotonic()
        instance = daemon.instance
        if (
            instance.probe_end is not None
            and not instance.apart
            and now >= self._again
            and not namespace.is_there(daemon.root)
        ):
            self._again = now + AGAIN
            daemon.go_on(self._mend_probe_link())

    async def _mend_probe_link(self) -> None:
        """Make the probe namespace anew, with a prober in it; verdicts stand meanwhile."""
        daemon, name = self._daemon, self._daemon.root.namespace
        async with daemon.reloading:
            await daemon.prober.stop()
            try:
                daemon.instance.make_probe_link()
                daemon.instance.attach_probe()
                await daemon.prober.start()
            except Vc5Error as error:
                text = f"the probe namespace {name} is gone, and cannot be made anew: {headline(error)}"
                daemon.record(EventKind.ALARM, f"{text}; health is frozen, all verdicts stand")
                return
            daemon.record(EventKind.ALARM, f"the probe namespace {name} was removed by somebody else; it was made anew")
            daemon.plan_soon()

    def keep(self) -> None:
        """Attach where the program is missing; where only another program can be attached, put that in force."""
        daemon = self._daemon
        if daemon.reloading.locked():
            return  # what is put in force now looks after the interfaces as well
        mtus = daemon.instance.outgrown()
        if mtus and mtus != self._tried:
            self._tried = mtus
            daemon.go_on(self._reshape(" and ".join(map(str, mtus))))
            return
        try:
            daemon.instance.keep_attached()
        except Vc5Error as error:
            log.warning("the interfaces cannot be looked after: %s", error)
        self.tell()

    async def _reshape(self, mtu: str) -> None:
        daemon = self._daemon
        async with daemon.reloading:
            try:
                await daemon.reconfigure(daemon.instance.state.config)
                heap.trim()
            except Vc5Error as error:
                daemon.record(EventKind.ALARM, f"no program for an MTU of {mtu}: {headline(error)}")
            else:
                daemon.record(EventKind.DAEMON, f"the program was made anew, for an MTU of {mtu}")
            self.tell()

    def warn(self, names: Collection[str]) -> None:
        """Say what speaks against XDP on these of the interfaces."""
        for name, line in headlines(self._daemon.instance.state.config, self._daemon.watch.snapshot()).items():
            if name in names:
                log.warning("%s: %s", name, line)

    def tell(self) -> None:
        """Write down what has happened to the program on the interfaces."""
        for notice in self._daemon.instance.links.notices():
            self._daemon.record(notice.kind, notice.message)
