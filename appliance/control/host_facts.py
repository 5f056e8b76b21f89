"""Gathers what `host_faults` judges. Reads, and asks the kernel for small programs and maps that are gone at once."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from appliance.control import forwarding
from appliance.control.host_faults import HostFacts, Refusal
from appliance.control.requirements import ALL_POWERFUL, CAPABILITIES
from appliance.control.ways import Ways
from appliance.dataplane.kernel import Map, Program, is_bpffs
from appliance.dataplane.passing import CODE
from appliance.dataplane.spec import BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, MapKind, MapSpec
from appliance.errors import HostError, KernelError, Vc5Error
from appliance.model import Config, Host
from appliance.net import namespace, netns
from appliance.paths import BPFFS, Root

PROC, NETWORK = Path("/proc"), Path("/sys/class/net")
STRICT = 1
"""rp_filter by RFC 3704: 0 off, 1 strict, 2 loose; the larger of `all` and the interface's own counts."""
SPECS = (
    MapSpec("vc5_try_array", MapKind.ARRAY, 4, 8, 1, BPF_F_MMAPABLE),
    MapSpec("vc5_try_hash", MapKind.HASH, 8, 8, 1),
    MapSpec("vc5_try_lru", MapKind.LRU_HASH, 8, 8, 64),
    MapSpec("vc5_try_progs", MapKind.PROG_ARRAY, 4, 4, 1),
    MapSpec("vc5_try_trie", MapKind.LPM_TRIE, 8, 4, 1, BPF_F_NO_PREALLOC),
)
"""A map of each kind that the data plane has, as small as can be."""

Result = TypeVar("Result")


def gather(config: Config, host: Host, root: Root, queues: Mapping[str, int], daemon: int = 0) -> HostFacts:
    """Return the facts; `queues` are the queues of each interface, `daemon` the process id of a running one."""
    names = [interface.name for interface in host.interfaces if interface.name in config.interfaces]
    return HostFacts(
        release=platform.release(),
        jit=_number(PROC / "sys/net/core/bpf_jit_enable"),
        jit_harden=_number(PROC / "sys/net/core/bpf_jit_harden"),
        bpffs=is_bpffs(BPFFS),
        refused=tuple(refused()),
        daemon=daemon,
        lacks=lacking(_text(PROC / f"{daemon}/status")) if daemon else (),
        irqbalance=runs("irqbalance"),
        several_queues=tuple(name for name in names if queues.get(name, 0) > 1),
        crowded=tuple(found for name in names if (found := _crowded(name))),
        strict=_strict(names) if 4 in forwarding.needed(config.services) else (),
        probe_settings=_probe_settings(root),
        troubles=tuple(Ways(config, host).troubles),
    )


def refused() -> list[Refusal]:
    """What the kernel does not give to a caller that may ask for it; nothing where the caller may not."""
    if lacking(_text(PROC / "self/status")):
        return []
    found = []
    for spec in SPECS:
        found += _tried(f"BPF map of kind {spec.kind.name.lower()}", lambda: Map.create(spec).close())  # noqa: B023
    return found + _tried("XDP program", lambda: Program.load("vc5_try", CODE).close())


def _tried(what: str, attempt: Callable[[], None]) -> list[Refusal]:
    try:
        attempt()
    except (KernelError, Vc5Error) as error:
        return [Refusal(what, str(error))]
    return []


def lacking(status: str) -> tuple[str, ...]:
    """The capabilities that a process lacks, from the text of its /proc/PID/status; none where that is empty."""
    line = next((line for line in status.splitlines() if line.startswith("CapEff:")), "")
    if not line:
        return ()
    have = int(line.split()[1], 16)
    powerful = have >> ALL_POWERFUL & 1
    return tuple(name for bit, name in CAPABILITIES.items() if not have >> bit & 1 and (bit == 12 or not powerful))


def runs(name: str) -> bool:
    """Whether a process of this name runs, on this host as it is seen from here."""
    return any(_text(entry / "comm") == name for entry in _entries(PROC) if entry.name.isdigit())


def _strict(names: Iterable[str]) -> tuple[str, ...]:
    settings = PROC / "sys/net/ipv4/conf"
    everywhere = _number(settings / "all/rp_filter") or 0
    return tuple(name for name in names if max(everywhere, _number(settings / name / "rp_filter") or 0) == STRICT)


def _probe_settings(root: Root) -> tuple[tuple[str, str, str], ...]:
    """What is not as `namespace` makes it; entering needs root."""
    if os.geteuid() != 0 or not netns.exists(root.namespace):
        return ()
    try:
        return tuple(namespace.run_in_namespace(root, lambda: namespace.deviations(root)))
    except HostError:
        return ()  # it was taken away meanwhile


def _crowded(name: str) -> tuple[str, int, int] | None:
    """The interface whose interrupts, if there are several, all go to the same CPU of several."""
    try:
        # /sys shows the interfaces of the namespace that it was mounted in, which need not be ours.
        if _number(NETWORK / name / "ifindex") != socket.if_nametoindex(name):
            return None
    except OSError:
        return None
    found = [
        _text(PROC / f"irq/{entry.name}/effective_affinity_list")
        for entry in _entries(NETWORK / name / "device/msi_irqs")
    ]
    cpus = {text for text in found if text}
    if len(found) < 3 or len(cpus) != 1 or (os.cpu_count() or 1) < 2:
        return None
    [cpu] = cpus
    return (name, len(found), int(cpu)) if cpu.isascii() and cpu.isdigit() else None


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isascii() and text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
