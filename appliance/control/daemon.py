"""`vc5 run`: the event loop around one instance. Signals, the prober, the control socket, the log, systemd.

Boot: configuration, host, program (adopted or compiled), all tables, attach, control socket, READY, prober. Reload: the
new configuration is read and its program compiled beside the running one, then put in force in one step or not at all.
Stop (SIGTERM, SIGINT): with `leave` it waits for traffic to ebb (departing.py); the prober ends, everything is detached
and removed. Leave (SIGUSR1): the daemon ends and the data plane works on, for the next daemon to adopt, as when it is
killed or fails; that is how to restart one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from appliance import __version__, config
from appliance.control import heap, reexec, requirements, standing, store
from appliance.control.blocking import Blocking
from appliance.control.departing import Departing
from appliance.control.descriptors import Descriptors
from appliance.control.drilling import Drilling
from appliance.control.fleet import FleetNode
from appliance.control.handover import Estate, Inheritance, receive, unblock
from appliance.control.instance import Instance, data_plane, state_for
from appliance.control.judging import Judging
from appliance.control.measuring import Measuring
from appliance.control.notify import Notifier
from appliance.control.pulse import Pulse
from appliance.control.recorder import Recorder, headline, log_to_stderr
from appliance.control.reload import reload_quietly
from appliance.control.requests import handlers
from appliance.control.routing import Routing
from appliance.control.saving import Saving
from appliance.control.slices import Slices
from appliance.control.socket import ControlServer
from appliance.control.telling import Telling
from appliance.control.trials import Trials
from appliance.control.upkeep import Upkeep
from appliance.dataplane.sync import Prepared
from appliance.errors import HostError, NoRoom, Vc5Error
from appliance.health.client import ProberClient
from appliance.health.door import Door
from appliance.model import Config, EventKind, ServiceKey
from appliance.net.watch import HostWatch
from appliance.paths import Root

log = logging.getLogger("vc5")

TICK = 0.25
"""Seconds between two steps of the coarse clock."""
COMPILE_TIME = 180.0
"""What systemd is asked for while a program compiles; a slow virtual machine needs a few seconds of it."""


class Daemon:
    """One instance and all that keeps it going."""

    def __init__(self, root: Root, file: config.Source, inherited: Inheritance, prober_user: str | None = None) -> None:
        """With a `prober_user`, the probe namespace and the prober are units of their own (groundwork.py, door.py)."""
        self.root, self.file, self.notifier = root, file, Notifier()
        self._door = Door(root.prober_socket, prober_user) if prober_user is not None else None
        self.started, self.loaded_at = time.monotonic(), time.time()
        self.generation = 1
        self.warnings: tuple[dict[str, Any], ...] = ()
        self.refusal = ""
        """Why the last reload was refused; empty if it was not."""
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self.reloading: asyncio.Lock
        self._planned = self._unsaved = self._removing = False
        self._dirty: set[ServiceKey] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.upkeep = Upkeep(self)
        self.slices, self.pulse = Slices(), Pulse()
        self.blocking, self.drilling, self.judging = Blocking(self), Drilling(self), Judging(self)
        self.measuring = Measuring(self)
        self.telling, self.fleet = Telling(self), FleetNode(self)
        self.routing, self.departing = Routing(self), Departing(self)
        self.estate, self.inherited = Estate(), inherited
        self.descriptors = Descriptors(self.estate, inherited, self.notifier)
        # Who is told by a service manager, or goes on for another program, waits for its interfaces, and says so.
        self._patient = self.notifier.heard or bool(inherited.program)
        reexec.offer_all(self)
        self.trials = Trials(self)

    async def run(self) -> int:
        """Run until a signal; returns the exit status. Raises Vc5Error where it cannot start."""
        self._loop = asyncio.get_running_loop()
        # Every thread that ever worked keeps a heap of its own; two are enough, one of them for the log.
        self._loop.set_default_executor(ThreadPoolExecutor(max_workers=2))
        self._stop, self.reloading = asyncio.Event(), asyncio.Lock()
        loaded = await asyncio.to_thread(config.load, self.file)
        self.warnings = tuple(issue.as_json() for issue in loaded.warnings)
        requirements.check_capabilities(Path("/proc/self/status").read_text())
        store.make_directories(self.root)
        self.lock = store.Lock(self.root.lock, self.inherited.descriptor(reexec.LOCK))
        self.recorder = Recorder(self.root.log)
        configuration = self.trials.start(loaded.config)
        self.watch = HostWatch(configuration.interfaces, self._host_changed)
        self.watched = configuration.interfaces
        self.instance = Instance(
            self.root,
            data_plane(self.root),
            state_for(configuration),
            lambda: self.watch.snapshot(),
            apart=self._door is not None,
        )
        self.saving = Saving(self.instance, self._not_saved)
        self.telling.describe(self.telling.settings())
        self._listen_to_signals()
        try:
            await self.reloading.acquire()  # a reload that is asked for meanwhile has its turn when this is ready
            if await self._boot():
                await self._serve()
        finally:
            self.recorder.close()
            self.watch.close()
            self.lock.release()
        return 0

    def _listen_to_signals(self) -> None:
        actions = {
            signal.SIGTERM: self.departing.asked_to_stop,
            signal.SIGINT: self.departing.asked_to_stop,
            signal.SIGUSR1: self._stop.set,
            signal.SIGHUP: lambda: self.go_on(reload_quietly(self)),
        }
        for number, action in actions.items():
            self._loop.add_signal_handler(number, action)
        unblock()

    async def _boot(self) -> bool:
        """Bring the data plane up; False where a signal ended it before there was one."""
        instance, configuration = self.instance, self.instance.state.config
        if not self._patient:
            requirements.interfaces(configuration, self.watch.snapshot())
        instance.seed = instance.seed_for(configuration)
        adopted = instance.adopt()
        self._removing = not adopted
        saved, trouble = store.load_state(self.root.state_file)
        refused = instance.restore(saved)
        if trouble or refused:
            self.record(
                EventKind.ALARM,
                (trouble or f"{self.root.state_file}: {refused} entries made no sense, left out")
                + store.set_aside(self.root.state_file),
            )
        reexec.remember(self)
        self.notifier.extend(COMPILE_TIME)
        self.notifier.status("compiling the data plane")
        try:
            prepared = await asyncio.to_thread(instance.data.prepare, instance.shape(configuration))
        except Vc5Error:
            if not self._stop.is_set():  # who ends the daemon may have ended the compiler as well
                raise
        if self._stop.is_set():
            self._end()
            return False
        try:
            instance.data.install(prepared)
            instance.make_probe_link()
            instance.tick()
            made = instance.replan()
            self.watch.want(made.wanted, made.neighbours)
            self.upkeep.warn(configuration.interfaces)
            self.departing.resume()
            instance.attach(patient=self._patient)
            self.measuring.tally.keep(self.root.pins)
        except BaseException:
            if not adopted:
                instance.remove()
            raise
        how = "went on with the running program"
        if not adopted:
            kept = "with a program that was compiled before"
            how = f"compiled in {prepared.seconds:.2f} s" if prepared.seconds else kept
        for note in instance.data.notes:
            self.record(EventKind.ALARM, note)
        text, details = f"started, version {__version__}, {how}", self.judging.started()
        self.record(EventKind.DAEMON, text, outcome="started", details=details)
        self.upkeep.tell()
        self.prober = ProberClient(self.root, self.judging.probed, self.judging.prober_state, self._door)
        self.prober.schedule(instance.targets(), instance.state.config.max_probes)
        heap.trim()
        return True

    async def _serve(self) -> None:
        self._loop.add_reader(self.watch.fileno(), self.watch.read)
        self.server = ControlServer(self.root.control_socket, handlers(self))
        try:
            await self.server.start(self.inherited.descriptor(reexec.CONTROL))
            self.prober.open()
            self._removing = self._removing and self._stop.is_set()
            self.notifier.ready(standing.summary(self))
            self.reloading.release()
            await self.prober.start()
            self.routing.begin()
            self.fleet.begin()
            reexec.answer(self)
            ticking = asyncio.create_task(self._tick())
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait({ticking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if ticking.done():
                ticking.result()
            ticking.cancel()
        finally:
            self.notifier.stopping()
            self.drilling.close()
            await self.server.close()
            self.fleet.close()
            await self.routing.close(forever=self._removing)
            await self.prober.stop()
            await self.telling.stop()
            self._loop.remove_reader(self.watch.fileno())
            self._end()

    def remove(self) -> None:
        """Stop, and leave nothing behind."""
        self._removing = True
        self._stop.set()

    def _end(self) -> None:
        if not self._removing:
            self.keep()
            self.record(EventKind.DAEMON, "ended; the data plane works on for the next daemon")
            self.instance.data.close()
            return
        self.record(EventKind.DAEMON, "stopped")
        self.descriptors.release_all()
        self.instance.remove()
        self.keep()

    async def _tick(self) -> None:
        watchdog, second, alive = self.notifier.watchdog, 0.0, 0.0
        while True:
            now = time.monotonic()
            self.instance.tick()
            for part in (self.routing, self.departing, self.fleet):
                part.look(now)
            if self.prober.behind:
                self.instance.openings.held = now + 2 * TICK
            for service in self.instance.openings.due(now):
                self.plan_soon(service)
            if now >= second:
                second = now + 1
                self._each_second(now)
            elif self.instance.links.waiting:
                self.upkeep.keep()
            if watchdog is not None and now >= alive:
                alive = now + watchdog
                self.notifier.alive()
            await asyncio.sleep(TICK)

    def _each_second(self, now: float) -> None:
        if self.instance.sweep():
            self.plan_soon()
        if self.blocking.look(now):
            self._unsaved = True
            self.plan_soon()
        for service in self.instance.reweigh():
            self.plan_soon(service)
        self.upkeep.look()
        self.judging.look()
        self.measuring.misrouting.look(now)
        self.trials.look()
        self.telling.look(now)
        self.tell_summary()
        self.recorder.alarms(self.instance.alarms())
        self.watch.refresh(now)
        self.recorder.flush_soon()
        if (self._unsaved or self.instance.unsaved) and self.saving.soon(now):
            self._unsaved = False

    def keep(self) -> None:
        """Replace the state file now; an alarm where that fails."""
        try:
            self.instance.save()
        except HostError as error:
            self._not_saved(error)

    def _not_saved(self, error: HostError) -> None:
        self._unsaved = True
        self.record(EventKind.ALARM, str(error))

    def _host_changed(self) -> None:
        self.plan_soon(host=True)
        self.upkeep.keep()

    def plan_soon(self, service: ServiceKey | None = None, *, host: bool = False, unsaved: bool = False) -> None:
        """Plan once for all that happens in this turn of the loop; for one service, what `host` changes, or for all.

        `unsaved`: something has changed that the state file should tell.
        """
        if unsaved:
            self.save_soon()
        if service is None and not host:
            self._dirty = None
        elif service is not None and self._dirty is not None:
            self._dirty.add(service)
        if not self._planned:
            self._planned = True
            self._loop.call_soon(self._plan)

    def save_soon(self) -> None:
        """Have the state file written: something has changed that it should tell."""
        self._unsaved = True

    def _plan(self) -> None:
        dirty, self._dirty = self._dirty, set()
        self._planned = False
        before, numbering = self.instance.current, self.instance.data.numbering()
        try:
            with self.slices:
                made = self.instance.replan(dirty, self.slices.of(len(before.ordered) if before else 0))
        except Vc5Error as error:
            self.record(EventKind.ALARM, f"the tables cannot follow: {error}")
            self._dirty = None
            return
        if before is None or (made.neighbours is not before.neighbours and made.neighbours != before.neighbours):
            self.watch.want(made.wanted, made.neighbours)
        self.routing.planned(made)
        self.fleet.planned(made)
        if before is not None:
            self.recorder.services(before, made)
        if self.instance.data.numbering() != numbering:
            self.prober.schedule(self.instance.targets(), self.instance.state.config.max_probes)
        if made.left:
            self.plan_soon(next(iter(made.left)))
            return
        self.tell_summary()

    def tell_summary(self) -> None:
        """Tell the service manager how things are."""
        self.notifier.status(standing.summary(self))

    def go_on(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done while the loop goes on."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("unexpected, please report it", exc_info=error)
            self.record(EventKind.ALARM, f"unexpected: {type(error).__name__}: {headline(error)}")

    async def reconfigure(self, new: Config) -> Prepared:
        """Put a configuration in force, in larger tables if those there are too full of gaps."""
        shape = self.instance.shape(new)
        for more in (True, True, False):
            prepared = await asyncio.to_thread(self.instance.data.prepare, shape)
            try:
                self.instance.reconfigure(new, prepared)
                break
            except NoRoom:
                if not more:
                    raise
                shape = shape.doubled()
        return prepared

    def watch_for(self, interfaces: tuple[str, ...]) -> None:
        """Watch these interfaces, and what the plan in force needs to have resolved."""
        if interfaces != self.watched:
            former, self.watch = self.watch, HostWatch(interfaces, self._host_changed)  # which may fail
            self.watched = interfaces
            self._loop.remove_reader(former.fileno())
            former.close()
            self._loop.add_reader(self.watch.fileno(), self.watch.read)
            self.plan_soon()
        if self.instance.current is not None:
            self.watch.want(self.instance.current.wanted, self.instance.current.neighbours)

    def changed(self) -> None:
        """An operator changed something: keep it, then act on it."""
        self.instance.save()
        self._dirty = None
        self._plan()
        self.recorder.flush_soon()

    def record(self, kind: EventKind, message: str, **more: Any) -> None:
        """Write down an event for the operator."""
        self.recorder.event(kind, message, **more)
        self.measuring.misrouting.recorded(kind, message, more)


def run(root: Root, file: config.Source, prober_user: str | None = None) -> int:
    """Run the daemon in the foreground; returns its exit status."""
    log_to_stderr()
    heap.grow()
    daemon = Daemon(root, file, receive(os.environ), prober_user)
    with asyncio.Runner(loop_factory=daemon.pulse.loop) as runner:
        return runner.run(daemon.run())
