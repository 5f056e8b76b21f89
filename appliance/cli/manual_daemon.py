"""vc5(8), the manual page of the daemon: what it consists of, how it is started, asked, changed, replaced and ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from appliance.cli.arguments import EXITS, ROOT
from appliance.config.roff import heading, item, page, paragraph, part, prose
from appliance.errors import EXIT_CONFIG, EXIT_USAGE
from appliance.paths import Root

DESCRIPTION = (
    """`vc5 run` is a layer-4 load balancer: it compiles an XDP program for its configuration, vc5.yaml(5),
    and puts it on the interfaces, checks every backend through the VIP, keeps the tables of the program right,
    tells routers which VIPs are up, and writes down every probe. Packets are forwarded by the program in the
    kernel, which goes on while no daemon runs. The commands that look at it and change it are in vc5(1).""",
    """The daemon consists of several processes: one that decides, a prober in a network namespace of its own,
    which alone reads what backends answer, one without any privilege for the log, alerts and metrics, one for BFD
    while a router is configured with it, and for a moment one that compiles.""",
)
UNITS = {
    "vc5.service": """The daemon, as user `vc5`. `systemctl reload vc5` is `vc5 reload`: it fails where that
    is refused. Started again when it ends unasked; the program forwards meanwhile.""",
    "vc5-netns.service": """Makes the probe namespace and the place for pins, with rights, and ends (`vc5
    netns`). `systemctl reload vc5-netns` repairs them.""",
    "vc5-prober.service": "The prober, as user `vc5-prober`. While it is gone, the last verdicts stand.",
    "vc5-bfd.socket": "On which systemd listens for the daemon, once a router is configured with BFD.",
    "vc5-bfd.service": """The process for BFD, as user `vc5-bfd`. It outlives the daemon by the time for which
    a router keeps the routes.""",
}
"""What systemd runs; the files are in packaging/systemd."""
SIGNALS = {
    "SIGHUP": "Reload; the outcome is in the log and in `systemctl status`.",
    "SIGTERM, SIGINT": "Stop: tell the routers, detach, unpin, remove the probe namespace.",
    "SIGUSR1": "Leave: the daemon ends, the data plane works on, the next `vc5 run` adopts it.",
}
"""What they do to `vc5 run`."""
FILES = {
    "config": "The configuration, vc5.yaml(5).",
    "config_dir": "Its `*.yaml` add to the configuration.",
    "state": "What outlives a reboot.",
    "seed_file": "The hash seed, where the configuration has none.",
    "state_file": "What operators said, and what drains.",
    "trial_file": "A configuration that waits for `vc5 confirm`, with the one before.",
    "log": "Probe results and events, for `vc5 log`.",
    "run": "What does not outlive a reboot.",
    "control_socket": "Where the commands talk to the daemon.",
    "prober_socket": "Where the daemon talks to its prober.",
    "bfd_socket": "Where the daemon talks to its process for BFD, which outlives it.",
    "lock": "Held by the daemon.",
    "pins": "The program and the tables of the data plane.",
}
"""The places of an instance by their names in `paths.Root`."""


STARTING = (
    """A start waits for the interfaces under systemd, and `systemctl status vc5` says for what. VIPs are
    announced when `learn` is over and they have been up for `hold_down`. In a terminal, a start is refused where
    none of the interfaces exists.""",
    f"""Exit status {EXIT_USAGE} and {EXIT_CONFIG} mean that trying again would not help, and systemd does
    not: the command line is wrong, or the configuration is refused.""",
)
CHANGING = (
    """`vc5 plan` tells what a reload would do; `vc5 reload --confirm 60` goes back unless `vc5 confirm` comes
    in time. A reload that is refused changes nothing. What operators say of backends (`vc5 drain`, `disable`,
    `weight`) stands above the file, over reloads and restarts, until it is taken back: `vc5 overrides` lists it.""",
    """To take the whole node out of service: `vc5 drain --all`, which shows how the traffic ebbs until the program
    is detached, then `systemctl stop vc5`; afterwards `vc5 undrain --all`. With `leave` in the configuration a stop
    waits for the traffic itself.""",
)
UPGRADING = (
    """An upgrade of the package has the running daemon become the new version (`vc5 reexec`): that is tried
    out beside it first, and where it cannot take over, the old one goes on and says why. Program, tables and
    connections stay. `systemctl restart vc5` is stop and start, and not needed for it.""",
    """Whoever wants the daemon replaced without an upgrade sends SIGUSR1 to its main process: it leaves, the
    data plane works on, and the next one adopts it.""",
)
SAFETY = {
    "Connections": """None breaks when a backend is added, drained, removed or weighted anew, on a reload, a
    restart of the daemon, or its sudden end. `systemctl stop vc5` ends the forwarding, as asked.""",
    "Health": """Where the prober is gone, is itself broken, or an operator says so (`vc5 health freeze`), the
    last verdicts stand. `max_removal` bounds what health may take out, most nodes of a fleet can outvote one
    (`fleet.quorum`), and `on_isolation` says what becomes of routes where the node itself seems cut off.""",
    "Rights": """Nothing that stays runs as root. The daemon holds CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and
    CAP_NET_BIND_SERVICE for `listen`; the prober CAP_NET_RAW in its namespace; the others none.""",
    "Who may change things": """Whoever can write to the control socket: root, and the group `vc5`. Console,
    API and metrics, at the address of `webserver`, only show.""",
    "Secrets": """Passwords and URLs of webhooks are masked wherever the configuration is shown. A
    configuration that has some belongs to root:vc5 with mode 0640.""",
    "Evidence": """`vc5 log` has every probe and event, also of a daemon that is gone; `vc5 explain` runs the
    loaded program on a packet, and changes nothing by it; `vc5 doctor` says what speaks against XDP on the
    interfaces.""",
}


def daemon_page(root: Root, version: str, date: str) -> str:
    """Return vc5(8) in roff, with the places of this root; `date` as 2025-06-01."""
    lines = heading("vc5", 8, date, f"vc5 {version}", "Layer-4 load balancer")
    lines += [*part("NAME"), *prose("vc5 - the daemon of a layer-4 load balancer, and how it is operated")]
    lines += [*part("SYNOPSIS"), *prose("`vc5 run` [`--config` F] [`--prober-user` USER]"), ".br"]
    lines += prose("`systemctl start vc5`")
    lines += [*part("DESCRIPTION"), *_texts(DESCRIPTION)]
    lines += terms("UNITS", "What the package gives systemd.", UNITS)
    lines += [*part("STARTING"), *_texts(STARTING)]
    lines += [*part("CHANGING"), *_texts(CHANGING)]
    lines += [*part("UPGRADING"), *_texts(UPGRADING)]
    lines += terms("SIGNALS", "What they do to `vc5 run`.", SIGNALS)
    sockets = {str(getattr(root, name)): FILES[name] for name in FILES if name.endswith("_socket")}
    lines += terms("SOCKETS", "Each is of one machine, and none is of the network.", sockets)
    places = {str(getattr(root, name)): text for name, text in FILES.items() if not name.endswith("_socket")}
    lines += terms(
        "FILES", f"With `{ROOT.name}` they are below that directory; what is pinned is beside these.", places
    )
    lines += terms("SAFETY", "", SAFETY)
    lines += part("EXIT STATUS")
    for status, text in EXITS.items():
        lines += item(f"`{status}`", f"{text[:1].upper()}{text[1:]}.")
    return page(
        [*lines, *part("SEE ALSO"), r"\fBvc5\fR(1), \fBvc5.yaml\fR(5), \fBvc5-metrics\fR(7), \fBsystemctl\fR(1)"]
    )


def terms(title: str, text: str, rows: Mapping[str, str]) -> Iterator[str]:
    """Yield a section with a term for each row."""
    yield from part(title)
    yield from prose(text)
    for name, meaning in rows.items():
        yield from item(f"`{name}`", meaning)


def _texts(texts: tuple[str, ...]) -> Iterator[str]:
    for text in texts:
        yield from paragraph(text)
