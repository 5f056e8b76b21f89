"""One data plane, kept going by its caller: open and attach, a whole configuration, refresh, close.

The daemon's own parts (control/instance.py, plan.py, net/watch.py) without its event loop: what it does on events, this
does in `refresh`.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from appliance.balancer.sound import checked
from appliance.balancer.unchecked import Unchecked, kept, passing
from appliance.control import requirements, store
from appliance.dataplane.sync import PASS, PROBE
from appliance.errors import NoRoom, RequestError
from appliance.model import Config, Health
from appliance.net import namespace
from appliance.net.watch import HostWatch
from appliance.paths import Root

TICK = 0.25
"""Seconds between two calls of `refresh`, at most."""
RESOLUTION = 1.0
"""Seconds that `open` waits for the MAC addresses of the first backends. A service of which only some are found opens
within `plan.OPENING` seconds after the first of them."""
LINE = 4096
"""Where `lines` cuts a line off, bytes."""


class HasFileno(Protocol):
    """A file, a socket, or whatever else has a descriptor."""

    def fileno(self) -> int: ...


class Running:
    """One data plane on some interfaces of this network namespace. A context manager: `open`, `attach`; `close`."""

    def __init__(self, config: Config, *, root: Root | None = None, probes: bool = False) -> None:
        """Touch nothing yet. `config` holds interfaces, mode, sizes, times and the first services.

        With `probes` there is a network namespace from which each backend can be reached through the VIP of its
        service, at `nat_address`; that needs CAP_SYS_ADMIN.
        """
        self._config = config
        self._root = root
        self._probes = probes
        self._instance: Unchecked | None = None
        self._watch: HostWatch
        self._held = ExitStack()
        self._changed = False
        self._second = 0.0
        self._fresh = True

    # ---- life

    def open(self) -> None:
        """Load the program and fill its tables; no packet is touched before `attach`. Takes a second.

        Raises RequestError for a configuration that makes no sense, HostError where capabilities or an interface are
        missing, AlreadyRunning where the root is in use, RenderError, CompileError, VerifierError or KernelError where
        the program cannot be loaded; then nothing is left behind.
        """
        if self._instance is not None:
            raise RequestError("this balancer is open; close it first")
        config = self._config = checked(self._config)
        requirements.check_capabilities(Path("/proc/self/status").read_text())
        # Until it is known that nothing runs, nothing may be removed.
        self._fresh = self._root is None
        try:
            if self._root is not None:
                store.make_directories(self._root)
                self._held.callback(store.Lock(self._root.lock).release)
            self._watch = HostWatch(config.interfaces, self._note)
            self._held.callback(self._watch.close)
            requirements.interfaces(config, self._watch.snapshot())
            # Without interfaces, so that nothing is attached before `attach`; but links that are there stay.
            bare = replace(config, interfaces=())
            if self._root is None:
                instance: Unchecked = passing(config.interfaces, bare, self._watch)
            else:
                instance = kept(self._root, bare, self._watch)
            self._instance = instance
            instance.seed = instance.seed_for(config)
            if self._root is not None:
                self._fresh = not instance.adopt()
                there = tuple(name for name in config.interfaces if name in instance.data.attachments.links)
                instance.state.config = replace(config, interfaces=there)
                saved, _ = store.load_state(self._root.state_file)
                instance.restore({name: value for name, value in saved.items() if name != "health"})
            instance.data.install(instance.data.prepare(instance.shape(config)))
            instance.tick()
            self._follow()
            self._find_the_way()
        except BaseException:
            self._end(remove=self._fresh)
            raise

    def attach(self) -> None:
        """Put the program on the interfaces, and stay there through all later changes.

        Raises ForeignProgram where another program is there, KernelError where the driver refuses, HostError where an
        interface is gone; interfaces done before stay attached until `detach` or `close`.
        """
        instance = self._running()
        before = instance.state.config
        instance.state.config = replace(before, interfaces=self._config.interfaces)
        try:
            if self._probes and instance.probe is None:
                # The namespace belongs to whoever holds the interfaces, so it comes after them.
                instance.attach()
                instance.make_probe_link()
                instance.replan()
            instance.attach()
        except BaseException:
            instance.state.config = before
            raise

    def detach(self) -> None:
        """Take the program off the interfaces: packets go to the host's own stack. Tables and flows stay."""
        instance = self._running()
        instance.state.config = replace(instance.state.config, interfaces=())
        instance.attach()

    def close(self) -> None:
        """Let go. What is pinned works on; without a root everything is detached and gone. Fine to call twice."""
        self._end(remove=self._root is None)

    def remove(self) -> None:
        """Detach and unpin everything, and close; the seed and the compiled program stay in the root."""
        self._end(remove=True)

    def _end(self, remove: bool) -> None:
        instance, self._instance = self._instance, None
        try:
            if instance is not None and remove:
                instance.data.remove()
                if instance.probe_end is not None:
                    namespace.remove(instance.root)
            elif instance is not None:
                instance.save()
                instance.data.close()
        finally:
            self._held.close()

    def __enter__(self) -> Self:
        self.open()
        try:
            self.attach()
        except BaseException:
            self._end(remove=self._fresh)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- keeping it going

    def fileno(self) -> int:
        """The descriptor that becomes readable when the host has changed and `refresh` should be called."""
        self._running()
        return self._watch.fileno()

    def refresh(self) -> None:
        """Take in what has happened since, without waiting: neighbours, interfaces, the end of drains, the time.

        Raises KernelError or PlanError where the tables or a link cannot follow; the next call tries again.
        """
        instance, now = self._running(), time.monotonic()
        self._watch.read()
        instance.tick()
        if now >= self._second:
            self._second = now + 1
            self._changed |= instance.sweep()
            self._watch.refresh(now)
        due = instance.openings.next_due()
        if self._changed or (due is not None and now >= due):
            self._follow()

    def wait(self, *files: HasFileno, seconds: float | None = None) -> list[HasFileno]:
        """Keep the balancer going until one of `files` is readable or at its end, or `seconds` are over.

        Returns those that are; an empty list when the time is over. Raises as `refresh` does.
        """
        end = None if seconds is None else time.monotonic() + seconds
        by_number = {file.fileno(): file for file in files}
        poll = select.poll()
        for number in (self.fileno(), *by_number):
            poll.register(number, select.POLLIN)
        while True:
            self.refresh()
            left = TICK if end is None else end - time.monotonic()
            ready = [
                by_number[number] for number, _ in poll.poll(max(0.0, min(TICK, left)) * 1000) if number in by_number
            ]
            if ready or (end is not None and time.monotonic() >= end):
                return ready

    def lines(self, file: HasFileno) -> Iterator[str]:
        """Yield the lines of a file, and keep the balancer going while there are none. Raises as `refresh` does.

        What is no UTF-8 is replaced, and of a line of more than LINE bytes only the beginning is kept, with `...`. The
        file's own buffer is not used: it would hold lines that nobody waits for.
        """
        rest = b""
        while self.wait(file):
            data = os.read(file.fileno(), LINE)
            *whole, rest = (rest + data).split(b"\n") if data else (rest, b"")
            if len(rest) > LINE:
                rest = rest[:LINE] + b"..."
            yield from (line.decode(errors="replace").strip() for line in whole)
            if not data:
                return

    def _note(self) -> None:
        self._changed = True

    def _follow(self) -> None:
        """Bring tables and links to what the host looks like now."""
        instance = self._running()
        pairs = {
            (service.key, backend.address) for service in instance.state.services() for backend in service.backends
        }
        instance.assumed = {pair: health for pair, health in instance.assumed.items() if pair in pairs}
        made = instance.replan()
        found = {(s.key, m.address) for s in made.desired.services for m in s.members if m.hop is not None}
        if not found <= instance.assumed.keys():
            instance.assumed.update(dict.fromkeys(found, Health.UP))
            made = instance.replan()
        self._watch.want(made.wanted, made.neighbours)
        config, links = instance.state.config, instance.data.attachments.links
        present = [interface for interface in instance.host().interfaces if interface.name in config.interfaces]
        attached = {name: link.index for name, link in links.items() if name not in (PROBE, PASS)}
        # An interface that was made anew has lost the program with its number. Before `attach` there are no interfaces,
        # but perhaps links of an earlier process, which stay.
        if config.interfaces and attached and attached != {one.name: one.index for one in present}:
            instance.data.attach(present, config.xdp)
        self._changed = False

    def _find_the_way(self) -> None:
        end, openings = time.monotonic() + RESOLUTION, self._running().openings
        while not self._found() and (time.monotonic() < end or openings.next_due() is not None):
            self.wait(seconds=TICK / 10)

    def _found(self) -> bool:
        planned = self._running().current
        return planned is None or all(m.hop is not None for s in planned.desired.services for m in s.members)

    # ---- what it should be

    def configure(self, config: Config) -> None:
        """Put a whole configuration in force in one step; what it does not name any more drains.

        This is what all other changes come down to, and far quicker than many of them. Where capacities grow or
        features come, a program is compiled first (half a second). The interfaces must be the same. Raises
        RequestError, PlanError and what `open` raises, with the former configuration still in force.
        """
        instance = self._running()
        config = checked(config)
        if config.interfaces != self._config.interfaces:
            raise RequestError(
                "a balancer stays on its interfaces; close it, and open another one for other interfaces"
            )
        wanted = replace(config, interfaces=instance.state.config.interfaces)
        shape = instance.shape(wanted)
        for more in (True, True, False):
            try:
                instance.reconfigure(wanted, instance.data.prepare(shape))
                break
            except NoRoom:
                if not more:
                    raise
                shape = shape.doubled()
        self._config = config
        self._follow()
        self._watch.refresh(time.monotonic())

    def _running(self) -> Unchecked:
        if self._instance is None:
            raise RequestError("this balancer is not open; use it in a `with` statement, or call `open`")
        return self._instance
