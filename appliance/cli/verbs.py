"""The verbs of `vc5`, as one table. The modules named here are light: what a verb works with, it imports itself."""

from __future__ import annotations

from argparse import SUPPRESS
from dataclasses import replace

from appliance.cli import (
    alert,
    bgp,
    block,
    completion,
    daemon,
    drill,
    drops,
    fleet,
    metrics,
    netns,
    offline,
    overrides,
    plan,
    status,
    top,
)
from appliance.cli.arguments import Argument, Names, Verb
from appliance.cli.verbs_told import TOLD_VERBS
from appliance.dataplane.enums import DROPS

CONFIG_FILE = Argument(
    "config", "the configuration (default: that of the root, with its conf.d)", {"nargs": "?"}, Names.FILE
)
SERVICE = Argument("service", "VIP:PORT/tcp or VIP:PORT/udp, IPv6 as [VIP]:PORT/tcp", names=Names.SERVICE)
BACKEND = Argument("backend", "the backend's address", names=Names.BACKEND)
OF_SERVICE = (
    replace(SERVICE, settings={"nargs": "?"}),
    replace(BACKEND, settings={"nargs": "?"}),
)

REHEARSE = Argument("--rehearse", SUPPRESS, {"action": "store_true"})
"""How a running daemon has an installed program say whether it could take over (control/rehearsal.py)."""

