"""`vc5 explain`: what the program does with one packet, told by the program itself.

With a configuration file it needs no daemon: it fills a program of its own from the configuration and a description of
a host. Without, the running daemon lets a twin of its program work on copies of all that packets write.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance import config
from appliance.control.described import parsed, read_host
from appliance.control.state import State
from appliance.control.story import story
from appliance.control.workbench import Workbench
from appliance.dataplane.abi import ASK_PREVIOUS, COUNTER, INDEX_LIMIT, WAY_INDEX_SHIFT, WAY_TAG_SHIFT, WAYS
from appliance.dataplane.enums import Reason
from appliance.dataplane.frame import Flow, build, destination_of, flags, flow_of, source_of, vlan_of
from appliance.dataplane.generation import Generation
from appliance.dataplane.hashing import flow_hash, flow_name, slot_of
from appliance.dataplane.memory import Memory
from appliance.dataplane.shape import Shape
from appliance.dataplane.tables import Tables
from appliance.dataplane.tunnels import leg_of
from appliance.errors import EXIT_OK, ControlError
from appliance.model import Config, Health, Interface, Mode, Service, ServiceKey
from appliance.paths import Root

if TYPE_CHECKING:
    from appliance.control.daemon import Daemon

ROUTER = bytes.fromhex("020000000001")
"""The source MAC of frames made from --flow."""
LARGEST = 3400
"""The longest frame that a test run takes, bytes: one page less head and tail room."""
OTHERS = 6
"""How many services of a VIP are named where none of them is meant."""
VERDICTS = {0: "aborted", 1: "drop", 2: "pass", 3: "tx", 4: "redirect"}


def main(root: Root, arguments: Namespace) -> int:
    """`vc5 explain`, both ways."""
    if not arguments.config:
        return _ask(root, arguments)
    loaded = config.load(Path(arguments.config))
    host = read_host(Path(arguments.host), loaded.config) if arguments.host else None
    from appliance.cli.progress import progress

    with ExitStack() as stack:
        with progress("compiling the program of this configuration"):
            bench = stack.enter_context(Workbench(loaded.config, host))
        if arguments.steps:
            for number, step in _steps(Path(arguments.steps)):
                try:
                    print(json.dumps(_step(bench, step)), flush=True)
                except (ValueError, ControlError) as error:
                    raise ControlError(f"{arguments.steps}: line {number}: {error}") from None
            return EXIT_OK
        given = {"frame": arguments.frame, "flow": arguments.flow, "flags": arguments.flags}
        answer = _packet(bench, given | {"interface": arguments.interface})
    _show(answer, arguments.json)
    return EXIT_OK


def _ask(root: Root, arguments: Namespace) -> int:
    from appliance.cli.client import call

    if arguments.steps:
        raise ControlError("--steps needs --config: the running daemon's state is not to be played with")
    names = ("frame", "flow", "flags", "interface")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name)}
    _show(call(root, "explain", **given), arguments.json)
    return EXIT_OK


def _show(answer: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer))
    else:
        from appliance.cli.tables import fold, printable, screen

        to = screen()
        print("\n".join(part for line in story(answer) for part in fold(printable(line), to, " " * 10)))


def _steps(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each line and the step on it."""
    try:
        lines = (sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()).splitlines()
    except OSError as error:
        raise ControlError(f"{path}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            step = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ControlError(f"{path}: line {number}: is not JSON: {error}") from None
        if not isinstance(step, dict):
            raise ControlError(f"{path}: line {number}: a step is a JSON object")
        yield number, step


def _step(bench: Workbench, step: Mapping[str, Any]) -> dict[str, Any]:
    if "frame" in step or "flow" in step:
        return _packet(bench, step)
    changed: Mapping[ServiceKey, int] = {}
    if "health" in step:
        changed = bench.set_health(step["health"])
    elif "weight" in step:
        changed = bench.set_weight(step["weight"])
    elif "config" in step:
        changed = bench.set_config(config.load(parsed(Path, step["config"], "config")).config)
    elif "advance" in step:
        bench.advance(_seconds(step["advance"]))
    else:
        raise ValueError(
            f"a step has frame, flow, health, weight, config or advance, not {', '.join(step) or 'nothing'}"
        )
    tracked = bench.tables.tracked()
    return {
        "changed_slots": {str(key): changed.get(key, 0) for key in sorted(tracked)},
        "tracked_slots": {str(key): tracked[key] for key in sorted(tracked)},
    }


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("advance: must be a number of seconds")
    return value


def _packet(bench: Workbench, given: Mapping[str, Any]) -> dict[str, Any]:
    interface = _interface(bench.host.interfaces, given.get("interface"))
    frame = _frame(given, interface, bench.state.config)
    answer = examine(bench.generation, bench.tables, frame, interface, bench.services(), bench.host.interfaces)
    return answer | _blocked(answer, frame, bench.state)


def explain_live(daemon: Daemon, given: Mapping[str, Any]) -> dict[str, Any]:
    """Answer for the running daemon, touching nothing of it."""
    data, watch = daemon.instance.data, daemon.watch.snapshot()
    interface = _interface(watch.interfaces, given.get("interface"))
    frame = _frame(given, interface, daemon.instance.state.config)
    if data.tables is None or data.generation is None:
        raise ControlError("the daemon is still starting")
    twin = data.twin()
    try:
        flow = _steered(frame, data.generation.shape)
        if flow is not None:
            _lend(data.generation.memory, twin.memory, flow)
        state = daemon.instance.state
        answer = examine(twin, Tables(twin.memory), frame, interface, state.services(), watch.interfaces)
        return answer | _blocked(answer, frame, state) | _kept(answer, daemon)
    finally:
        twin.close()


def _kept(answer: Mapping[str, Any], daemon: Daemon) -> dict[str, Any]:
    """Why the backend is not treated as its checks say; nothing where it is."""
    if not answer["service"] or not answer["backend"]:
        return {}
    pair = ServiceKey.parse(answer["service"]), ip_address(answer["backend"])
    found = daemon.instance.found(*pair)
    kept = daemon.instance.governor.kept_for(*pair, found)
    return (
        {"kept": f"{found} by its checks, yet {'taken out' if found is Health.UP else 'kept'}: {kept}"} if kept else {}
    )


def _lend(live: Memory, twin: Memory, flow: Flow) -> None:
    """Give the twin the histories, and the set of the flow table that this flow is in."""
    twin.raw["vc5_histories"][:] = live.raw["vc5_histories"]
    number, _ = flow_name(_hash(live, flow), live.shape.sets)
    twin.flows[number * WAYS : (number + 1) * WAYS] = live.flows[number * WAYS : (number + 1) * WAYS]


def _hash(memory: Memory, flow: Flow, *, sticky: bool = False) -> int:
    """The hash that a flow is remembered by; that of its slot where the service is sticky."""
    k = memory.coefficients()
    return flow_hash(k, flow.source, flow.source_port, flow.vip, flow.vip_port, int(flow.protocol), sticky=sticky)


def _interface(found: tuple[Interface, ...], name: object) -> Interface:
    by_name = {interface.name: interface for interface in found}
    if name is None and found:
        return found[0]
    if name is None:
        return Interface("lo", 1, bytes(6))
    if not isinstance(name, str) or name not in by_name:
        raise ControlError(f"no interface {name}; there is {', '.join(by_name) or 'none'}")
    return by_name[name]


def _frame(given: Mapping[str, Any], interface: Interface, in_force: Config) -> bytes:
    """The frame that is given, or one of the flow: tagged with the first VLAN where all frames are."""
    try:
        if given.get("frame"):
            frame = _octets(given["frame"])
        else:
            wanted = flags(str(given.get("flags") or "SYN"))
            flow = Flow.parse(str(given.get("flow")))
            tagged = in_force.mode is Mode.VLAN and not in_force.mixed_tags and in_force.vlans
            vlan = in_force.vlans[0].id if tagged else None
            frame = build(flow, destination=interface.mac, source=ROUTER, tcp_flags=wanted, vlan=vlan)
    except ValueError as error:
        raise ControlError(str(error)) from None
    if not 14 <= len(frame) <= LARGEST:
        raise ControlError(f"a frame of {len(frame)} bytes cannot be explained; it must have 14 to {LARGEST}")
    return frame


def _octets(digits: Any) -> bytes:
    try:
        return bytes.fromhex(str(digits).replace(":", ""))
    except ValueError:
        raise ValueError(f"frame: {str(digits)[:60]!r} is not hexadecimal digits") from None


def examine(
    generation: Generation,
    tables: Tables,
    frame: bytes,
    interface: Interface,
    services: tuple[Service, ...],
    interfaces: tuple[Interface, ...],
) -> dict[str, Any]:
    """Run the program on a frame, and read from the counters what it did."""
    memory = generation.memory
    before, reasons = bytes(memory.raw["vc5_counters"]), {reason: memory.reason(reason) for reason in Reason}
    run = generation.programs["vc5_main"].test_run(frame)
    number = _touched(before, bytes(memory.raw["vc5_counters"]), memory.shape.destinations)
    counted = [reason for reason in Reason if memory.reason(reason) != reasons[reason]]
    exits = [reason for reason in counted if reason < Reason.TRACKED_HIT]
    flow = _steered(frame, memory.shape)
    key = None
    if flow is not None and any(s.key == ServiceKey(flow.vip, flow.vip_port, flow.protocol) for s in services):
        key = ServiceKey(flow.vip, flow.vip_port, flow.protocol)
    verdict = VERDICTS.get(int(run.verdict), "aborted")
    leaves = _leaves(memory, number, interfaces) if verdict == "redirect" else interface.name
    if memory.shape.mixed and verdict == "redirect" and leaves == interface.name:
        # A test run comes from no interface, so the program cannot see that the packet leaves where it came.
        verdict = "tx"
    answer: dict[str, Any] = {
        "verdict": verdict,
        "reason": str(exits[0] if exits else Reason.FORWARD),
        "service": str(key) if key else None,
        "backend": str(memory.backend(number)) if number and memory.identities.get(number, "used") else None,
        "slot": None,
        "tracked": None,
        "now": None,
        "was": None,
        "remembered": None,
        "interface": leaves if verdict in ("tx", "redirect") else None,
        "vlan": vlan_of(run.frame) if verdict in ("tx", "redirect") else None,
        "frame": run.frame.hex(),
        "ns": run.ns,
        "input": frame.hex(),
        "arrives": interface.name,
        "decisions": [str(reason) for reason in counted if reason >= Reason.TRACKED_HIT],
        "standing": memory.state(number).name.lower() if number else None,
        **_around(frame, key, services),
    }
    table, entry = (tables.slots(key), tables.entry(key)) if key else (None, None)
    if key is not None and flow is not None and table is not None and entry is not None:
        hashed = _hash(memory, flow, sticky=entry.sticky)
        slot = slot_of(hashed, entry.slot_count)
        found = table.slot(slot)
        answer |= {
            "slot": slot,
            "slots": entry.slot_count,
            "remembers_all": entry.remember_all,
            "states": Counter(memory.state(n).name.lower() for n in tables.numbers(key).values()),
            "tracked": found.tracked,
            "now": _backend(memory, entry.destinations, found.now),
            "was": _backend(memory, entry.destinations, found.was) if found.was != ASK_PREVIOUS else None,
            "remembered": _remembered(memory, entry.destinations, _hash(memory, flow)),
        }
    return answer


def _around(frame: bytes, key: ServiceKey | None, services: tuple[Service, ...]) -> dict[str, Any]:
    """What the service is called; or which ones the packet's VIP has, where none of them is meant."""
    if key is not None:
        return {"name": next(service.name for service in services if service.key == key)}
    wanted = destination_of(frame)
    others = [str(service.key) for service in services if service.key.vip == wanted]
    return {"of_vip": others[:OTHERS], "of_vip_more": max(0, len(others) - OTHERS)} if others else {}


def _blocked(answer: Mapping[str, Any], frame: bytes, state: State) -> dict[str, Any]:
    """Who blocks the packet's source, where that is the reason."""
    source = source_of(frame) if answer["reason"] == str(Reason.BLOCKED) else None
    return {"blocked": state.blocks.explained(state.config.block, source) if source else None}


def _touched(before: bytes, after: bytes, destinations: int) -> int:
    """The destination whose counter differs; 0 for none."""
    if before == after:
        return 0
    low, high = 0, len(before) // COUNTER.size
    while high - low > 1:
        middle = (low + high) // 2
        part = slice(low * COUNTER.size, middle * COUNTER.size)
        if before[part] != after[part]:
            high = middle
        else:
            low = middle
    return low % destinations


def _backend(memory: Memory, base: int, index: int) -> str | None:
    return str(memory.backend(base + index)) if index else None


def _remembered(memory: Memory, base: int, hashed: int) -> str | None:
    number, tag = flow_name(hashed, memory.shape.sets)
    for way in memory.flows[number * WAYS : (number + 1) * WAYS]:
        if way and way >> WAY_TAG_SHIFT == tag:
            return _backend(memory, base, (way >> WAY_INDEX_SHIFT) % INDEX_LIMIT)
    return None


def _steered(frame: bytes, shape: Shape) -> Flow | None:
    """The flow of a frame that the program looks into."""
    tagged = vlan_of(frame) is not None
    ours = shape.tagged if tagged else not shape.tagged or shape.mixed
    return flow_of(frame) if ours else None


def _leaves(memory: Memory, number: int, interfaces: tuple[Interface, ...]) -> str | None:
    """The interface that a redirected frame leaves by: that of the destination's leg, else towards the prober."""
    index = (
        memory.legs.get(leg_of(memory, number), "interface") if number else memory.settings.get(0, "probe_interface")
    )
    return next((found.name for found in interfaces if found.index == index), None)
