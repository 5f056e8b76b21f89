"""The body of `/status.json`, field by field: type, unit, meaning. Pure.

Spans end in `_s` or `_ms`; what has no unit in its name has it in its meaning. Names of the earlier vc5 are marked so.
"""

from __future__ import annotations

from appliance.control.confirmation import Phase
from appliance.control.misroutes import Cause
from appliance.dataplane.enums import Reason
from appliance.dataplane.enums import State as Receives
from appliance.model import Health, Mode, OnDead, OnDown, Scheduler, XdpMode
from appliance.model_bgp import Announce
from appliance.web.schema import Schema, array, by, const, flag, nullable, number, record, ref, text, whole

ADDRESS = text("An IPv4 or IPv6 address (RFC 5952).", pattern="^[0-9a-f:.]+$")
MAC = text("A MAC address; empty where none is known.", pattern="^$|^([0-9a-f]{2}:){5}[0-9a-f]{2}$")
PORT = whole("A port.", 1, 65535)
PROTOCOL = text("The protocol.", values=("tcp", "udp"))
SERVICE = text("A service: `203.0.113.10:443/tcp`, `[2001:db8::1]:443/tcp`.", pattern="^.+:[0-9]+/(tcp|udp)$")
STATES = (*(state.name.lower() for state in Receives if state is not Receives.NONE), "standby", "disabled", "none")
ATTACH = (str(XdpMode.NATIVE), str(XdpMode.GENERIC), "none", "missing")
OVERRIDES = ("drain", "enable", "disable", "weight")

SINCE_S = number("Seconds for which it has been so.", None)
EARLIER = "as the earlier vc5 called it"


def _counters() -> dict[str, Schema]:
    return {
        "packets": whole("Packets that were forwarded, since the program was loaded."),
        "octets": whole("Their length: bytes of IP."),
        "flows": whole("Flows that began."),
        "drops": whole("Packets that were dropped."),
    }


def _speeds() -> dict[str, Schema]:
    return {
        f"{name}_per_second": number(f"{name.capitalize()} in a second, over `rates_over_s`.")
        for name in ("packets", "octets", "flows", "drops")
    }


def _traffic(what: str) -> dict[str, Schema]:
    return {
        "ingress_octets": whole(f"Bytes of IP that were forwarded {what}."),
        "ingress_packets": whole(f"Packets that were forwarded {what}."),
        "flows": whole(f"Flows that began {what}."),
        "egress_octets": const(0, "Answers do not come this way."),
        "egress_packets": const(0, "Answers do not come this way."),
        "ingress_octets_per_second": whole("Bytes in a second."),
        "ingress_packets_per_second": whole("Packets in a second."),
        "flows_per_second": whole("New flows in a second."),
        "egress_octets_per_second": const(0, "Answers do not come this way."),
        "egress_packets_per_second": const(0, "Answers do not come this way."),
        "current": whole("Active flows, where they are counted; else 0."),
    }


STATS = record(f"Traffic, {EARLIER}.", _traffic("to it"))

WAY = record(
    "How a backend is reached.",
    {
        "interface": text("The interface by which packets leave; empty: none yet."),
        "vlan": nullable(whole("The VLAN, null without a tag.", 0, 4094)),
        "via": nullable({**ADDRESS, "description": "The router on the way; null: none."}),
        "own": text("Our address there; `None` where there is none."),
        "mtu": whole("How long packets may be, bytes."),
    },
)

OVERRIDE = record(
    "What an operator said of a backend; it stands above the configuration until it is taken back.",
    {
        "override": text("What was said.", values=OVERRIDES),
        "weight": nullable(whole("The weight that was given; null for the others.", 0, 100)),
        "who": text("Who said so."),
        "since": number("Since when: seconds since 1970."),
    },
)

DESTINATION = record(
    "A backend of a service.",
    {
        "address": ADDRESS,
        "port": PORT,
        "weight": whole("Its weight.", 0, 100),
        "enabled": flag("Whether it may get anything at all."),
        "fallback": flag("Whether it gets something only when the others are gone."),
        "state": text("What it receives.", values=STATES),
        "health": text("What its checks say.", values=Health),
        "kept_by": nullable(text("What keeps it in use although its checks fail.")),
        "taken_out_by": nullable(text("What keeps it out of use although its checks are good.")),
        "drained_by": nullable(text("Who drains it; `removed`: it has left the configuration.")),
        "overrides": array(ref("Override"), "What operators said of it."),
        "since_s": nullable({**SINCE_S, "description": "Seconds for which its health has been so; null: not known."}),
        "diagnostic": text("What the last check found. It comes from the backend: show it as text."),
        "took_ms": nullable(number("How long the last check took, milliseconds.")),
        "active_flows": nullable(whole("Active flows; null where nobody counts them.")),
        "slots": whole("How many slots of its service lead to it."),
        "share": number("The share of its service's slots.", 0, 1),
        "mac": MAC,
        "way": nullable(WAY),
        "troubles": array(
            record("What is missing.", {"reason": text("In a word."), "message": text("For people.")}),
            "What keeps packets from it.",
        ),
        **_counters(),
        **_speeds(),
        "stats": ref("Stats"),
        "disabled": flag(f"Not `enabled`, {EARLIER}."),
        "up": flag("Whether its checks pass."),
        "for": whole("`since_s` in whole seconds; 0: not known."),
        "took": whole("`took_ms` in whole milliseconds; 0: not known."),
        "when": const(0, f"Always 0, {EARLIER}."),
        "last": const(0, f"Always 0, {EARLIER}."),
    },
)

