"""What there is to say of a fleet, field by field (fleet/status.py makes it). Pure."""

from __future__ import annotations

from appliance.fleet.difference import Cause
from appliance.fleet.envelope import Drop
from appliance.fleet.members import SyncState
from appliance.fleet.orders import Why
from appliance.fleet.records import NodeState
from appliance.web.schema import Schema, array, by, flag, nullable, number, record, text, whole
from appliance.web.schema_status import ADDRESS, SERVICE

AT = "Seconds since 1970."
ENDPOINT = text("Address and port.")
LABEL = text("What to call the node: its name, and its address where others have the same name.")
DIGEST = "^([0-9a-f]{16})?$"
_HEALTH = ("up", "wrong", "dead")

NODE = record(
    "A node of the fleet. What another one says of itself is its own word.",
    {
        "name": text("What it calls itself."),
        "label": LABEL,
        "address": nullable({**ENDPOINT, "description": "Where it speaks from; null of this node."}),
        "own": flag("Whether it is this node."),
        "life": text("Random for each start of its daemon.", pattern="^[0-9a-f]{16}$"),
        "state": text("What it does.", values=[state.name.lower() for state in NodeState]),
        "since": number(f"When it was first heard; of this node, when it was started. {AT}"),
        "version": text("Its version of vc5."),
        "configuration": text("Digest of its configuration; empty: not known.", pattern=DIGEST),
        "tables": text("Digest of its tables; empty: not known.", pattern=DIGEST),
        "health": text("Digest of what it takes for down; empty: nothing.", pattern=DIGEST),
        "tracked_slots": whole("Slots in which flows are remembered."),
        "flows": whole("Flows that are remembered."),
        "packets_per_second": whole("Packets that it forwards."),
        "isolated": flag("Whether it takes itself for cut off."),
        "heard": number("How many seconds ago it was heard; 0 of this node."),
        "lost": whole("Datagrams of it that had to be asked for again."),
        "resyncs": whole("How often it had to be asked for everything anew."),
        "behind": whole("Datagrams of it that are still to come."),
        "sync": text("Whether all that it knows has been learnt.", values=[state.value for state in SyncState]),
        "configuration_differs": flag("Whether its configuration or hash seed is another than this node's."),
    },
)

ABSENT = record(
    "A node that was there.",
    {
        "name": text("What it called itself."),
        "label": LABEL,
        "address": ENDPOINT,
        "since": number(f"Since when it is gone. {AT}"),
        "why": text("Why.", values=Why),
        "missing": flag("Whether it has fallen silent without a word."),
    },
)


def _way(meaning: str) -> Schema:
    return record(
        meaning,
        {
            "datagrams": whole("Datagrams."),
            "bytes": whole("Their bytes, without headers of UDP."),
            "bytes_per_second": number("Bytes in a second, of the last ten."),
            "records": whole("What they told, in records."),
        },
    )


TRAFFIC = record(
    "What was exchanged since it began.",
    {
        "sent": _way("To others."),
        "received": _way("From others."),
        "refused": by(whole("Datagrams."), f"Datagrams that were not used, by reason: {', '.join(map(str, Drop))}."),
        "unknown_records": whole("Records of kinds that this version does not know."),
        "lost": whole("Datagrams of others that had to be asked for again."),
        "repeated": whole("Datagrams that others asked for again."),
        "too_old": whole("Those of them that were not kept any more."),
        "shed": whole("Remembered flows that were not told, because of `rate`."),
        "resyncs": whole("How often what was lost could not be had again."),
        "syncs": whole("Whole states that were learnt."),
        "served": whole("Whole states and tables that were told."),
        "tracked_slots_told": whole("Tracked slots that others were told of."),
        "sync_seconds": nullable(number("How long the last learning of a whole state took; null: there was none.")),
    },
)

_SLOTS = {"here": nullable(whole("At this node; null: no such service.")), "there": nullable(whole("At the other."))}
_WORDS = nullable(array(text("A command, without its subject."), "What operators said; null: not known."))

DIFFERENCE = record(
    "Something in which another node differs from this one.",
    {
        "node": text("What the other calls itself."),
        "label": LABEL,
        "address": ENDPOINT,
        "service": nullable({**SERVICE, "description": "The service; null: the configuration as a whole."}),
        "since": number(f"Since when. {AT}"),
        "lasting": flag("Whether it is so for longer than a moment."),
        "causes": array(text("One.", values=Cause), "Why; an earlier one often explains the later ones.", least=1),
        "slots": record("How many slots it has.", _SLOTS),
        "health": array(
            record(
                "A backend that one takes for down, and the other for up.",
                {
                    "backend": ADDRESS,
                    "here": text("What this node says.", values=_HEALTH),
                    "there": text("What the other says.", values=_HEALTH),
                },
            ),
            "Backends of which they think differently.",
        ),
        "overrides": array(
            record("A backend.", {"backend": ADDRESS, "here": _WORDS, "there": _WORDS}),
            "Backends of which operators have not said the same.",
        ),
        "slow_start": array(ADDRESS, "Backends that gain their share."),
        "message": text("Why, in a sentence."),
        "mend": text("What to do about it; empty: nothing."),
    },
)

FLEET = record(
    "The other balancers, and in what they differ from this one.",
    {
        "well": flag("Whether all that were there are there, and do not differ for longer than a moment."),
        "nodes": array(NODE, "The nodes that are there, this one first.", least=1),
        "absent": array(ABSENT, "Those that were there within the last day."),
        "unheard": array(ENDPOINT, "Configured peers that have never been heard."),
        "keys": array(text("Its id.", pattern="^[0-9a-f]{8}$"), "The keys; the first one signs."),
        "group": nullable({**ENDPOINT, "description": "The multicast group; null: none."}),
        "peers": array(ENDPOINT, "The configured peers."),
        "trouble": text("Why nothing can be exchanged; empty: it can."),
        "waiting_for": array(text("One."), "While this node learns: what it waits for."),
        "learning": number("Seconds after which its routes are announced even so; 0: it has learnt."),
        "traffic": TRAFFIC,
        "differences": array(DIFFERENCE, "In what nodes differ, those that last first."),
        "more_differences": whole("How many there are beside these."),
        "lasting": whole("How many of all of them last for longer than a moment."),
        "missing": whole("How many nodes have fallen silent."),
    },
)

SCHEMAS: dict[str, Schema] = {"Fleet": FLEET}
