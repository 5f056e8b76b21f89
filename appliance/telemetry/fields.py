"""Every field of every document, once: templates, dashboards and pages are made of this table or held against it. Pure.

Names and types are those of the Elastic Common Schema 8.11
where it has any, but `keyword` stands for `constant_keyword` and `wildcard`, and `text` for `match_only_text`, which
not every server has. What has no home there is under `vc5.`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.telemetry.streams import Stream

ECS_VERSION = "8.11.0"
BOTH = (Stream.PROBE, Stream.EVENT)
PROBE = (Stream.PROBE,)
EVENT = (Stream.EVENT,)


class FieldType(StrEnum):
    """The types of Elasticsearch that are used."""

    KEYWORD = "keyword"
    TEXT = "text"
    IP = "ip"
    LONG = "long"
    DOUBLE = "double"
    DATE = "date"
    BOOLEAN = "boolean"
    FLATTENED = "flattened"


@dataclass(frozen=True)
class Field:
    """A field: its full name, its type, which documents have it, what it says."""

    name: str
    type: FieldType
    streams: tuple[Stream, ...]
    about: str


def _fields(type_: FieldType, streams: tuple[Stream, ...], **about: str) -> tuple[Field, ...]:
    """Return fields of one type; a double underscore stands for the dot between the parts of a name."""
    return tuple(Field(name.replace("__", "."), type_, streams, text) for name, text in about.items())


FIELDS: tuple[Field, ...] = (
    Field("@timestamp", FieldType.DATE, BOTH, "When it happened; of a probe, when it ended."),
    *_fields(FieldType.TEXT, BOTH, message="What happened, in words."),
    *_fields(
        FieldType.KEYWORD,
        BOTH,
        data_stream__type="Always logs.",
        data_stream__dataset="vc5.probe or vc5.event.",
        data_stream__namespace="The last part of the data stream's name.",
        ecs__version="The version of the Elastic Common Schema.",
        event__id="The document's own id; the same whenever it is sent again.",
        event__kind="event, state (a change), alert (an alarm) or metric (traffic).",
        event__category="network, or configuration, or host.",
        event__type="info, change, start, end, error.",
        event__dataset="vc5.probe or vc5.event.",
        event__module="Always vc5.",
        event__action="probe; else the kind of the event, a hyphen and its outcome: backend-down, reload-refused.",
        event__outcome="success, failure or unknown.",
        observer__hostname="The name of the balancer's host.",
        observer__name="What the balancer calls itself (host_id).",
        observer__type="Always load-balancer.",
        observer__product="Always vc5.",
        observer__version="The version of vc5.",
        service__name="The service: 203.0.113.10:443/tcp.",
        network__transport="tcp or udp.",
        network__type="ipv4 or ipv6: the family of the VIP.",
        vc5__kind="What the event is about: probe, backend, service, vip, interface, bgp, bfd, fleet, daemon, "
        "reload, operator, alarm, traffic (what a service carried in a minute, or how it stood with a router).",
        vc5__outcome="Of a probe ok, wrong-answer or no-answer; of an event what it came to: up, down, established, "
        "refused, malformed, began, joined, gone, synced.",
    ),
    *_fields(FieldType.LONG, BOTH, event__sequence="Counts the documents of one balancer, without gaps."),
    *_fields(
        FieldType.IP,
        BOTH,
        destination__ip="The VIP.",
        server__ip="The backend.",
    ),
    *_fields(FieldType.LONG, BOTH, destination__port="The port of the service."),
    *_fields(
        FieldType.LONG,
        PROBE,
        event__duration="How long the probe took, in nanoseconds.",
        http__response__status_code="The HTTP status.",
        vc5__check__index="Which of the service's checks, from 0.",
        vc5__timing__connect_ns="From the SYN to the established connection, in nanoseconds.",
        vc5__timing__tls_ns="The TLS handshake, in nanoseconds.",
        vc5__timing__first_byte_ns="From the request to the first byte of the answer, in nanoseconds.",
    ),
    *_fields(
        FieldType.KEYWORD,
        PROBE,
        tls__version="The version of TLS: 1.3.",
        tls__version_protocol="Always tls.",
        error__type="The class of the failure: refused, reset, timeout, unreachable, tls, certificate, status, "
        "content, protocol, closed, other.",
        vc5__check__kind="The type of the check: http, https, tcp, syn, dns, udp, grpc, icmp.",
    ),
    *_fields(FieldType.TEXT, PROBE, error__message="Why the probe failed, in words."),
    *_fields(FieldType.DATE, PROBE, tls__server__not_after="When the server's certificate ends."),
    *_fields(FieldType.DOUBLE, PROBE, vc5__certificate__days_left="Days until then; negative when it has ended."),
    *_fields(
        FieldType.KEYWORD,
        EVENT,
        event__reason="Why.",
        service__state="up or down (of a service, with its traffic).",
        vc5__before="What it was before: up, down, unknown.",
        vc5__interface="The interface concerned.",
        vc5__bgp__state="The state of the BGP session: idle, connect, active, open-sent, open-confirm, established, "
        "stopped.",
        vc5__bgp__group="The group of the router, where it has one.",
        vc5__bgp__router_id="What the router calls itself, where it has said so.",
        vc5__bgp__direction="Who found fault: sent (this balancer), received (the router), local (neither).",
        vc5__bgp__hex="The bytes that an error is about, as hexadecimal digits; not searched where there are many.",
        vc5__bfd__state="What BFD finds: up, down, init, admin-down.",
        vc5__bfd__remote_state="What the router's BFD finds.",
        vc5__bfd__diagnostic="Why BFD changed its mind last.",
        vc5__fleet__node="What another balancer of the fleet calls itself.",
        vc5__fleet__version="Its version of vc5.",
        vc5__fleet__state="What it does: learning, ready, draining, leaving.",
    ),
    *_fields(
        FieldType.LONG,
        EVENT,
        event__severity="How grave, 0 (emergency) to 7 (debug), as in syslog.",
        vc5__backends__up="How many backends of the service receive flows.",
        vc5__backends__total="How many backends the service has.",
        vc5__traffic__packets="Packets to backends in that minute.",
        vc5__traffic__octets="Bytes to backends in that minute.",
        vc5__traffic__flows="Flows that began in that minute.",
        vc5__traffic__drops="Packets of the service that were dropped in that minute.",
        vc5__traffic__active="Flows that there are, where that is known.",
        vc5__bgp__local_as="The AS of this balancer, for that router.",
        vc5__bgp__remote_as="The AS of the router, where it is known.",
        vc5__bgp__code="The code of the NOTIFICATION that ended a session (RFC 4271 section 4.5).",
        vc5__bgp__subcode="Its subcode.",
        vc5__bgp__lasted_ns="How long the session that is over was established, in nanoseconds.",
        vc5__bgp__routes__advertised="Routes that the router has been told.",
        vc5__bgp__routes__pending="Routes that it is still to be told, or that are to be withdrawn.",
        vc5__bgp__routes__withheld="VIPs that it is not told.",
        vc5__bfd__detection_ns="For how long the router may be silent before BFD finds it down, in nanoseconds.",
        vc5__bfd__flaps="How often BFD found it down so far.",
    ),
    *_fields(FieldType.IP, EVENT, vc5__peer="The router concerned, or the other balancer."),
    *_fields(FieldType.FLATTENED, EVENT, vc5__details="What else there is to say; not searched by number."),
)
