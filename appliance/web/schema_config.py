"""The body of `/config.json`, field by field: the configuration in force (config/expansion.py makes it). Pure.

Fields that are named like settings mean what vc5.yaml(5) says of those.
"""

from __future__ import annotations

from appliance.model import (
    Forward,
    LastAnnouncer,
    Mode,
    OnDead,
    OnDown,
    OnOrphan,
    Scheduler,
    Tracking,
    TunnelKind,
    UnknownPort,
    XdpMode,
)
from appliance.model_bgp import Announce
from appliance.model_check import CheckKind
from appliance.model_logging import Priority
from appliance.web.schema import Schema, array, by, flag, nullable, number, record, text, whole
from appliance.web.schema_status import ADDRESS, PORT, PROTOCOL, WARNING

SET = "As set."
SECONDS = number("Seconds.")
MASKED = nullable(text("A secret: `***`; null: none is set.", values=("***",)))
PREFIX = text("A prefix.", pattern="^[0-9a-f:.]+/[0-9]+$")
PREFIXES = array(PREFIX, "Prefixes.")
COMMUNITY = array(text("A community.", pattern="^[0-9]+(:[0-9]+)+$"), "Communities.")
TEXT, OPTIONAL_TEXT = text(SET), nullable(text("As set; null: not set."))
WHOLE, OPTIONAL_WHOLE = whole(SET), nullable(whole("As set; null: not set."))
FLAG = flag(SET)
OPTIONAL_ADDRESS = nullable({**ADDRESS, "description": "As set; null: not set."})


def _word(values: object) -> Schema:
    return text(SET, values=values)  # type: ignore[arg-type]


ANY = text("Anything will do.", values=("any",))


def _or_any(of: Schema, meaning: str) -> Schema:
    return {"description": meaning, "anyOf": [of, ANY]}


CHECK = record(
    "A health check, with what its type has and no more.",
    {
        "type": _word(CheckKind),
        "port": PORT,
        "method": _word(("GET", "HEAD")),
        "transport": text("How DNS is spoken.", values=("udp", "tcp")),
        "path": TEXT,
        "host": OPTIONAL_TEXT,
        "expect": _or_any(array(whole("A status.", 100, 999), "Statuses."), "The HTTP statuses that are good."),
        "body": OPTIONAL_TEXT,
        "body_pattern": OPTIONAL_TEXT,
        "mtu": FLAG,
        "verify": FLAG,
        "ca": OPTIONAL_TEXT,
        "expiry_warning": WHOLE,
        "tls": FLAG,
        "service": OPTIONAL_TEXT,
        "name": TEXT,
        "qtype": TEXT,
        "rcode": _or_any(array(text("A code."), "Codes."), "The DNS response codes that are good."),
        "send": TEXT,
        "receive": TEXT,
        "interval": SECONDS,
        "timeout": SECONDS,
        "rise": WHOLE,
        "fall": WHOLE,
        "window": nullable(whole("Of so many results `rise` and `fall` count; null: in a row.")),
    },
    optional=(
        *("port", "method", "transport", "path", "host", "expect", "body", "body_pattern", "mtu", "verify", "ca"),
        *("expiry_warning", "tls", "service", "name", "qtype", "rcode", "send", "receive"),
    ),
)

SERVICE = record(
    "A service.",
    {
        "vip": ADDRESS,
        "port": PORT,
        "proto": PROTOCOL,
        "name": TEXT,
        "description": TEXT,
        "need": WHOLE,
        "sticky": FLAG,
        "priority": _word(Priority),
        "scheduler": _word(Scheduler),
        "eject_most_loaded": FLAG,
        "tracking": _word(Tracking),
        "forward": _word(Forward),
        "clamp_mss": WHOLE,
        "slow_start": SECONDS,
        "on_dead": _word(OnDead),
        "on_down": _word(OnDown),
        "drain_timeout": SECONDS,
        "vip_enabled": FLAG,
        "announce": _word(Announce),
        "bgp": nullable(
            record(
                "What is said of its routes; null: what the peers say.",
                {
                    "med": OPTIONAL_WHOLE,
                    "local_pref": OPTIONAL_WHOLE,
                    "communities": COMMUNITY,
                    "prepend": OPTIONAL_WHOLE,
                    "next_hop_4": OPTIONAL_ADDRESS,
                    "next_hop_6": OPTIONAL_ADDRESS,
                },
            )
        ),
        "vip_up": _word(("any", "all")),
        "critical": FLAG,
        "max_removal": nullable(number("As set; null: not set.", None)),
        "removal_window": SECONDS,
        "last_announcer": _word(LastAnnouncer),
        "tunnel": nullable(
            record(
                "The tunnel to its backends.",
                {
                    "type": _word(TunnelKind),
                    "port": nullable(PORT),
                    "checksum": nullable(FLAG),
                    "dscp": OPTIONAL_WHOLE,
                },
            )
        ),
        "backends": array(
            record(
                "A backend.", {"address": ADDRESS, "port": PORT, "enabled": FLAG, "weight": WHOLE, "fallback": FLAG}
            ),
            "Its backends.",
        ),
        "checks": array(CHECK, "Its checks."),
    },
)

