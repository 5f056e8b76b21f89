"""The loaded program and its model side by side: the same changes, the same frames, and nothing may differ."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache

from appliance.dataplane.abi import LEGS
from appliance.dataplane.aside import DROPPED, DROPS_CLOSED
from appliance.dataplane.compile import Compiled, compile_text
from appliance.dataplane.desired import Desired
from appliance.dataplane.enums import Reason
from appliance.dataplane.generation import Generation
from appliance.dataplane.hashing import mapped
from appliance.dataplane.memory import Memory
from appliance.dataplane.model import AnswerKey, Exit, Model
from appliance.dataplane.model.nat import Routes, nowhere
from appliance.dataplane.newsring import NewsRing
from appliance.dataplane.render import FUNCTIONS, render
from appliance.dataplane.shape import Shape
from appliance.dataplane.tables import Tables
from appliance.dataplane.text import digest
from appliance.model import Mode
from appliance.paths import TEMPLATES
from tests.dataplane.routed import routed

REASON_BYTES = 4096
"""Distance of the CPUs' rows of reasons."""
LOOPBACK = 1
"""Where test runs arrive, and what every door leads to: a test run does not go through it."""
WATCHED = ("vc5_reasons", "vc5_counters", "vc5_flows", "vc5_owners")
"""What is compared after every frame; all the rest after every burst."""
DECISIONS = tuple(reason for reason in Reason if reason >= Reason.TRACKED_HIT)


class Difference(AssertionError):
    """Program and model disagree."""


def shape(
    *,
    resets: bool,
    small: bool = False,
    sets: int = 4,
    mode: Mode = Mode.SIMPLE,
    ipv6: bool = False,
    mixed: bool = False,
    narrow: bool = False,
    ddos: bool = False,
    tunnels: tuple[str, ...] = (),
    nat: bool = False,
    tracks_all: bool = True,
    fleet: bool = False,
) -> Shape:
    """A small program, so that sets of the flow table fill up and whole memories are compared quickly.

    `small` chooses what small sites get: lookup tables without displacements, slots of one byte.
    """
    return Shape(
        cpus=2,
        services=128,
        destinations=512,
        slots=1 << 15,
        sets=sets,
        resets=resets,
        direct=small,
        wide=not small,
        previous=not small,
        mode=mode,
        ipv6=ipv6,
        mixed=mixed,
        narrow=narrow,
        fragment_sets=2,
        counts_sources=ddos,
        blocks=ddos,
        tunnels=tunnels,
        nat=nat,
        tracks_all=tracks_all,
        fleet=fleet,
    )


_AHEAD = ThreadPoolExecutor(1, "compile")
_PENDING: dict[str, Future[Compiled]] = {}


def compile_ahead(text: str) -> None:
    """Begin to compile what will be wanted next, on another CPU."""
    if text not in _PENDING:
        _PENDING[text] = _AHEAD.submit(compile_text, text, FUNCTIONS)


@cache
def compiled(text: str) -> Compiled:
    """The code of a program text; each text is compiled once."""
    pending = _PENDING.pop(text, None)
    return pending.result() if pending else compile_text(text, FUNCTIONS)


@cache
def text_of(what: Shape) -> str:
    """The program text of a shape."""
    return render(what, TEMPLATES)


@dataclass
class Mix:
    """What kinds of frames have been judged."""

    frames: int = 0
    tracked: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)

    @property
    def rewritten(self) -> int:
        """How many frames were sent on to a backend, or from one back to its client."""
        return self.reasons[Reason.FORWARD] + self.reasons[Reason.RETURN]


