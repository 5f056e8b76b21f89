"""What is wrong with this host: its kernel, file systems, settings and neighbours in it. Pure; `host_facts` gathers.

What is not known (no permission, no such file) is None or empty, and nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.control.nic import Finding, Severity
from appliance.control.trouble import Lack, Trouble, mend, summarised

OLDEST = (6, 1)
"""The oldest kernel that this is tried with (Debian 12)."""
WANTING = {
    Lack.INTERFACE_DOWN: "an interface is down",
    Lack.NO_NETWORK: "backends are in no network of this host",
    Lack.NO_ADDRESS: "this host has no address to reach backends from",
    Lack.NO_ROUTE: "no route leads to backends of tunnels",
    Lack.MTU: "an MTU is too small for tunnels",
    Lack.NO_IPV6: "this kernel has no IPv6",
    Lack.NO_FORWARDING: "this host does not forward",
    Lack.UNRESOLVED: "neighbours are not resolved",
}
"""Each kind of trouble in a few words."""
_PERSIST = "echo '{setting} = {value}' >> /etc/sysctl.d/vc5.conf"


@dataclass(frozen=True)
class Refusal:
    """Something that the kernel was asked for and did not give."""

    what: str
    why: str


@dataclass(frozen=True)
class HostFacts:
    """The facts. `release` is that of the kernel (`uname -r`)."""

    release: str = ""
    jit: int | None = None
    """net.core.bpf_jit_enable ..."""
    jit_harden: int | None = None
    """... and net.core.bpf_jit_harden."""
    bpffs: bool = True
    """Whether a BPF file system is at /sys/fs/bpf."""
    refused: tuple[Refusal, ...] = ()
    daemon: int = 0
    """The process id of the running daemon, 0 for none ..."""
    lacks: tuple[str, ...] = ()
    """... and the capabilities that it lacks."""
    irqbalance: bool = False
    several_queues: tuple[str, ...] = ()
    """Interfaces with several queues."""
    crowded: tuple[tuple[str, int, int], ...] = ()
    """Interfaces whose interrupts all go to one CPU: name, how many there are, CPU."""
    strict: tuple[str, ...] = ()
    """Interfaces at which answers of backends behind NAT come in, and the host filters by the reverse path strictly."""
    probe_settings: tuple[tuple[str, str, str], ...] = ()
    """Settings in the probe namespace that are not as they were made: setting, value, what it should be."""
    troubles: tuple[Trouble, ...] = ()
    """What the network of this host lacks for the configuration (ways.py)."""


def findings(facts: HostFacts) -> tuple[Finding, ...]:
    """Everything to say of the host, the worst first."""
    found = [*_kernel(facts), *_daemon(facts), *_network(facts), *_interrupts(facts)]
    order = list(Severity)
    return tuple(sorted(found, key=lambda one: order.index(one.severity)))


def version(release: str) -> tuple[int, int] | None:
    """The first two numbers of a kernel's release (`6.1.0-18-amd64`); None where there are none."""
    parts = release.split(".")
    if len(parts) < 2:
        return None
    minor = parts[1].partition("-")[0]
    if not (parts[0].isascii() and parts[0].isdigit() and minor.isascii() and minor.isdigit()):
        return None
    return int(parts[0]), int(minor)


def _kernel(facts: HostFacts) -> Iterator[Finding]:
    kernel = version(facts.release)
    if kernel is not None and kernel < OLDEST:
        yield Finding(
            Severity.WARNING,
            f"the kernel is {facts.release}",
            f"nothing older than Linux {OLDEST[0]}.{OLDEST[1]} is tried; its verifier may refuse the program",
            "apt install linux-image-amd64 (or -arm64) from Debian 12 or later, and reboot",
        )
    if not facts.bpffs:
        yield Finding(
            Severity.PROBLEM,
            "no BPF file system at /sys/fs/bpf",
            "programs and tables are pinned there, so that they outlive the daemon",
            "mount -t bpf bpf /sys/fs/bpf (systemd does so at boot: systemctl status sys-fs-bpf.mount)",
        )
    for refusal in facts.refused:
        yield Finding(
            Severity.PROBLEM,
            f"this kernel gives no {refusal.what}",
            refusal.why,
            "boot a kernel with CONFIG_BPF_SYSCALL, as Debian's; in a container, the host has to allow bpf(2)",
        )
    if facts.jit == 0:
        yield _setting(
            Severity.WARNING,
            "the kernel interprets BPF programs",
            "each packet takes several times as long as compiled",
            "net.core.bpf_jit_enable",
            1,
        )
    if facts.jit_harden == 2:
        yield _setting(
            Severity.NOTE,
            "constants in BPF programs are blinded, those of root as well",
            "it lengthens the program that every packet runs; 1 does it for the unprivileged alone",
            "net.core.bpf_jit_harden",
            1,
        )


def _daemon(facts: HostFacts) -> Iterator[Finding]:
    if facts.lacks:
        yield Finding(
            Severity.PROBLEM,
            f"the daemon lacks {', '.join(facts.lacks)}",
            f"process {facts.daemon} can neither change its program nor attach it",
            f"systemctl edit vc5: AmbientCapabilities={' '.join(facts.lacks)}, in CapabilityBoundingSet= as well; "
            "then systemctl restart vc5",
        )


def _network(facts: HostFacts) -> Iterator[Finding]:
    for first, line in summarised(facts.troubles):
        yield Finding(Severity.PROBLEM, WANTING[first.lack], line, mend(first))
    for setting, value, wanted in facts.probe_settings:
        yield Finding(
            Severity.PROBLEM,
            f"in the namespace of the checks, {setting} is {value}, and not {wanted}",
            "the kernel there drops answers to checks, and backends count as dead",
            "systemctl reload vc5-netns (or vc5 netns up, as root)",
        )
    for name in facts.strict:
        yield _setting(
            Severity.WARNING,
            f"rp_filter is strict at {name}",
            "answers of backends behind NAT that the host forwards are dropped where the way back leads elsewhere",
            f"net.ipv4.conf.{name}.rp_filter",
            2,
            " (and net.ipv4.conf.all.rp_filter not above it: the larger one counts)",
        )


def _interrupts(facts: HostFacts) -> Iterator[Finding]:
    for name, count, cpu in facts.crowded:
        yield Finding(
            Severity.WARNING,
            f"all {count} interrupts of {name} go to CPU {cpu}",
            "one CPU does all the work while the others have none",
            f"for each IRQ in /sys/class/net/{name}/device/msi_irqs: echo CPU > /proc/irq/IRQ/smp_affinity_list",
        )
    if facts.irqbalance and facts.several_queues:
        yield Finding(
            Severity.WARNING,
            "irqbalance is running",
            f"it moves the interrupts of {', '.join(facts.several_queues)} from CPU to CPU under load, and undoes what "
            "was pinned",
            "systemctl disable --now irqbalance; then pin the interrupt of each queue to a CPU of its own",
        )


def _setting(severity: Severity, what: str, why: str, setting: str, value: int, more: str = "") -> Finding:
    kept = _PERSIST.format(setting=setting, value=value)
    return Finding(severity, what, why, f"sysctl -w {setting}={value}{more}; to keep it: {kept}")
