"""What is told of events, drops and sources, and what a stream of `/events` consists of. Pure."""

from __future__ import annotations

from appliance.model_event import EventKind
from appliance.web.history import QUIET
from appliance.web.schema import Schema, array, by, flag, nullable, number, record, ref, text, whole
from appliance.web.schema_routing import PEER, ROUTING
from appliance.web.schema_status import ADDRESS, DESTINATION, SERVICE, SERVICE_BODY, STATUS, VIP_FIELDS

WALL = number("Seconds since 1970.")
PREFIXES = 1 << 20
"""How many /20 there are in IPv4."""
VOLATILE = ("packets", "octets", "flows", "drops", "active_flows", "since_s")

KINDS = tuple(str(kind) for kind in EventKind if str(kind) not in QUIET)

LINE = record(
    "Something that happened. What does not apply is absent.",
    {
        "id": whole("Its number in the log; it grows."),
        "at": WALL,
        "severity": whole("How grave, as in syslog (RFC 5424 section 6.2.1): 0 emergency to 7 debug.", 0, 7),
        "kind": text("What it is about.", values=KINDS),
        "message": text("For people."),
        "service": SERVICE,
        "backend": ADDRESS,
        "vip": ADDRESS,
        "peer": ADDRESS,
        "interface": text("An interface."),
        "outcome": text("What it is now."),
        "before": text("What it was before."),
        "reason": text("Why."),
    },
    optional=("service", "backend", "vip", "peer", "interface", "outcome", "before", "reason"),
)

LOG = record(
    "Lines of the log.",
    {
        "lines": array(ref("Line"), "The lines, oldest first."),
        "next": whole("The number behind which to go on: the `after` of the next request."),
    },
)

DROPS = record(
    "Packets that were dropped, the last ones of each reason.",
    {
        "reasons": array(
            record(
                "One reason.",
                {
                    "reason": text("In a word."),
                    "meaning": text("In words."),
                    "count": whole("How many packets."),
                    "packets": array(
                        record(
                            "A packet.",
                            {
                                "at": WALL,
                                "interface": text("Where it came in."),
                                "length": whole("Its length, bytes."),
                                "data": text("Its first 128 bytes at most.", pattern="^([0-9a-f]{2}){0,128}$"),
                                "text": text("What is in it, in a line."),
                            },
                        ),
                        "The newest first.",
                    ),
                },
            ),
            "By reason.",
        )
    },
)

SOURCES = array(
    whole("Packets."),
    "Packets from each /20 of IPv4 since the program was loaded: of 0.0.0.0/20 first. Estimates: one of 64 is counted.",
    least=PREFIXES,
    most=PREFIXES,
)

RATES: Schema = {
    "type": "array",
    "description": "Packets, bytes of IP, new flows and drops in a second; active flows (null: not counted).",
    "prefixItems": [
        number("Packets."),
        number("Bytes."),
        number("Flows."),
        number("Drops."),
        nullable(whole("Flows.")),
    ],
    "items": False,
    "minItems": 5,
    "maxItems": 5,
}

HEALTHY = record(
    "Whether the daemon works.",
    {"ok": flag("Whether it answers."), "why": text("Why not.")},
    optional=("why",),
)
READY = record(
    "Whether packets are forwarded.",
    {"ready": flag("Whether they are."), "why": text("What is waited for; empty: nothing.")},
)
ERROR = record("Why there is no answer.", {"error": text("What is wrong, and what to do.")})


def _live(schema: Schema, meaning: str, *left_out: str, **instead: Schema) -> Schema:
    """Return a schema of the status as consoles are told it: with moments, and without what changes all the time."""
    volatile = {*VOLATILE, *(f"{name}_per_second" for name in VOLATILE), *left_out}
    fields = {name: value for name, value in schema["properties"].items() if name not in volatile}
    return record(meaning, fields | instead)


SINCE = nullable(number("Since when it has been so: seconds since 1970; null: not known."))
_EARLIER = ("stats", "disabled", "up", "for", "took", "when", "last")
LIVE_BACKEND = _live(DESTINATION, "A backend.", *_EARLIER, "port", since=SINCE)
LIVE_SERVICE = _live(
    SERVICE_BODY,
    "A service.",
    *("address", "protocol", "required", "stats", "destinations", "for", "last"),
    proto=text("The protocol.", values=("tcp", "udp")),
    backends=array(ref("LiveBackend"), "Its backends."),
    since=SINCE,
)
OVERVIEW = _live(
    STATUS,
    "The status without its services.",
    *("summary", "services", "routing", "vip", "rib"),
    started=number("When the daemon started: seconds since 1970."),
    vips=array(_live(record("A VIP.", VIP_FIELDS), "A VIP.", since=SINCE), "The VIPs."),
    bgp=_live(
        ROUTING,
        "Routes, and who is told of them.",
        peers=array(_live(PEER, "A router.", "adj_rib_out", since=PEER["properties"]["since"]), "The routers."),
    ),
)

EVENTS: dict[str, Schema] = {
    "hello": record(
        "The first of a stream: all but the log begins anew.",
        {
            "version": text("The version of vc5."),
            "interval": number("Seconds between two events `numbers`."),
            "time": WALL,
        },
    ),
    "overview": OVERVIEW,
    "services": record(
        "Services that are there, or have changed, and those that are gone.",
        {
            "changed": array(ref("LiveService"), "As they are now."),
            "removed": array(SERVICE, "Those that are gone."),
            "complete": flag("Whether no other piece follows at once."),
        },
    ),
    "numbers": record(
        "Rates. A service that is not among them has those that it had before.",
        {
            "time": WALL,
            "seconds": number("Over how many seconds; 0: there are none yet."),
            "total": ref("Rates"),
            "services": by(
                record("One.", {"rates": ref("Rates"), "backends": by(ref("Rates"), "By address.")}), "By service."
            ),
        },
    ),
    "log": ref("Line"),
    "gone": record("The daemon does not answer.", {"why": text("Why.")}),
    "alive": record("Nothing else was to be said for five seconds.", {}),
}

SCHEMAS: dict[str, Schema] = {
    "Line": LINE,
    "Log": LOG,
    "Drops": DROPS,
    "Sources": SOURCES,
    "Rates": RATES,
    "LiveService": LIVE_SERVICE,
    "LiveBackend": LIVE_BACKEND,
    "Healthy": HEALTHY,
    "Ready": READY,
    "Error": ERROR,
    **{f"Event{name.capitalize()}": schema for name, schema in EVENTS.items()},
}