class Pair:
    """A loaded program with its tables, and the model with equal tables."""

    def __init__(self, generation: Generation, cpu: int, routes: Routes = nowhere) -> None:
        self.generation = generation
        self.routes = routes
        self.cpu = cpu & (generation.shape.cpus - 1)
        self.main = generation.programs["vc5_main"]
        self.prober = generation.programs["vc5_probe"]
        self.answers = generation.maps["vc5_answers"]
        self.ring = NewsRing(generation.maps["vc5_news"])
        self.told = 0
        """How many news have been compared."""
        self.reads = True
        """Whether the daemon takes the news; while it does not, the ring fills up."""
        self.mix = Mix()
        self.clear()

    def clear(self) -> None:
        """Begin again with empty tables on both sides."""
        self.real = self.generation.memory
        for view in self.real.raw.values():
            view[:] = bytes(len(view))
        for key in list(self.answers.keys()):
            self.answers.delete(key)
        for key in list(self.real.blocked):
            self.real.blocked.discard(key)
        self.real.returns.clear()
        self.real.outlets.clear()
        while self.ring.take(1000):
            pass
        self.plain = Memory.plain(self.generation.shape)
        self.model = Model(self.plain, self.routes)
        self.tables = (Tables(self.real), Tables(self.plain))
        self.story: list[str] = []

    def both(self, what: str, change: Callable[[Memory], object]) -> None:
        """Do the same to both memories."""
        self.story.append(what)
        for memory in (self.real, self.plain):
            change(memory)

    def apply(self, what: str, desired: Desired) -> None:
        """Put the same desired state into both tables."""
        self.story.append(what)
        for tables in self.tables:
            tables.apply(desired)

    def sweep(self, desired: Desired) -> None:
        """Settle what may be settled, in both tables."""
        self.story.append("sweep")
        for tables in self.tables:
            tables.sweep(desired.services)

    def at(self, time: int) -> None:
        """Set the coarse clock."""
        self.both(f"time {time}", lambda memory: memory.settings.put(0, "time", time))

    def send(self, frame: bytes, *, probe: bool = False) -> Exit:
        """Judge a frame twice. Raises Difference where verdict, reason, bytes, counters or flows differ."""
        slot = None if probe else self.model.slot(frame)
        tracked = slot is not None and bool(self.plain.slots[slot] & self.plain.tracked)
        decided = self._decisions()
        expected = (self.model.probe if probe else self.model.receive)(frame, self.cpu)
        found = (self.prober if probe else self.main).test_run(frame)
        way = "probe" if probe else "frame"
        if found.verdict.name != expected.action.name:
            self._differ(f"{found.verdict.name} instead of {expected.action.name}", way, frame, expected)
        if found.frame != expected.frame:
            self._differ(f"the frame left as {found.frame.hex()}", way, frame, expected)
        for name in WATCHED:
            if (where := self._difference(name)) is not None:
                self._differ(where, way, frame, expected)
        if self.reads and (where := self.news_differ()):
            self._differ(where, way, frame, expected)
        self.mix.frames += 1
        self.mix.tracked += tracked and expected.destination > 0
        self.mix.reasons.update({expected.reason: 1, **(self._decisions() - decided)})
        return expected

    def news_differ(self) -> str:
        """Take the news of both sides; says where they differ."""
        found, expected = self.ring.take(1 << 20), list(self.model.news)
        self.model.news.clear()
        self.told += len(expected)
        return "" if found == expected else f"{found} is told instead of {expected}"

    def compare(self) -> None:
        """Hold every table of one side against the other's. Raises Difference."""
        for name in self.plain.raw:
            if (where := self._difference(name)) is not None:
                raise Difference(self._tell(where))
        if set(self.real.blocked) != set(self.plain.blocked):
            raise Difference(self._tell("other prefixes are blocked"))
        for name, one, other in (
            ("returns", self.real.returns, self.plain.returns),
            ("outlets", self.real.outlets, self.plain.outlets),
        ):
            if dict(one) != dict(other):
                raise Difference(self._tell(f"{name}: {dict(one)} instead of {dict(other)}"))
        keys = list(self.answers.keys())
        kept = {key: int.from_bytes(self.answers.lookup(key) or b"", sys.byteorder) for key in keys}
        expected = {_key_bytes(key): number for key, number in self.model.answers.items()}
        if kept != expected:
            raise Difference(self._tell(f"answers: {kept} instead of {expected}"))

    def _decisions(self) -> Counter[Reason]:
        """How often each decision about tracked slots has been counted."""
        row = self.plain.reasons[self.cpu * REASON_BYTES // 8 :][: max(Reason) + 1].tolist()
        return Counter({reason: row[reason] for reason in DECISIONS})

    def _difference(self, name: str) -> str | None:
        plain = self.plain.raw[name]
        one, other = bytearray(self.real.raw[name][: len(plain)]), bytearray(plain)
        if name == "vc5_drops":
            for at in range(DROPPED.offsets["at"], len(one), DROPPED.size):
                one[at : at + 8] = bytes(8)  # the model has no clock
        if one == other:
            return None
        at = next(at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b) & ~7
        words = f"{one[at : at + 8].hex()} instead of {other[at : at + 8].hex()}"
        if name == "vc5_reasons":
            place = at % REASON_BYTES // 8
            return f"{Reason(place % DROPS_CLOSED)!s}{' written down' * (place >= DROPS_CLOSED)}: {words}"
        return f"{name} at byte {at}: {words}"

    def _differ(self, where: str, way: str, frame: bytes, expected: Exit) -> None:
        text = f"{way} {frame.hex()}\nexpected {expected.action.name} for {expected.reason}"
        raise Difference(self._tell(f"{where}\n{text}, destination {expected.destination}: {expected.frame.hex()}"))

    def _tell(self, where: str) -> str:
        return f"the program differs from the model: {where}\nafter: {'; '.join(self.story)}"


def _key_bytes(key: AnswerKey) -> bytes:
    ports = key.vip_port.to_bytes(2, "big") + key.own_port.to_bytes(2, "big")
    return mapped(key.vip) + ports + key.protocol.to_bytes(4, sys.byteorder)


@contextmanager
def one_cpu() -> Iterator[int]:
    """Keep this thread on one CPU, so that its row of the counters is known."""
    before = os.sched_getaffinity(0)
    cpu = min(before)
    os.sched_setaffinity(0, {cpu})
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def loaded(what: Shape, text: str | None = None) -> Iterator[Pair]:
    """A pair of this shape; with another text than the shape's own, a program that may be wrong."""
    text = text_of(what) if text is None else text
    code = compiled(text).code
    with one_cpu() as cpu, routed() if what.nat else nullcontext(nowhere) as routes:
        generation = Generation.load(what, digest(what, TEMPLATES), code)
        try:
            for leg in range(1, LEGS):
                generation.memory.door(leg, LOOPBACK)
            pair = Pair(generation, cpu, routes)
            try:
                yield pair
            finally:
                pair.ring.close()
        finally:
            generation.close()