PEER = record(
    "A router.",
    {
        "address": ADDRESS,
        "group": OPTIONAL_TEXT,
        "local_as": WHOLE,
        "remote_as": OPTIONAL_WHOLE,
        "hold_time": WHOLE,
        "local_pref": OPTIONAL_WHOLE,
        "med": OPTIONAL_WHOLE,
        "source_ip": OPTIONAL_ADDRESS,
        "next_hop_4": OPTIONAL_ADDRESS,
        "next_hop_6": OPTIONAL_ADDRESS,
        "multiprotocol": FLAG,
        "communities": COMMUNITY,
        "large_communities": COMMUNITY,
        "accept": PREFIXES,
        "reject": PREFIXES,
        "password": MASKED,
        "bfd": nullable(record("BFD with it.", {"interval": SECONDS, "multiplier": WHOLE})),
        "multihop": OPTIONAL_WHOLE,
        "ttl_security": FLAG,
        "passive": FLAG,
        "prepend": WHOLE,
        "on_vip_down": _word(("demote", "withdraw")),
        "demote_med": WHOLE,
        "demote_communities": COMMUNITY,
        "last_communities": COMMUNITY,
        "graceful_restart": FLAG,
        "restart_time": WHOLE,
        "router_id": OPTIONAL_ADDRESS,
    },
)

LOGGING = record(
    "Who is told of what.",
    {
        "alert": WHOLE,
        "teams": MASKED,
        "slack": MASKED,
        "syslog": array(TEXT, "Where syslog listens."),
        "keep": SECONDS,
        "space": WHOLE,
        "elasticsearch": nullable(
            record(
                "Where documents are shipped to.",
                {
                    "index": OPTIONAL_TEXT,
                    "addresses": array(text("A URL, without its password."), "The nodes."),
                    "username": OPTIONAL_TEXT,
                    "password": MASKED,
                    "api_key": MASKED,
                    "ca": OPTIONAL_TEXT,
                    "certificate": OPTIONAL_TEXT,
                    "key": OPTIONAL_TEXT,
                    "namespace": TEXT,
                },
            )
        ),
    },
)

CONSOLE = record(
    "Who may look at what is described here.",
    {
        "hosts": array(TEXT, "Names by which it may be called."),
        "certificate": OPTIONAL_TEXT,
        "key": OPTIONAL_TEXT,
        "user": OPTIONAL_TEXT,
        "password": MASKED,
        "token": MASKED,
    },
)

FLEET = record(
    "With which balancers what is exchanged, besides the group `multicast`.",
    {
        "key": array(text("A secret: `***`.", values=("***",)), "The keys; the first signs."),
        "peers": array(TEXT, "Other nodes, with their ports."),
        "source": OPTIONAL_ADDRESS,
        "port": PORT,
        "rate": whole("Bytes a second that are sent at most."),
        "quorum": FLAG,
    },
)

WEBSERVER = {
    "description": "Where it is offered; null: where it usually is.",
    "anyOf": [text("A place, or `no`."), array(TEXT, "Several."), {"type": "null"}],
}

SETTINGS = record(
    "What concerns everything.",
    {
        "mode": _word(Mode),
        "interfaces": array(TEXT, "Names of interfaces."),
        "xdp": _word(XdpMode),
        "address": OPTIONAL_ADDRESS,
        "router_id": OPTIONAL_ADDRESS,
        "host_id": OPTIONAL_TEXT,
        "webserver": WEBSERVER,
        "console": CONSOLE,
        "multicast": OPTIONAL_TEXT,
        "fleet": nullable(FLEET),
        "leave": SECONDS,
        "learn": nullable(SECONDS),
        "listen": FLAG,
        "on_orphan": _word(OnOrphan),
        "hash_seed": text("Whether it is set.", values=("generated", "given")),
        "max_flows": OPTIONAL_WHOLE,
        "idle": SECONDS,
        "udp_grace": SECONDS,
        "unknown_port": _word(UnknownPort),
        "hold_down": SECONDS,
        "max_probes": WHOLE,
        "on_isolation": _word(("demote", "no")),
        "attach_delay": SECONDS,
        "block": PREFIXES,
        "count_prefixes": FLAG,
        "mixed_tags": FLAG,
        "logging": LOGGING,
        "compat_metrics": FLAG,
        "backend_metrics": FLAG,
    },
)

CONFIG = record(
    "The configuration in force: what `vc5 check --json` prints of it. Secrets are masked.",
    {
        "services": array(SERVICE, "By VIP, port and protocol."),
        "bgp": record("Routers.", {"peers": array(PEER, "Each."), "learn": nullable(SECONDS), "listen": FLAG}),
        "vlans": record(
            "VLANs by number.",
            {
                "v4": by(PREFIX, "IPv4."),
                "v6": by(PREFIX, "IPv6."),
                "gateways": by(array(ADDRESS, "One of each family."), "Routers."),
            },
        ),
        "mode": _word(Mode),
        "shape": text("What the program is made for: a digest."),
        "settings": SETTINGS,
        "warnings": array(WARNING, "What is to be said of the file."),
    },
)

SCHEMAS: dict[str, Schema] = {"Config": CONFIG}