SERVICE_BODY = record(
    "A service.",
    {
        "service": SERVICE,
        "vip": ADDRESS,
        "address": {**ADDRESS, "description": f"`vip`, {EARLIER}."},
        "port": PORT,
        "protocol": PROTOCOL,
        "name": text("Its name."),
        "description": text("What it is for."),
        "up": flag("Whether it has enough backends."),
        "pending": flag("Whether first verdicts are still to come."),
        "need": whole("How many backends it needs."),
        "required": whole(f"`need`, {EARLIER}."),
        "available": whole("How many backends it has."),
        "critical": flag("Whether its VIP goes down with it."),
        "on_dead": text("What becomes of the flows of a dead backend.", values=OnDead),
        "on_down": text("What becomes of flows while the service is down.", values=OnDown),
        "sticky": flag("Whether ports have no part in the choice of a backend."),
        "slots": whole("How many slots it has."),
        "tracked_slots": whole("How many of them remember flows."),
        **_counters(),
        **_speeds(),
        "since_s": {**SINCE_S, "description": "Seconds for which it has been up, or down."},
        "for": whole("`since_s` in whole seconds."),
        "last": const(0, f"Always 0, {EARLIER}."),
        "scheduler": text("How backends are chosen.", values=Scheduler),
        "stats": ref("Stats"),
        "destinations": array(ref("Destination"), "Its backends."),
    },
)

INTERFACE = record(
    "An interface of the configuration.",
    {
        "name": text("Its name."),
        "index": whole("Its number; 0: there is none."),
        "attach": text("How the program is attached to it; `missing`: there is no such interface.", values=ATTACH),
        "mac": MAC,
        "address": text("Its addresses with the lengths of their prefixes, separated by commas."),
        "mtu": whole("The longest packet, bytes; 0: there is no such interface."),
        "up": flag("Whether it is up."),
        "standby": flag("Whether it is a member of a bond that does not carry."),
        "driver": text("Its driver; empty: not known."),
        "speed": nullable(whole("Mbit/s; null: not known.")),
    },
)

VIP_FIELDS = {
    "vip": ADDRESS,
    "up": flag("Whether it is."),
    "since_s": SINCE_S,
    "announce": text(
        "How routers are told of it where nothing else is configured.",
        values=(str(how) for how in Announce if how is how.usual),
    ),
    "reason": text("Why not, or why as a last resort; empty: as usual."),
}

WARNING = record(
    "What an operator should know of. What concerns the configuration file has its place besides.",
    {
        "severity": text("How bad.", values=("warning", "error")),
        "message": text("What, where, and what to do."),
        "code": text("A word for scripts."),
        "file": text("The file."),
        "line": whole("The line."),
        "column": whole("The column."),
        "path": text("The setting."),
        "hint": text("What to do."),
    },
    optional=("code", "file", "line", "column", "path", "hint"),
)

PROBER = record(
    "The process that makes health checks.",
    {
        "alive": flag("Whether it is there."),
        "frozen": flag("Whether verdicts stay as they are, whatever checks say."),
        "reason": text("Why they do; empty where they do not."),
        "restarts": whole("How often it was started again."),
    },
)

MISROUTES = record(
    "Connections that this node should know and does not. They may have broken, or be none.",
    {
        "total": whole("How many, since the daemon's start."),
        "per_second": number("How many in the last second."),
        "causes": by(whole("Connections."), f"By what they are put down to: {', '.join(map(str, Cause))}."),
        "happenings": array(
            record(
                "Something that they are put down to.",
                {
                    "cause": text("What kind of thing it was.", values=Cause),
                    "text": text("What happened."),
                    "at": number("When: seconds since 1970."),
                    "connections": whole("How many are put down to it."),
                    "for_s": number("For how many seconds they came."),
                    "per_second": number("How many in a second, on average over that time."),
                    "peak_per_second": whole("How many in the worst second."),
                    "share_of_flows": nullable(
                        number("Their share of the flows that were remembered when it happened; null: none were.")
                    ),
                    "share_of_packets": nullable(
                        number("Their share of the packets in tracked slots in that time; null: there were none.")
                    ),
                },
            ),
            "The latest first, of the last 32 that happened those that anything is put down to.",
        ),
    },
)

