"""Every metric, once: what `/metrics` and the manual page say; rules and dashboards are held against it. Pure.

Names follow Prometheus's conventions: base units in the name, counters end in `_total`, facts in `_info`, what is yes
or no is 1 or 0; the sum or the mean over all labels means something. Clients' addresses are never a label.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.routing.bgp.notification import Code
from appliance.telemetry.failures import FAILURES
from appliance.telemetry.streams import Stream

PREFIX = "vc5_"
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets of a probe's duration, seconds; a last one takes the rest."""


class MetricType(StrEnum):
    """The types of Prometheus; UNKNOWN is for names of another time that break its rules."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"
    UNKNOWN = "unknown"


class Home(StrEnum):
    """Where a counter is kept, and so how long it goes on."""

    KERNEL = "in the kernel, for as long as the program is attached: over restarts of the daemon, even killed ones"
    PROGRAM = "in the kernel, until a program of another shape takes the place of this one"
    DISK = "in the state file, with the verdicts: over reboots"
    DAEMON = "in the daemon, until that is started anew"


@dataclass(frozen=True)
class Metric:
    """A metric: its full name, its type, one line of help, the names of its labels."""

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    home: Home = Home.DAEMON

    @property
    def short(self) -> str:
        """The name without the prefix: what it is called in a snapshot."""
        return self.name.removeprefix(PREFIX)


def _rows(type_: MetricType, home: Home = Home.DAEMON, labels: str = "", **helps: str) -> tuple[Metric, ...]:
    """Return metrics of one type that have the same labels, without the prefix."""
    return tuple(Metric(PREFIX + name, type_, text, tuple(labels.split()), home) for name, text in helps.items())


_COUNTER, _GAUGE = MetricType.COUNTER, MetricType.GAUGE
_BACKEND = "service backend"

OWN = (
    *_rows(MetricType.INFO, labels="version abi", build_info="The version of vc5, and of its tables in the kernel."),
    *_rows(_GAUGE, start_timestamp_seconds="When the daemon was started."),
    *_rows(
        MetricType.INFO,
        labels="service vip port protocol name",
        service_info="The parts of a service's name, and what the configuration calls it.",
    ),
)
TRAFFIC = (
    *_rows(
        _COUNTER,
        Home.KERNEL,
        _BACKEND,
        packets_total="Packets forwarded to a backend.",
        bytes_total="Bytes of IP forwarded to a backend.",
        flows_total="Flows that began at a backend.",
        drops_total="Packets for a backend that could not be sent to it.",
    ),
    *_rows(
        _COUNTER,
        Home.KERNEL,
        "service",
        service_packets_total="Packets forwarded to the backends of a service, former ones included.",
        service_bytes_total="Bytes of IP forwarded to the backends of a service, former ones included.",
        service_flows_total="Flows that began at the backends of a service, former ones included.",
        service_drops_total="Packets for a service that were dropped, for want of a backend or of a way to it.",
    ),
    *_rows(
        _COUNTER,
        Home.KERNEL,
        "reason",
        verdicts_total="Packets that left the program otherwise than to a backend, by reason.",
    ),
    *_rows(
        _COUNTER,
        Home.KERNEL,
        "decision",
        tracking_total="Packets whose flow was looked for or remembered, beside the reason for which they left.",
    ),
    *_rows(
        _COUNTER,
        labels="cause",
        misroutes_total="Connections that this node should know and does not, by what they are put down to.",
    ),
)
HEALTH = (
    *_rows(
        _GAUGE,
        labels=_BACKEND,
        backend_up="Whether checks find a backend well, 1 or 0.",
        backend_available="Whether a backend gets new flows, 1 or 0: it is well, enabled, needed, and can be reached.",
        backend_active_flows="About how many flows a backend has, where the service remembers all of them.",
    ),
    *_rows(
        _COUNTER,
        Home.DISK,
        _BACKEND,
        backend_transitions_total="How often the verdict on a backend has changed.",
    ),
    *_rows(
        _GAUGE,
        labels="service",
        service_up="Whether enough backends of a service are well, 1 or 0.",
        service_backends="Backends that a service has.",
        service_backends_available="Backends of a service that are well and enabled.",
        service_backends_needed="Backends that a service needs to be up.",
    ),
    *_rows(_GAUGE, labels="vip", vip_up="Whether a VIP is up, 1 or 0."),
    *_rows(
        MetricType.HISTOGRAM,
        Home.KERNEL,
        "kind",
        probe_duration_seconds="How long probes took, good and bad, by the type of check; one that is shared counts "
        "for each service.",
    ),
    *_rows(
        _COUNTER,
        Home.KERNEL,
        "kind reason",
        probe_failures_total="Probes that failed, by the type of check and the class of the failure.",
    ),
    *_rows(
        _GAUGE,
        prober_up="Whether results of probes arrive, 1 or 0; without them all verdicts stand.",
        health_frozen="Whether verdicts stand whatever checks say, 1 or 0: by an operator, or without a prober.",
        node_drained="Whether the whole node is drained (`vc5 drain --all`, or `leave` of a stop), 1 or 0.",
        node_withdrawn="Whether routers have no routes of this node because it is drained, 1 or 0.",
        node_detached="Whether the program is off the interfaces because the node is drained, 1 or 0.",
        isolated="Whether this node takes itself for cut off, 1 or 0: few backends answer, or others find most up.",
        outvoted_backends="Backends of services of which most nodes of the fleet say otherwise than this one finds.",
    ),
    *_rows(_COUNTER, prober_restarts_total="How often the prober had to be started again, or has come back."),
)
KERNEL = (
    *_rows(
        _GAUGE,
        labels="map",
        map_entries="Entries of a table of the data plane that are in use; of flows an estimate, with expired ones.",
        map_max_entries="Entries that there is room for in a table of the data plane.",
    ),
    *_rows(
        _COUNTER,
        Home.PROGRAM,
        "program",
        program_runs_total="Runs of a program, while kernel.bpf_stats_enabled is 1.",
        program_run_seconds_total="Processor time of a program, while kernel.bpf_stats_enabled is 1.",
    ),
    *_rows(_GAUGE, labels="interface", interface_attached="Whether the program is attached to an interface, 1 or 0."),
)
DAEMON = (
    *_rows(
        _GAUGE,
        sync_pending="Services whose tables do not yet follow the last verdicts.",
        event_loop_lag_seconds="The longest time that the daemon was busy at a stretch, of the last 10 to 20 seconds.",
        config_last_reload_success="Whether the last reload was accepted, 1 or 0.",
        config_last_reload_timestamp_seconds="When the configuration in force was read.",
    ),
    *_rows(_COUNTER, event_loop_stalls_total="How often the daemon was busy for more than 50 ms at a stretch."),
    *_rows(_COUNTER, Home.KERNEL, "outcome", config_reloads_total="Reloads by outcome: ok or refused."),
)
OUTLETS = (
    *_rows(
        _GAUGE,
        spool_bytes="Bytes that the log store takes on disk.",
        ship_lag_seconds="How old the oldest document is that Elasticsearch has not acknowledged; 0 with none.",
    ),
    *_rows(
        _COUNTER,
        spool_dropped_total="Events and results that the log store lost or could not send before they were too old.",
        ship_retries_total="Requests to Elasticsearch that had to be repeated.",
        dead_letter_documents_total="Documents that Elasticsearch refused for good; they are kept aside.",
    ),
    *_rows(_COUNTER, labels="stream", shipped_documents_total="Documents that Elasticsearch has acknowledged."),
    *_rows(
        _COUNTER,
        labels="outlet",
        alerts_sent_total="Messages that an outlet of alerts has taken.",
        alerts_failed_total="Messages that an outlet of alerts has not taken, after all attempts.",
    ),
)
"""What those count who send the log elsewhere."""
_PEER = "peer"
ROUTING = (
    *_rows(_GAUGE, bgp_learning_seconds="How long nothing is announced yet since the daemon was started (`learn`)."),
    *_rows(
        _GAUGE,
        labels=_PEER,
        bgp_session_up="Whether the BGP session with a router is established, 1 or 0.",
        bgp_pending_routes="Routes that a router is still to be told, or told otherwise, or that are withdrawn.",
        bgp_withheld_routes="VIPs that a router is not told, since they are down or filtered.",
        bfd_session_up="Whether BFD finds the way to a router well, 1 or 0; there where it is configured.",
    ),
    *_rows(_GAUGE, labels="peer state", bgp_session_state="Whether a BGP session is in a state, 1 or 0."),
    *_rows(_GAUGE, labels="peer family", bgp_advertised_routes="Routes that a router has been told."),
    *_rows(
        _COUNTER,
        labels="peer direction type",
        bgp_messages_total="BGP messages by direction (sent or received) and type.",
    ),
    *_rows(
        _COUNTER,
        labels="peer direction",
        bgp_bytes_total="Bytes of BGP messages.",
        bfd_packets_total="Packets of BFD.",
    ),
    *_rows(
        _COUNTER,
        labels="peer direction code",
        bgp_errors_total="Sessions that an error ended: the NOTIFICATION's code, or none where neither said one.",
    ),
    *_rows(
        _COUNTER,
        labels=_PEER,
        bgp_sessions_total="How often a BGP session was established.",
        bgp_attempts_total="How often a connection to a router was tried.",
        bgp_treated_as_withdraw_total="Malformed UPDATEs of a router that cost no session (RFC 7606).",
        bgp_ignored_routes_total="Routes that a router sent; none is ever installed.",
        bfd_dropped_packets_total="Packets of BFD in a router's name that were not taken.",
        bfd_flaps_total="How often BFD found the way to a router broken.",
    ),
)
WEB = (
    *_rows(
        _GAUGE,
        web_connections="Connections to the web server.",
        web_streams="Consoles that are open.",
    ),
    *_rows(
        _COUNTER, labels="reason", web_refused_total="What the web server did not answer as it was asked, by reason."
    ),
)
FLEET = (
    *_rows(
        _GAUGE,
        fleet_members="Other balancers of the fleet that are there.",
        fleet_missing="Balancers of the fleet that have fallen silent within the last day, and have not come back.",
        fleet_differences="Tables and configurations that differ from another balancer's, for longer than a moment.",
        fleet_learning="Whether this balancer waits for what the others know, 1 or 0, and announces nothing yet.",
        fleet_sync_seconds="How long it took to learn all that the others know, the last time.",
    ),
    *_rows(_GAUGE, labels="node address", fleet_heard_seconds="How long another balancer has been silent."),
    *_rows(
        _COUNTER,
        labels="direction",
        fleet_datagrams_total="Datagrams between balancers, by direction (sent or received).",
        fleet_bytes_total="Bytes of datagrams between balancers, without headers of UDP.",
        fleet_records_total="What balancers have told each other, in records.",
    ),
    *_rows(
        _COUNTER, labels="reason", fleet_refused_total="Datagrams from balancers, or so it seemed, that were not used."
    ),
    *_rows(
        _COUNTER,
        fleet_lost_total="Datagrams of other balancers that had to be asked for again.",
        fleet_repeated_total="Datagrams that other balancers asked for again.",
        fleet_shed_flows_total="Remembered flows that others were not told of, because of `rate`.",
        fleet_resyncs_total="How often what was lost could not be had again, and everything had to be asked for.",
        fleet_told_slots_total="Tracked slots that other balancers were told of.",
    ),
)
METRICS: tuple[Metric, ...] = (*OWN, *TRAFFIC, *HEALTH, *KERNEL, *DAEMON, *OUTLETS, *WEB, *ROUTING, *FLEET)

BY_NAME = {metric.short: metric for metric in METRICS}

BGP_CODES = tuple(str(int(code)) for code in Code)
"""The codes of NOTIFICATION messages."""
NO_CODE = "none"

VALUES: dict[str, tuple[str, ...]] = {
    "reloads": ("ok", "refused"),
    "streams": tuple(str(stream) for stream in Stream),
    "failures": FAILURES,
}
"""The values of labels that have few: all of them are there from the start, so that the first event is an increase."""
