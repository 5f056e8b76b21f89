"""A pool of backends, the daemon, and connections that live through whatever a test does to them.

    with Scenario(Lab(backends=3)) as scenario:
        scenario.add_backend()
        scenario.check("a backend was added")      every connection talks, new ones go where they should
        scenario.finish()                          all say good-bye, sums agree, enough of them had been at stake

A connection may end only if its backend was killed while it lived (`kill`). It is *at stake* once new flows of its slot
went to another backend: then only what the program remembers keeps it whole.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from types import TracebackType
from typing import Any, Self

from appliance.cli.client import call
from appliance.model import ServiceKey
from tests.lab.daemon import PROGRAM, Daemon
from tests.lab.flows import FlowRecord
from tests.lab.namespace import LabError
from tests.lab.topology import Lab
from tests.lab.traffic import FlowReport, LongFlows
from tests.netns.scenario_pool import TCP, Pool
from tests.netns.scenario_slots import Slots

BUSY, IDLE, NEW = 200, 50, 16
"""Connections from the start on, and new ones at each check."""
AT_STAKE = 0.2
"""The share of the first connections that must have been at stake."""
PATIENCE = 10.0
"""Seconds after which a connection that gets no answer is broken: the bound of every stall."""
PAUSE = 0.1
"""Seconds between two looks at hundreds of connections, which cost the machine something."""


class Scenario:
    """One lab, one daemon, and its connections. Closes the lab as well."""

    def __init__(
        self,
        lab: Lab,
        *,
        idle_flows: int = IDLE,
        program: Sequence[str] = PROGRAM,
        environment: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        """Stand up the lab; `settings` are fields of Pool."""
        self.lab = lab.__enter__()
        try:
            self.pool = Pool({backend.address: 1 for backend in lab.backends.values()}, **settings)
            self.daemon = Daemon(
                lab.balancer, lab.root(), self.pool.text(), program=program, environment=dict(environment or {})
            )
        except BaseException:
            lab.close()
            raise
        self.may_end: set[int] = set()
        """The numbers of connections whose backend was killed."""
        self.at_stake: set[int] = set()
        self._idle = idle_flows
        self._frames = lab.balancer_frames()
        self._report: FlowReport

    def __enter__(self) -> Self:
        try:
            self.daemon.start()
            self.wait_available(*self.lab.backends)
            self.flows = LongFlows(self.lab.client, busy=BUSY, idle=self._idle, interval=0.3, patience=PATIENCE)
            self._report = self.flows.opened
            assert [flow for flow in self._report.flows if flow.state != "open"] == []
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flows.close()
        self.close()

    def close(self) -> None:
        """End the daemon and the lab."""
        self.daemon.close()
        self.lab.close()

    # ---- what can be done to it

    def address(self, name: str) -> IPv4Address:
        """Return the address of a backend."""
        return self.lab.backends[name].address

    def configure(self, **settings: Any) -> dict[str, Any]:
        """Change fields of the pool, reload, and return the daemon's answer."""
        self.write(**settings)
        answer: dict[str, Any] = self.ask("reload")
        return answer

    def write(self, **settings: Any) -> None:
        """Change fields of the pool in the configuration file only."""
        self.pool = replace(self.pool, **settings)
        self.daemon.configuration_file.write_text(self.pool.text())

    def weights(self, **changes: int | None) -> dict[IPv4Address, int]:
        """Return the pool's weights with these changes, by name of the backend; None takes it out."""
        new = dict(self.pool.weights)
        for name, weight in changes.items():
            new.pop(self.address(name), None)
            if weight is not None:
                new[self.address(name)] = weight
        return new

    def add_backend(self) -> str:
        """Plug in a backend, configure it, and return its name."""
        name = self.lab.add_backend().name
        self.configure(weights=self.weights(**{name: 1}))
        return name

    def drain(self, name: str, service: ServiceKey = TCP) -> None:
        self.ask("drain", service=str(service), backend=str(self.address(name)))

    def undrain(self, name: str, service: ServiceKey = TCP) -> None:
        self.ask("undrain", service=str(service), backend=str(self.address(name)))

    def expect_end(self, name: str) -> None:
        """From now on the connections that a backend has may end."""
        self.may_end |= {flow.number for flow in self.flows.status().flows if flow.backend == name}

    def kill(self, name: str) -> None:
        """Kill a backend's servers: its connections end, and only those."""
        self.expect_end(name)
        self.lab.backends[name].kill_servers()

    def revive(self, name: str) -> None:
        self.lab.backends[name].start_servers(self.lab.content)
        self.lab.backends[name].wait_ready()

    def leave(self) -> None:
        """Let the daemon end as for a restart: the data plane works on."""
        self.daemon.signal(signal.SIGUSR1)
        self.wait("the daemon to end", lambda: not self.daemon.running)
        assert self.daemon.exit_status == 0

    def ask(self, verb: str, **arguments: Any) -> Any:
        """Ask the daemon over its control socket."""
        return call(self.daemon.places, verb, **arguments)

    # ---- what can be seen of it

    def states(self) -> dict[str, str]:
        """Return the state of each backend of the TCP service, by name."""
        names = {str(backend.address): backend.name for backend in self.lab.backends.values()}
        [service] = [service for service in self.ask("status")["services"] if service["service"] == str(TCP)]
        return {names[backend["address"]]: backend["state"] for backend in service["backends"]}

    def wait_available(self, *names: str) -> None:
        """Wait until exactly these backends are available, and new flows go to them all and to no others."""
        addresses = {self.address(name) for name in names}

        def settled() -> bool:
            found = {name for name, state in self.states().items() if state == "available"}
            if found != set(names):
                return False
            with Slots(self.daemon.places.pins) as slots:
                return slots.owners(TCP) == addresses

        self.wait(f"{', '.join(names)} and no others to be available", settled)

    def wait(self, what: str, look: Callable[[], object], seconds: float = 15.0) -> None:
        """Call `look` until it returns something true. Raises LabError with what the daemon said."""
        deadline = time.monotonic() + seconds
        while not look():
            if time.monotonic() > deadline:
                raise LabError(f"waited {seconds:g} s in vain for {what}\n{self.daemon.errors[-4000:]}")
            time.sleep(PAUSE)

    def note_stakes(self, flows: Sequence[FlowRecord]) -> set[int]:
        """Add the connections whose slot now belongs to another backend to those at stake, and return them."""
        with Slots(self.daemon.places.pins) as slots:
            found = {
                flow.number
                for flow in flows
                if flow.state == "open"
                and flow.backend
                and slots.place(TCP, flow.source, flow.port).now != self.address(flow.backend)
            }
        self.at_stake |= found
        return found

    def tracked(self) -> set[int]:
        """Return the tracked slots of the TCP service."""
        with Slots(self.daemon.places.pins) as slots:
            return slots.tracked(TCP)

    def diverted(self) -> set[int]:
        """Return the slots of living connections that belong to another backend by now."""
        flows = self.flows.status().flows
        moved = self.note_stakes(flows)
        with Slots(self.daemon.places.pins) as slots:
            return {slots.place(TCP, flow.source, flow.port).slot for flow in flows if flow.number in moved}

    def forgotten(self, service: ServiceKey) -> bool:
        """Whether in every slot the former owner is no more the answer for flows that nothing is remembered of."""
        with Slots(self.daemon.places.pins) as slots:
            table = slots.tables.slots(service)
            assert table is not None
            return all(table.slot(number).was == table.slot(number).now for number in table.tracked)

    def ended(self, name: str) -> bool:
        """Whether all busy connections that may end, and were this backend's, have broken."""
        flows = [flow for flow in self._report.flows if flow.backend == name and flow.number in self.may_end]
        return all(flow.state == "broken" for flow in flows if not flow.idle)

    # ---- judging

    def check(self, what: str, *available: str) -> None:
        """Assert that all connections live and talk, and that new ones reach the `available` backends (default: all).

        The daemon must run; what is done to it without one is judged by `talk`.
        """
        names = available or tuple(self.lab.backends)
        self.wait_available(*names)
        self.talk(what)
        known = {flow.number for flow in self._report.flows}
        self._report = self.flows.more(NEW)
        new = [flow for flow in self._report.flows if flow.number not in known]
        assert [flow for flow in new if flow.state != "open"] == [], f"{what}: new connections failed"
        assert {flow.backend for flow in new} <= set(names), f"{what}: new connections reached others"

    def talk(self, what: str) -> None:
        """Assert that every busy connection exchanges two more frames, on all CPUs, and that none is broken."""
        before = {flow.number: flow.frames for flow in self.flows.status().flows}

        def all_spoke() -> bool:
            self._report = self.flows.status()
            assert self.lost() == [], f"{what}: {len(self.lost())} connections broke"
            return all(
                flow.frames >= before[flow.number] + 2
                for flow in self._report.flows
                if not flow.idle and flow.number not in self.may_end
            )

        self.note_stakes(self._report.flows)
        self.wait(f"all connections to talk ({what})", all_spoke, PATIENCE + 5)
        frames = self.lab.balancer_frames()
        on_each = [now - then for now, then in zip(frames, self._frames, strict=True)]
        self._frames = frames
        busiest = sorted(on_each)[-2:]
        assert busiest[0] > sum(on_each) / 10, f"{what}: the frames came on one CPU: {on_each}"

    def look(self) -> int:
        """Return how many connections have broken by now although their backend lives."""
        self._report = self.flows.status()
        return len(self.lost())

    def lost(self) -> list[FlowRecord]:
        """Return the connections that broke although their backend lives."""
        return [flow for flow in self._report.broken if flow.number not in self.may_end]

    def check_explain(self) -> None:
        """Assert that `explain` tells the same as the tables about connections, at stake or not."""
        flows = [flow for flow in self._report.flows if flow.state == "open" and flow.number not in self.may_end]
        with Slots(self.daemon.places.pins) as slots:
            moved = self.note_stakes(flows)
            some = [flow for flow in flows if flow.number in moved][:8]
            some += [flow for flow in flows if flow.number not in moved][:4]
            for flow in some:
                answer = self.ask("explain", flow=f"tcp {flow.source}:{flow.port} {TCP.vip}:{TCP.port}", flags="ACK")
                place = slots.place(TCP, flow.source, flow.port)
                assert (answer["slot"], answer["now"]) == (place.slot, str(place.now)), flow
                assert answer["tracked"] or flow.number not in moved, flow
                assert answer["backend"] == str(self.address(flow.backend)), flow

    def finish(self) -> FlowReport:
        """End all connections well and return the accounts. Asserts that none broke, idle ones included."""
        self._report = self.flows.stop()
        assert self.lost() == []
        first = self._report.flows[: BUSY + self._idle]
        share = len(self.at_stake & {flow.number for flow in first}) / len(first)
        stall = max(flow.longest_stall for flow in self._report.flows if flow.number not in self.may_end)
        print(
            f"{len(self._report.flows)} connections, {share:.0%} of the first at stake, longest stall {stall:.2f} s, "
            f"{len(self.may_end)} on killed backends"
        )
        assert share >= AT_STAKE
        assert all(flow.frames for flow in first if flow.number not in self.may_end)
        return self._report
