"""The data plane of one instance: adopt what runs, make what is missing, bring it to what is desired, swap.

Under the pin directory lie `links/`, one pin for each interface, and `LAYOUT/`, named by the digest of the ABI, with
one directory for each generation (generation.py). A change of the configuration that keeps the shape is `apply`: table
writes. A changed shape is `prepare` (render and compile, slow, touches nothing), then `install`: load beside the
running program, copy what must be copied, update the links, copy what came in between, remove the old.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from appliance.dataplane import carry, footprint, text
from appliance.dataplane.attach import Attachments
from appliance.dataplane.compile import compile_text
from appliance.dataplane.desired import Desired
from appliance.dataplane.enums import State
from appliance.dataplane.former import Former, search
from appliance.dataplane.generation import Generation, remove
from appliance.dataplane.hashchange import NOBODY
from appliance.dataplane.header import layout_digest
from appliance.dataplane.kernel import is_bpffs
from appliance.dataplane.pins import BESIDE, Pins
from appliance.dataplane.shape import Shape, check, power_of_two, shape_for
from appliance.dataplane.tables import Applied, Tables
from appliance.errors import HostError, Vc5Error
from appliance.model import Config, Interface, Service, ServiceKey, XdpMode
from appliance.paths import BPFFS, TEMPLATES

PROBE = "probe-out"
PASS = "probe-in"
"""The links of the probe veth, beside those named after interfaces; an interface name cannot hold so many letters of
these and be configured at the same time (`interfaces` refuses them)."""
MEMORY = Path("/proc/meminfo")
FIRST_TIME = 1 << 17
"""Where the coarse clock begins: 0 means "never" in several fields, and other nodes tell ages of up to 65,535 s."""


@dataclass(frozen=True)
class Prepared:
    """A compiled program for a shape. `seconds` is what compiling took, 0 where it was not needed."""

    shape: Shape
    digest: str
    code: Mapping[str, bytes]
    seconds: float
    child_rss: int


class At(StrEnum):
    """Where a program is: it runs, it only has to be loaded, or it must be compiled first."""

    WORK = "running"
    HAND = "compiled before"
    NOWHERE = "to be compiled"


class DataPlane:
    """Programs, maps and links of one instance."""

    def __init__(self, pins: Path, cache: Path | None, cpus: int, *, pinned: bool = True) -> None:
        """`pins` under bpffs, `cache` a directory for compiled programs, `cpus` the number of possible CPUs.

        What is not `pinned` ends with this process, links included; then `pins` is only a name, and nothing is adopted.
        """
        self._pins = pins
        self._cache = cache
        self._layout = pins / layout_digest()
        self._pinned = pinned
        self.cpus = cpus
        self.attachments = Attachments(pins / "links" if pinned else None)
        self.pins = Pins()
        self.generation: Generation | None = None
        self.tables: Tables | None = None
        self.prepared: Prepared | None = None
        self.notes: list[str] = []
        """What could not be carried over from another version, in sentences."""

    def adopt(self, *, look: bool = False) -> bool:
        """Open what an earlier process left running; returns whether there was something to go on with.

        What is of no use is removed, but by one who only looks. Raises HostError where bpffs is not mounted.
        """
        if not is_bpffs(self._pins.parent):
            raise HostError(
                f"{self._pins.parent} is no BPF file system, so nothing could outlive the daemon; "
                f"run `mount -t bpf bpf {BPFFS}` (systemd does it at boot), and enter namespaces with "
                "`nsenter --net`, not `ip netns exec`"
            )
        self.attachments.adopt(look=look)
        running = self.attachments.program_ids()
        found: list[Generation] = []
        for directory in sorted(self._layout.iterdir(), key=_number) if self._layout.is_dir() else []:
            try:
                found.append(Generation.open(directory, self.cpus))
            except Vc5Error:
                if not look:
                    remove(directory)
        live = next((g for g in reversed(found) if g.main_id() in running), None)
        if live is None and found and not running:
            live = found[-1]
        for generation in found:
            if generation is not live:
                if generation.directory is not None and not look:
                    remove(generation.directory)
                generation.close()
        if live is None:
            live, notes = search(self._pins, (*BESIDE, self._layout.name), running)
            self.notes += notes
        if live is None:
            return False
        self._adopt(live)
        return True

    def _adopt(self, generation: Generation) -> None:
        self.generation = generation
        self.tables = Tables(generation.memory)

    def shape(self) -> Shape | None:
        """The shape of the running program's tables."""
        return self.generation.shape if self.generation else None

    def shape_wanted(
        self,
        config: Config,
        seed: bytes,
        extra: tuple[Service, ...],
        mtu: int = 0,
        *,
        narrow: bool = False,
        fleet: Mapping[ServiceKey, int] = NOBODY,
    ) -> Shape:
        """The shape that a configuration needs after what runs; `extra` are services that only drain.

        `mtu` is the largest of the interfaces; `narrow`: they differ in it. `fleet`: how many slots others have.
        """
        sizes = {service.key: len(service.backends) for service in (*config.services, *extra)}
        sticky = {service.key: service.sticky for service in config.services}
        if self.tables is None:
            return shape_for(config, self.cpus, extra, mtu=mtu, narrow=narrow).grown(self.shape())
        previous = self.tables.needs_previous(seed, sizes, sticky, fleet)
        wanted = shape_for(config, self.cpus, extra, previous=previous, mtu=mtu, narrow=narrow).grown(self.shape())
        slots = self.tables.slots_wanted(sizes, sticky, fleet) * (2 if previous else 1)
        wanted = replace(wanted, slots=power_of_two(slots, wanted.slots))
        check(wanted)
        return wanted

    def prepare(self, shape: Shape) -> Prepared:
        """Render and compile for a shape, or find that there is nothing to do; safe to run in another thread.

        Raises RenderError or CompileError.
        """
        digest = text.digest(shape, TEMPLATES)
        if self.prepared is not None and self.prepared.digest == digest:
            return self.prepared
        code = self._cached(digest)
        if code is not None:
            return Prepared(shape, digest, code, 0.0, 0)
        compiled = compile_text(lambda: text.rendered(shape, TEMPLATES), text.FUNCTIONS)
        self._store(digest, compiled.code)
        return Prepared(shape, digest, compiled.code, compiled.seconds, compiled.child_rss)

    def program_for(self, shape: Shape) -> At:
        """Where the program for a shape is; safe to call in another thread while nothing is prepared."""
        digest = text.digest(shape, TEMPLATES)
        if self.generation is not None and self.generation.digest == digest:
            return At.WORK
        prepared = self.prepared is not None and self.prepared.digest == digest
        return At.HAND if prepared or self._cached(digest) is not None else At.NOWHERE

    def _cached(self, digest: str) -> dict[str, bytes] | None:
        if self._cache is None:
            return None
        try:
            saved = json.loads((self._cache / f"{digest}.json").read_text())
            code = {name: bytes.fromhex(saved[name]) for name in text.FUNCTIONS}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return code

    def _store(self, digest: str, code: Mapping[str, bytes]) -> None:
        """Keep the newest program and the one before, should that have to go on; failing to is no fault."""
        if self._cache is None:
            return
        try:
            self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._cache, delete=False) as file:
                json.dump({name: body.hex() for name, body in code.items()}, file)
            os.replace(file.name, self._cache / f"{digest}.json")
            kept = sorted(self._cache.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
            for other in kept[2:]:
                other.unlink()
        except OSError:
            return

    def install(self, prepared: Prepared) -> bool:
        """Make the prepared program the running one; returns False where it is already.

        On failure the old one runs on, untouched, and nothing is left behind.
        """
        self.prepared = prepared
        old = self.generation
        if old is not None and old.digest == prepared.digest:
            if old.directory is not None:
                old.describe(old.directory)
            # What an adopted program can do does not show in its maps, but equal digests mean equal shapes.
            old.shape = old.memory.shape = prepared.shape
            return False
        new = self._load(prepared)
        held: dict[ServiceKey, list[int]] = {}
        try:
            changed = new.own_arrays(old)
            if "vc5_flows" in changed:
                held = self._hold()
            carried = carry.copy(old.memory, new.memory, changed) if old else None
            if isinstance(old, Former):
                carry.copy_rest(old.memory, new.memory)
            if old is None:
                new.memory.settings.put(0, "time", FIRST_TIME)
            if self._pinned:
                new.pin(self._layout / f"{self._next_number()}-{prepared.digest}")
            self._update_links(old, new)
        except BaseException:
            if new.directory is not None:
                remove(new.directory)
            new.close()
            self._release(held)
            raise
        if old is not None and carried is not None:
            if isinstance(old, Former):
                self.notes += old.read_again()
            carry.follow(old.memory, new.memory, changed, carried)
            if old.directory is not None:
                remove(old.directory)
        self._adopt(new)
        self._release(held)
        if old is not None:
            old.close()
        return True

    def verify(self, prepared: Prepared) -> None:
        """Load a program as `install` would, and let go of it. Raises KernelError, VerifierError or NoRoom."""
        if self.generation is None or self.generation.digest != prepared.digest:
            self._load(prepared).close()

    def _load(self, prepared: Prepared) -> Generation:
        """Load a program beside the running one, with those of its maps that fit."""
        old = self.generation
        shared = dict(old.maps) if old else {}
        if old is not None and _lookup(old.shape) != _lookup(prepared.shape):
            shared = {name: item for name, item in shared.items() if name not in carry.LOOKUP}
        if old is None or old.shape != prepared.shape or isinstance(old, Former):
            reused = None if old is None or isinstance(old, Former) else old.shape
            footprint.require(footprint.needed(prepared.shape, reused), footprint.available(MEMORY.read_text()))
        return Generation.load(prepared.shape, prepared.digest, prepared.code, shared)

    def _hold(self) -> dict[ServiceKey, list[int]]:
        """Hold all tracked slots (slots.py); returns the owners, for `_release`."""
        held = {}
        if self.tables is not None:
            memory = self.tables.memory
            for key in self.tables.tracked():
                slots, entry = self.tables.slots(key), self.tables.entry(key)
                if slots is not None and entry is not None and slots.tracked:
                    held[key] = slots.owners()
                    states = [memory.state(entry.destinations + index) for index in range(entry.capacity)]
                    slots.hold({index for index, state in enumerate(states) if state >= State.DRAINING})
            memory.fence()
        return held

    def _release(self, held: Mapping[ServiceKey, list[int]]) -> None:
        for key, owners in held.items():
            slots = self.tables.slots(key) if self.tables is not None else None
            if slots is not None:
                slots.assign(owners, slots.memory.time)

    def _next_number(self) -> int:
        taken = [_number(entry) for entry in self._layout.iterdir()] if self._layout.is_dir() else []
        return max(taken, default=0) + 1

    def _update_links(self, old: Generation | None, new: Generation) -> None:
        done = []
        try:
            for name, attached in self.attachments.links.items():
                if name != PASS and attached.link.info().ifindex:
                    attached.link.update(new.programs["vc5_probe" if name == PROBE else "vc5_main"])
                    done.append(name)
        except BaseException:
            for name in done if old else []:
                link = self.attachments.links[name].link
                link.update(old.programs["vc5_probe" if name == PROBE else "vc5_main"])  # type: ignore[union-attr]
            raise

    def apply(self, desired: Desired) -> Applied:
        """Bring the tables to what is desired. Raises PlanError, with nothing changed, where a new shape is needed."""
        if self.tables is None:
            raise HostError("no program is loaded")
        return self.tables.apply(desired)

    def numbering(self) -> tuple[int, int]:
        """Changes whenever a backend gets another number, and so another probe address."""
        return (id(self.tables), self.tables.numbered) if self.tables is not None else (0, 0)

    def attach(self, interfaces: list[Interface], mode: XdpMode) -> None:
        """Attach to these interfaces and to no others. Raises KernelError; interfaces done before stay attached."""
        for interface in interfaces:
            self.attach_one(interface, mode)
        self.keep_only({interface.name for interface in interfaces})

    def attach_one(self, interface: Interface, mode: XdpMode) -> XdpMode:
        """Attach to an interface, or put the program into the link that is there; returns the mode that it got.

        Raises KernelError.
        """
        if self.generation is None:
            raise HostError("no program is loaded")
        main = self.generation.programs["vc5_main"]
        return self.attachments.attach(interface.name, interface.index, main, mode).mode

    def keep_only(self, names: set[str]) -> None:
        """Detach from all interfaces but these and the probe veth."""
        for name in [name for name in self.attachments.links if name not in names | {PROBE, PASS}]:
            self.attachments.detach(name)
        self._forget_other_layouts()

    def _forget_other_layouts(self) -> None:
        """Unpin what a version with another ABI has left; nothing runs its programs any more."""
        for entry in self._pins.iterdir() if self._pinned and self._pins.is_dir() else []:
            if entry.name not in (*BESIDE, self._layout.name):
                remove(entry)

    def attach_probe(
        self, host: int, peer: int = 0, inside: Callable[[Callable[[], None]], None] | None = None
    ) -> None:
        """Attach to both ends of the probe veth; `inside` runs a function in the probe namespace, where `peer` is.

        The host end is generic, so that probes can be redirected to any interface; the far end must be native, or
        frames redirected by a native program would not arrive. Without `inside` that is somebody else's
        business (passing.py).
        """
        if self.generation is None:
            raise HostError("no program is loaded")
        programs = self.generation.programs
        self.attachments.attach(PROBE, host, programs["vc5_probe"], XdpMode.GENERIC)
        if inside is None or (
            PASS in self.attachments.links and self.attachments.links[PASS].link.info().ifindex == peer
        ):
            return
        self.attachments.attach(PASS, peer, programs["vc5_pass"], XdpMode.NATIVE, inside)

    def set_time(self, time: int) -> None:
        """Move the coarse clock."""
        if self.generation is not None:
            self.generation.memory.settings.put(0, "time", time)

    def twin(self) -> Generation:
        """A copy of the program for `explain`, which shares all tables that packets do not write."""
        if self.generation is None:
            raise HostError("no program is loaded")
        prepared = self.prepared
        if prepared is None or prepared.digest != self.generation.digest:
            prepared = self.prepare(self.generation.shape)
        return self.generation.twin(prepared.code)

    def close(self) -> None:
        """Let go, and leave everything running."""
        self.attachments.close()
        if self.generation is not None:
            self.generation.close()
        self.generation = self.tables = None

    def remove(self, *, keep_place: bool = False) -> None:
        """Detach and unpin everything; with `keep_place` the directory for pins stays, empty, for who made it."""
        self.attachments.detach_all()
        if self.generation is not None:
            self.generation.close()
        self.generation = self.tables = None
        if self._pinned and keep_place:
            for entry in list(self._pins.iterdir()) if self._pins.is_dir() else []:
                remove(entry)
        elif self._pinned:
            remove(self._pins)


def _lookup(shape: Shape) -> tuple[int, bool]:
    """What the lookup tables depend on."""
    return shape.services, shape.direct


def _number(directory: Path) -> int:
    number = directory.name.partition("-")[0]
    return int(number) if number.isdigit() else 0
