"""Examples of every verb, for `vc5 VERB --help` and vc5(1). A test runs each of them (tests/netns/test_examples.py).

They are of one site: a service 203.0.113.10:80/tcp with backends 10.1.1.5 to 10.1.1.7, and a router 10.1.10.252.
"""

from __future__ import annotations

from dataclasses import dataclass

SHOP = "203.0.113.10:80/tcp"


@dataclass(frozen=True)
class Example:
    """A line for a shell, and what it is good for."""

    line: str
    help: str


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "run": (
        Example("vc5 run", "the daemon in this terminal, until Ctrl-C"),
        Example("vc5 --root /srv/second run --config second.yaml", "a second one, with everything of its own"),
    ),
    "check": (
        Example("vc5 check", "is /etc/vc5/config.yaml right, and what does it mean?"),
        Example("vc5 check new.yaml --json", "the same of another file, for programs"),
    ),
    "render": (Example("vc5 render new.yaml", "the C program that a configuration becomes"),),
    "schema": (
        Example("vc5 schema >vc5.schema.json", "for an editor that knows JSON Schema"),
        Example("vc5 schema --man | man -l -", "all settings, without installing anything"),
    ),
    "convert": (
        Example("vc5 convert former.yaml -o converted.yaml", "today's form of an earlier configuration"),
        Example("vc5 convert former.yaml --interface eth0", "to look at, saying where packets arrive"),
    ),
    "explain": (
        Example("vc5 explain --flow 'tcp 198.51.100.7:4242 203.0.113.10:80'", "where would a new connection go?"),
        Example(
            "vc5 explain --flow 'tcp 198.51.100.7:4242 203.0.113.10:80' --flags ACK", "and a packet of one that exists?"
        ),
        Example("vc5 explain --config new.yaml --flow 'udp 198.51.100.7:4242 203.0.113.10:53'", "with another file"),
    ),
    "drops": (
        Example("vc5 drops", "what was dropped lately, and why?"),
        Example("vc5 drops --reason unknown-port --pcap unknown.pcap", "the packets of one reason, for Wireshark"),
    ),
    "drill": (Example(f"vc5 drill {SHOP}", "would clients notice that backends come and go, and a reload?"),),
    "balance": (
        Example(
            "vc5 balance eth0 203.0.113.10:80 10.1.1.5 10.1.1.6=3", "without a file; `list` and `quit` are commands"
        ),
    ),
    "plan": (
        Example("vc5 plan", "what would `vc5 reload` do now?"),
        Example("vc5 plan new.yaml", "and with another file?"),
        Example("vc5 plan new.yaml --against old.yaml", "what differs between two files, without a daemon?"),
    ),
    "reload": (
        Example("vc5 reload", "put the file in force, and wait for the result"),
        Example("vc5 reload --max-disruption 5%", "only if it disturbs at most 5 % of any service's flows"),
        Example("vc5 reload --confirm 60", "back to the configuration before, unless confirmed within a minute"),
    ),
    "confirm": (Example("vc5 reload --confirm 60 && vc5 confirm", "try a configuration, and keep it"),),
    "reexec": (Example("vc5 reexec", "after an upgrade: the new version takes over, and no packet notices"),),
    "status": (
        Example("vc5 status", "what is wrong, and how much is well"),
        Example(f"vc5 status {SHOP}", "everything about one service"),
        Example("vc5 status shop", "the same by its name"),
        Example("vc5 status --all", "every backend of every service"),
    ),
    "top": (
        Example("vc5 top", "who gets how much, now; ? tells the keys"),
        Example(f"vc5 top {SHOP} --interval 1", "the backends of one service, every second"),
        Example("vc5 top --once", "one frame, for a file or a pipe"),
    ),
    "bgp": (
        Example("vc5 bgp", "are the sessions up, and if not, why?"),
        Example("vc5 bgp 10.1.10.252", "all of one router"),
        Example("vc5 bgp --routes", "what is each router told of each VIP?"),
        Example("vc5 bgp capture --seconds 2 --pcap bgp.pcap", "two seconds of messages, for Wireshark"),
    ),
    "fleet": (
        Example("vc5 fleet", "are all balancers there, and do they answer alike? If not, why?"),
        Example(f"vc5 fleet {SHOP}", "which slots of a service differ, and whose are they?"),
    ),
    "metrics": (Example("vc5 metrics", "what Prometheus gets, without HTTP"),),
    "drain": (
        Example(f"vc5 drain {SHOP} 10.1.1.5", "no new flows for a backend; those it has go on"),
        Example("vc5 drain --all", "have routers send to other nodes, before maintenance of this one"),
        Example("vc5 drain --all --no-wait --deadline 5m", "without looking on, and in five minutes in any case"),
    ),
    "undrain": (
        Example(f"vc5 undrain {SHOP} 10.1.1.5", "a backend is back"),
        Example("vc5 undrain --all", "this node is back"),
    ),
    "disable": (Example(f"vc5 disable {SHOP} 10.1.1.6", "as `*` in the configuration, without touching it"),),
    "enable": (Example(f"vc5 enable {SHOP} 10.1.1.6", "take that back"),),
    "weight": (
        Example(f"vc5 weight {SHOP} 10.1.1.6 5", "five times the new flows of a backend of weight 1"),
        Example(f"vc5 weight {SHOP} 10.1.1.6 default", "what the configuration says"),
    ),
    "health": (
        Example("vc5 health freeze", "before work on what the checks depend on: verdicts stand"),
        Example("vc5 health thaw", "afterwards"),
    ),
    "overrides": (Example("vc5 overrides", "what did operators say, who, and when?"),),
    "reattach": (Example("vc5 reattach eth0", "a NIC that has lost its program gets it again"),),
    "prefixes": (
        Example("vc5 prefixes", "who sends most?"),
        Example("vc5 prefixes --top 5 --json", "the five biggest, for programs"),
    ),
    "block": (
        Example("vc5 block add 198.51.100.0/24 --for 1h --note flood", "drop what comes from there, for an hour"),
        Example("vc5 block list", "who is blocked, by whom, and for how long still?"),
        Example("vc5 block remove 198.51.100.0/24", "let them in again"),
    ),
    "alert": (
        Example("vc5 alert test", "does everybody get the message?"),
        Example("vc5 alert test --outlet syslog", "do these?"),
    ),
    "doctor": (
        Example("vc5 doctor", "what is wrong here, and with backends that are not up?"),
        Example("vc5 doctor new.yaml", "what would be wrong with another file?"),
    ),
    "log": (
        Example("vc5 log --events --since 1h", "what has changed in the last hour?"),
        Example(f"vc5 log --service {SHOP} --backend 10.1.1.5 --outcome no-answer", "when was a backend silent?"),
        Example("vc5 log --follow", "what happens, as it happens, until Ctrl-C"),
    ),
    "elasticsearch": (
        Example(
            "vc5 elasticsearch install --url https://elastic:9200 --api-key-file key",
            "once, before the log is sent there",
        ),
        Example("vc5 elasticsearch install --dry-run", "what would be put on the configured server?"),
    ),
    "dashboards": (
        Example("vc5 dashboards install --kibana https://kibana:5601 --dry-run", "what would be imported?"),
        Example(
            "vc5 dashboards install --kibana https://kibana:5601 --api-key-file key",
            "import it",
        ),
    ),
    "netns": (Example("vc5 netns up --user vc5", "what the daemon needs root for; its unit does this"),),
    "completion": (
        Example("source <(vc5 completion bash)", "in bash and zsh, for this shell"),
        Example("vc5 completion fish | source", "in fish"),
    ),
}
"""By verb. The package brings completion for all three shells."""
EXAMPLES_HEADING = "examples:"


def help_text(verb: str) -> str:
    """Return what `vc5 VERB --help` says of the examples, lines as they are to stand; nothing for a verb without."""
    found = EXAMPLES.get(verb, ())
    return "\n".join([EXAMPLES_HEADING, *(f"  {one.line}\n      {one.help}" for one in found)]) if found else ""