LOOP = record(
    "How long the daemon's event loop was busy at a stretch, milliseconds: by the clock, and by processor time.",
    {
        "longest_ms": number("The longest turn."),
        "longest_cpu_ms": number("The longest turn, processor time."),
        "recent_ms": number("The longest turn of late."),
        "recent_cpu_ms": number("The longest turn of late, processor time."),
        "stalls": whole("Turns that were too long."),
        "stalls_cpu": whole("Turns that were too long by processor time."),
    },
)

TRIAL = record(
    "A configuration that has to be confirmed.",
    {
        "phase": text("Whether it waits, or the one before is back.", values=Phase),
        "left_s": number("Seconds left to confirm it."),
        "who": text("Who put it on trial."),
    },
)

SUMMARY = record(
    f"Everything in sum, {EARLIER}.",
    {
        "uptime": whole("Seconds since the daemon's start."),
        "latency_ns": whole("What the program takes for a packet, nanoseconds; 0: not measured."),
        **_traffic("to all services"),
        "dropped": whole("Packets of services that were dropped."),
        "dropped_per_second": whole("Packets in a second."),
        "blocked": whole("Packets from sources that are blocked."),
        "blocked_per_second": const(0, f"Always 0, {EARLIER}."),
        "notqueued": const(0, f"Always 0, {EARLIER}."),
        "notqueued_per_second": const(0, f"Always 0, {EARLIER}."),
        "toobig": whole("Packets that were answered with ICMP `too big`."),
        "toobig_per_second": const(0, f"Always 0, {EARLIER}."),
        "dsr": const(True, "Answers do not come this way."),
        "vc5": const(True, "What this is."),
    },
)

STATUS = record(
    "All that the daemon tells of itself. Names are contracts: others may come, none goes.",
    {
        "version": text("The daemon's version."),
        "pid": whole("The number of its process.", 1),
        "time": number("When this was told: seconds since 1970."),
        "rates_over_s": number("Over how many seconds the rates are; 0: there are none yet, all rates are 0."),
        "uptime_s": number("Seconds since the daemon's start."),
        "mode": text("The mode.", values=Mode),
        "interfaces": array(ref("Interface"), "The interfaces of the configuration."),
        "prober": PROBER,
        "vips": array(record("A VIP.", VIP_FIELDS), "The VIPs, in the order of their addresses."),
        "reasons": by(whole("Packets."), f"Packets by what became of them: {', '.join(map(str, Reason))}."),
        "flow_table": record(
            "The flows that are remembered.",
            {
                "size": whole("For how many there is room."),
                "used": whole("How many there are."),
                "refused": whole("How many found none."),
            },
        ),
        "misroutes": MISROUTES,
        "loop": LOOP,
        "clock_s": whole("The program's clock, seconds."),
        "config": record(
            "The configuration in force.",
            {
                "file": text("Its file."),
                "loaded_at": number("When it was read: seconds since 1970."),
                "generation": whole("How many there were before it."),
                "trial": nullable(TRIAL),
            },
        ),
        "warnings": array(ref("Warning"), "What an operator should know of."),
        "waiting_for": array(text("One thing."), "What has yet to come before everything can be forwarded."),
        "latency_ns": nullable(number("What the program takes for a packet, nanoseconds; null: not measured.")),
        "latency_of": nullable(
            text("What that is of: packets that came, or a run on frames of its own.", values=("traffic", "test-run"))
        ),
        "logging": record(
            f"How often the log could not be told to others, {EARLIER}.",
            {
                "elasticsearch_errors": whole("Requests to Elasticsearch that failed."),
                "webhook_errors": whole("Messages to webhooks that failed."),
            },
        ),
        "summary": SUMMARY,
        "services": by(array(ref("Service"), "By port and protocol."), "The services, by the VIP that they are of."),
        "bgp": by(ref("BgpPeer"), f"The routers by address, {EARLIER}."),
        "routing": ref("Routing"),
        "fleet": {**nullable(ref("Fleet")), "description": "The other balancers; null: no fleet is configured."},
        "vip": array(
            record(
                f"A VIP, {EARLIER}.", {**VIP_FIELDS, "stats": ref("Stats"), "for": whole("`since_s` in whole seconds.")}
            ),
            "The VIPs, in the order of their addresses.",
        ),
        "rib": nullable(array(ADDRESS, "The VIPs that routers are told of; null: none.")),
    },
)

SCHEMAS: dict[str, Schema] = {
    "Status": STATUS,
    "Service": SERVICE_BODY,
    "Destination": DESTINATION,
    "Stats": STATS,
    "Override": OVERRIDE,
    "Interface": INTERFACE,
    "Warning": WARNING,
}
