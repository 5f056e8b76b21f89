"""What there is to say of routing, field by field (routing/status.py makes it). Pure."""

from __future__ import annotations

from appliance.routing.status import BfdState, Direction, SessionState
from appliance.web.schema import Schema, array, const, flag, nullable, number, record, text, whole
from appliance.web.schema_status import ADDRESS

AT = "Seconds since 1970."


def _both(of: str, meaning: str) -> Schema:
    return record(meaning, {"sent": whole(f"{of} to the peer."), "received": whole(f"{of} from the peer.")})


MESSAGES = record(
    "Messages by type, of all sessions since the daemon's start.",
    {name: whole("Messages.") for name in ("open", "update", "notification", "keepalive", "refresh")},
)

ERROR = record(
    "Why a session ended, or was not made.",
    {
        "at": number(AT),
        "direction": text("Who found fault.", values=Direction),
        "code": nullable(whole("The code of the NOTIFICATION (RFC 4271 section 4.5); null: there was none.", 0, 255)),
        "subcode": nullable(whole("Its subcode.", 0, 255)),
        "text": text("In words."),
        "hex": text("The bytes that it is about.", pattern="^([0-9a-f]{2})*$"),
    },
)

BFD = record(
    "A session of BFD (RFC 5880).",
    {
        "state": text("Its state.", values=BfdState),
        "remote_state": nullable(text("What the peer said last; null: nothing.", values=BfdState)),
        "diagnostic": text("Why the state changed last."),
        "since": number(AT),
        "interval": number("Seconds between two packets."),
        "detection": number("How many seconds of silence end it."),
        "multihop": flag("Whether there may be routers in between (RFC 5883)."),
        "packets": record(
            "Packets.",
            {
                "sent": whole("To the peer."),
                "received": whole("From the peer."),
                "dropped": whole("In its name, and not taken."),
            },
        ),
        "flaps": whole("How often it was up and went down."),
    },
)

PEER = record(
    "A router.",
    {
        "address": ADDRESS,
        "group": text("Its group in the configuration."),
        "state": text("The state of the session (RFC 4271 section 8.2.2).", values=SessionState),
        "since": number(f"When it came into this state. {AT}"),
        "local_as": whole("Our AS.", 0, 0xFFFFFFFF),
        "remote_as": nullable(whole("Its AS; null: not known.", 0, 0xFFFFFFFF)),
        "remote_router_id": nullable(text("Its router id; null: not known.")),
        "local_address": nullable({**ADDRESS, "description": "Our end of the connection; null: there is none."}),
        "ibgp": flag("Whether both are of the same AS."),
        "passive": flag("Whether the peer is to connect."),
        "families": array(text("One.", values=("ipv4", "ipv6")), "What the session may carry."),
        "hold_time": whole("Seconds of silence that end the session; 0: none.", 0, 65535),
        "keepalive": number("Seconds between two messages."),
        "capabilities": record(
            "What each side can do (RFC 5492).",
            {"sent": array(text("One."), "We."), "received": array(text("One."), "The peer.")},
        ),
        "graceful_restart": nullable(
            record(
                "RFC 4724 with this peer.",
                {
                    "offered": flag("Whether we offered it."),
                    "peer": flag("Whether the peer did."),
                    "time": whole("Seconds that it would wait."),
                    "restarting": flag("Whether one of the two has restarted, and not everything is told again yet."),
                },
            )
        ),
        "advertised": whole("Routes that the peer has been told."),
        "advertised_by_family": record("Of them.", {"ipv4": whole("IPv4."), "ipv6": whole("IPv6.")}),
        "adj_rib_out": array(ADDRESS, "The VIPs that it has been told of."),
        "pending": whole("Routes that it is still to be told, or told otherwise."),
        "withheld": whole("VIPs that it is not told of."),
        "end_of_rib": flag("Whether it was told that this is all."),
        "messages": record("Messages.", {"sent": MESSAGES, "received": MESSAGES}),
        "bytes": _both("Bytes", "Bytes."),
        "sessions": whole("How often a session was established."),
        "attempts": whole("How often a connection was tried."),
        "errors": array(
            record(
                "One kind.",
                {
                    "direction": text("Who found fault.", values=Direction),
                    "code": nullable(whole("The code of the NOTIFICATION; null: there was none.", 0, 255)),
                    "count": whole("How many."),
                },
            ),
            "How many sessions and attempts ended by an error.",
        ),
        "treated_as_withdraw": whole("Malformed UPDATEs that cost no session (RFC 7606)."),
        "received_routes_ignored": whole("Routes of the peer; none is ever installed."),
        "last_error": nullable(ERROR),
        "last_end": nullable({**ERROR, "description": "Why the last session ended that was established."}),
        "next_attempt": nullable(number("Seconds until it is tried again.")),
        "hold_left": nullable(number("Seconds until the session ends, if the peer stays silent.")),
        "bfd": nullable(BFD),
    },
)

ROUTING = record(
    "Routes, and who is told of them.",
    {
        "router_id": text("Our router id; empty: none."),
        "learning": number("Seconds until anything is announced."),
        "listening": flag("Whether routers may connect."),
        "drained": nullable(
            record(
                "The node is drained (RFC 8326).",
                {
                    "who": text("By whom."),
                    "since": number(f"Since when. {AT}"),
                    "stage": text(
                        "How far that is: its routes are last resorts, or withdrawn, or the program is off the "
                        "interfaces as well.",
                        values=("demoted", "withdrawn", "detached"),
                    ),
                    "packets_per_second": nullable(number("Packets to VIPs a second, lately; null: not known.")),
                    "packets_per_second_before": nullable(number("As many there were when it began; null: not known.")),
                    "packets_per_second_calm": nullable(
                        number("With so many or fewer for a while the next stage follows; null: this is the last.")
                    ),
                    "until": nullable(number(f"When routes are withdrawn, or a stop ends, whatever still comes. {AT}")),
                },
            )
        ),
        "peers": array(PEER, "The routers."),
    },
)

EARLIER_PEER = record(
    "A router, as the earlier vc5 told of it.",
    {
        "state": text(
            "The state of the session.",
            values=("IDLE", "CONNECT", "ACTIVE", "OPEN_SENT", "OPEN_CONFIRM", "ESTABLISHED"),
        ),
        "when": text("Since when it is in this state (RFC 3339).", form="date-time"),
        "duration_s": whole("For how many seconds."),
        "update_calculation_ms": const(0, "Always 0."),
        "advertised_routes": whole("Routes that the peer has been told."),
        "withdrawn_routes": const(0, "Always 0: withdrawals are not counted."),
        "current_routes": whole("Routes that the peer has been told."),
        "connection_attempts": whole("How often a connection was tried."),
        "successful_connections": whole("How often a session was established."),
        "established_sessions": whole("How often a session was established."),
        "last_error": text("Why the last attempt failed, or the last session ended."),
        "hold_time": whole("Seconds.", 0, 65535),
        "local_asn": whole("Our AS.", 0, 0xFFFFFFFF),
        "remote_asn": whole("Its AS; 0: not known.", 0, 0xFFFFFFFF),
        "adj_rib_out": array(ADDRESS, "The VIPs that it has been told of."),
        "local_ip": text("Our end of the connection; empty: there is none."),
    },
)

SCHEMAS: dict[str, Schema] = {"Routing": ROUTING, "BgpPeer": EARLIER_PEER}