VERBS = (
    Verb(
        "run",
        offline.run,
        "run the daemon in the foreground",
        (
            Argument("--config", "the configuration (default: that of the root)", {"metavar": "F"}, Names.FILE),
            Argument(
                "--prober-user",
                "needs no root: `vc5 netns up` has been run, and the prober runs as this user and connects by itself",
                {"metavar": "USER"},
            ),
        ),
        hidden=(REHEARSE,),
    ),
    Verb("check", offline.check, "validate a configuration and print it with every default", (CONFIG_FILE,)),
    Verb("render", offline.render, "print the C text of the data plane for a configuration", (CONFIG_FILE,)),
    Verb(
        "schema",
        offline.schema,
        "print the JSON Schema of the configuration, or the manual page that says the same",
        (Argument("--man", "print vc5.yaml(5), for man(1)", {"action": "store_true"}),),
    ),
    Verb(
        "convert",
        offline.convert,
        "turn an earlier configuration (YAML of 2021 to 2023, or the daemon's JSON) into today's YAML",
        (
            Argument("old", "the earlier configuration", {"metavar": "OLD"}, Names.FILE),
            Argument(
                "-o",
                "write to this new file (default: standard output)",
                {"metavar": "FILE", "dest": "output"},
                Names.FILE,
            ),
            Argument("--resolve", "ask this host's resolver for the addresses of host names", {"action": "store_true"}),
            Argument(
                "--interface",
                "an interface that packets for the VIPs arrive on; may be repeated",
                {"metavar": "NAME", "action": "append"},
                Names.INTERFACE,
            ),
        ),
        failed="something is missing from the result, or `vc5 check` would refuse it",
    ),
    Verb(
        "explain",
        offline.explain,
        "run the data plane on one packet and tell what it does with it",
        (
            Argument("--config", "explain this configuration, not the running daemon's", {"metavar": "F"}, Names.FILE),
            Argument("--host", "interfaces, neighbours and health to assume (JSON)", {"metavar": "H.json"}, Names.FILE),
            Argument("--flags", "TCP flags of the --flow packet (default: SYN)", {"metavar": "SYN,ACK"}),
            Argument(
                "--interface", "where the packet arrives (default: the first)", {"metavar": "NAME"}, Names.INTERFACE
            ),
        ),
        (
            Argument("--frame", "the packet, as hexadecimal digits from the destination MAC on", {"metavar": "HEX"}),
            Argument(
                "--flow", "a packet of this flow: 'tcp 198.51.100.7:4242 203.0.113.10:443' (IPv6: [2001:db8::7]:4242)"
            ),
            Argument(
                "--steps", "a file of packets and changes, one JSON object a line", {"metavar": "S.jsonl"}, Names.FILE
            ),
        ),
    ),
    Verb(
        "balance",
        offline.balance,
        "balance one service at once, without a configuration file or health checks; commands come from standard input",
        (
            Argument("interface", "where the VIP's packets arrive", names=Names.INTERFACE),
            Argument("vip", "VIP, VIP:PORT or VIP:PORT/udp (default: port 80, TCP)"),
            Argument(
                "backends", "a backend's address, with =WEIGHT if that is not 1", {"nargs": "*", "metavar": "backend"}
            ),
        ),
    ),
    Verb(
        "plan",
        plan.run,
        "what a reload would do: which slots and VIPs move, whether a program must be compiled; changes nothing",
        (
            Argument(
                "config",
                "the new configuration (default: the one that a reload would read)",
                {"nargs": "?"},
                Names.FILE,
            ),
            Argument(
                "--against",
                "another file in the place of the daemon, all backends being up",
                {"metavar": "OLD.yaml"},
                Names.FILE,
            ),
        ),
    ),
    Verb(
        "reload",
        daemon.reload,
        "make the daemon read its configuration again, and wait for the result",
        (
            Argument(
                "--max-disruption",
                "refuse it if more of some service's flows would be disturbed (DISRUPTS in `vc5 plan`)",
                {"metavar": "5%"},
            ),
            Argument(
                "--confirm",
                "go back to the configuration before, unless `vc5 confirm` comes in time",
                {"metavar": "60"},
            ),
        ),
    ),
    Verb(
        "reexec",
        daemon.reexec,
        "let the daemon become the program that is installed now, without a break; after an upgrade",
        failed="the running program goes on, and the answer says why",
    ),
    Verb("confirm", daemon.confirm, "keep what `vc5 reload --confirm` has put in force"),
    Verb(
        "status",
        status.run,
        "services, backends and interfaces of the running daemon: what is wrong first, of what is well the sum",
        (
            Argument("service", "all of one: VIP:PORT/tcp, the VIP, or the name", {"nargs": "?"}, Names.SERVICE),
            Argument("--all", "all backends of all services", {"action": "store_true"}),
        ),
    ),
    Verb(
        "top",
        top.run,
        "rates and bars of services and backends, those with most traffic first, again and again; ? tells the keys",
        (
            Argument("service", "begin with the backends of this one", {"nargs": "?"}, Names.SERVICE),
            Argument("--interval", "seconds between two looks (default: 2)", {"metavar": "N"}),
            Argument("--once", "print one frame and end, after one interval", {"action": "store_true"}),
        ),
    ),
    Verb(
        "bgp",
        bgp.run,
        "the routers: their sessions, what they are told of each VIP and why not, BFD, and the last errors",
        (
            Argument(
                "what",
                "one peer's address: all there is to say of it; `capture`: the messages that go to and fro from now on",
                {"nargs": "?", "metavar": "peer"},
                Names.PEER,
                (bgp.CAPTURE,),
            ),
            Argument("peer", "whose messages (default: everybody's)", {"nargs": "?", "metavar": "of"}, Names.PEER),
            Argument("--routes", "with what each peer is told, VIP by VIP", {"action": "store_true"}),
            Argument(
                "--pcap",
                "capture into this new file, for Wireshark or tcpdump -r; - is standard output",
                {"metavar": "FILE"},
                Names.FILE,
            ),
            Argument("--seconds", "capture for so long (default: until interrupted)", {"metavar": "N"}),
        ),
    ),
    Verb(
        "fleet",
        fleet.run,
        "the other balancers that announce the same VIPs: who is there, in what they differ from this one, and why",
        (Argument("service", "which slots of it differ: VIP:PORT/tcp, or its name", {"nargs": "?"}, Names.SERVICE),),
        failed="nodes differ for longer than a moment, one that was there is missing, or nothing can be exchanged",
    ),
    Verb(
        "metrics",
        metrics.run,
        "what Prometheus would be told of the running daemon; with --json the numbers that it is made of",
        alternatives=(
            Argument("--openmetrics", "in the form of OpenMetrics", {"action": "store_true"}),
            Argument("--man", "print vc5-metrics(7), which tells what they mean, for man(1)", {"action": "store_true"}),
        ),
    ),
    Verb(
        "drain",
        overrides.drain,
        "let a backend keep its flows and give it no new ones; or have routers send to other nodes what they can",
        (
            *OF_SERVICE,
            Argument(
                "--all",
                "the whole node, in place of a backend: for all routers its routes become last resorts, with the "
                "community GRACEFUL_SHUTDOWN (RFC 8326), from now on and over restarts; what still comes is forwarded; "
                "once the traffic has ebbed, routes are withdrawn, and then the program is detached",
                {"action": "store_true"},
            ),
            Argument(
                "--wait",
                "with --all: show how the traffic ebbs until the node is detached, as a terminal is shown anyway; "
                "interrupted, the drain goes on",
                {"action": "store_true"},
            ),
            Argument("--no-wait", "with --all: return at once, also in a terminal", {"action": "store_true"}),
            Argument(
                "--deadline",
                "with --all: withdraw the routes after this time (90s, 5m) whatever still comes",
                {"metavar": "TIME"},
            ),
        ),
    ),
    Verb(
        "undrain",
        overrides.drain,
        "give a drained backend new flows again; or tell routers of this node as usual",
        (*OF_SERVICE, Argument("--all", "the whole node, in place of a backend", {"action": "store_true"})),
    ),
    Verb(
        "disable", overrides.operate, "as the configuration's mark: no new flows until `vc5 enable`", (SERVICE, BACKEND)
    ),
    Verb("enable", overrides.operate, "take back what disables a backend", (SERVICE, BACKEND)),
    Verb(
        "weight",
        overrides.weight,
        "give a backend another share of new flows than the configuration does",
        (SERVICE, BACKEND, Argument("weight", "0 to 100, or `default` for the configured one")),
    ),
    Verb(
        "health",
        overrides.health,
        "let the verdicts of checks stand as they are, over restarts too, or have them followed again",
        (Argument("action", "what to do: freeze or thaw", {"choices": ("freeze", "thaw")}),),
    ),
    Verb(
        "drill",
        drill.run,
        "before a site goes live: keep flows open through every backend of a service while one after the other is "
        "disabled and enabled, and the configuration reloaded; say what became of them, and put everything back",
        (
            SERVICE,
            Argument("--seconds", "how long all of it takes (default: 3 for each step)", {"metavar": "N"}),
            Argument("--flows", "how many flows, up to 1000 (default: 4 through each backend)", {"metavar": "N"}),
            Argument("--backends", "take out only the first N (default: all that are available)", {"metavar": "N"}),
        ),
        failed="the drill did not pass, or there was none; the report or the message says why",
    ),
    Verb("overrides", overrides.overrides, "what operators said of backends and of the node, by whom and since when"),
    Verb(
        "reattach",
        daemon.reattach,
        "detach from an interface and attach again, for a NIC that lost its program",
        (Argument("interface", "one of the configured interfaces", names=Names.INTERFACE),),
    ),
    Verb(
        "drops",
        drops.run,
        "why packets were dropped, how many, and what the last of them were",
        (
            Argument("--reason", "dropped for this reason only", {"metavar": "R", "choices": tuple(map(str, DROPS))}),
            Argument(
                "--pcap",
                "write their first 128 bytes into this new file, for Wireshark or tcpdump -r; - is standard output",
                {"metavar": "F"},
                Names.FILE,
            ),
        ),
    ),
    Verb(
        "prefixes",
        block.prefixes,
        "which IPv4 prefixes send most to the VIPs; with --json alone, packets from each of the 1,048,576 prefixes",
        (Argument("--top", "the N biggest (default: 20)", {"metavar": "N"}),),
    ),
    Verb(
        "block",
        block.block,
        "drop what comes from a prefix to any VIP, from now on and over restarts",
        (
            Argument("action", "what to do: add, remove or list", {"choices": ("add", "remove", "list")}),
            Argument("prefix", "the sources: 198.51.100.0/24, or one address", {"nargs": "?"}),
            Argument("--for", "how long: 10m, 1h (default: until removed)", {"metavar": "T", "dest": "duration"}),
            Argument("--note", "why, for those who read the list later", {"metavar": "TEXT"}),
            Argument("--force", "a whole family, 0.0.0.0/0 or ::/0, too", {"action": "store_true"}),
        ),
    ),
    Verb(
        "alert",
        alert.alert,
        "send a test message to those who are told of what happens (`logging`), and say what came of each",
        (
            Argument("action", "what to do: test", {"choices": ("test",)}),
            Argument("--outlet", "only this one", {"choices": ("slack", "teams", "syslog")}),
        ),
        failed="a message did not arrive, or there is nobody to tell",
    ),
    Verb(
        "doctor",
        offline.doctor,
        "what is wrong with this host, the interfaces, the units, and backends that are not up; with what mends it",
        (
            CONFIG_FILE,
            Argument("--all", "examine every backend, those that are up as well", {"action": "store_true"}),
        ),
        failed="something will not work",
    ),
    *TOLD_VERBS,
    Verb(
        "netns",
        netns.run,
        "make (up) or remove (down) the probe namespace and the place for pins, for a daemon without root",
        (
            Argument("action", "what to do: up or down", {"choices": ("up", "down")}),
            Argument("--user", "who is to own the place for pins (default: who runs this)", {"metavar": "USER"}),
        ),
    ),
    Verb(
        "completion",
        completion.run,
        "print what makes a shell complete this command: source <(vc5 completion bash)",
        (
            Argument("shell", "which one: bash, zsh or fish", {"choices": tuple(completion.SCRIPTS)}),
            Argument(
                "words",
                "print what the last of these words may become, each with = in front; so ask the shells",
                {"nargs": "*", "metavar": "=WORD"},
            ),
        ),
    ),
)
