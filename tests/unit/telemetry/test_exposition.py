"""From a snapshot to text: what Prometheus's own library reads out of it again, and what its checker says of it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.routing.status import RoutingStatus
from appliance.telemetry.compat import COMPAT
from appliance.telemetry.exposition import OPENMETRICS, exposition
from appliance.telemetry.fleet import fleet_numbers
from appliance.telemetry.metrics import METRICS
from appliance.telemetry.readings import merged
from appliance.telemetry.routing import routing_numbers
from tests.lab.scraping import families
from tests.unit.fleet.fleets import HOSTILE, TROUBLED, WELL
from tests.unit.routing.samples import ROUTING
from tests.unit.telemetry.snapshots import SAMPLE, TLS6, WEB, backend, service, snapshot

Series = dict[tuple[Any, ...], float]


def series(told: dict[str, Any], accept: str = "") -> Series:
    """Return all series by name and the values of their labels, sorted by the labels' names."""
    body, _ = exposition(told, accept)
    read = families(body.decode(), openmetrics=accept != "")
    return {
        (sample.name, *(text for _, text in sorted(sample.labels.items()))): sample.value
        for family in read
        for sample in family.samples
    }


def test_what_a_snapshot_becomes() -> None:
    found = series(SAMPLE)
    expected: Series = {
        ("vc5_build_info", "abc", "1.2"): 1,
        ("vc5_start_timestamp_seconds",): 100,
        ("vc5_service_info", "shop", "80", "tcp", WEB, "203.0.113.10"): 1,
        ("vc5_packets_total", "10.1.10.11", WEB): 10,
        ("vc5_bytes_total", "10.1.10.11", WEB): 1000,
        ("vc5_flows_total", "10.1.10.11", WEB): 2,
        ("vc5_drops_total", "2001:db8::11", TLS6): 1,
        ("vc5_service_packets_total", WEB): 11,
        ("vc5_service_bytes_total", WEB): 1100,
        ("vc5_service_up", TLS6): 0,
        ("vc5_service_backends", WEB): 2,
        ("vc5_service_backends_available", WEB): 1,
        ("vc5_service_backends_needed", WEB): 1,
        ("vc5_backend_up", "10.1.10.12", WEB): 0,
        ("vc5_backend_transitions_total", "10.1.10.12", WEB): 3,
        ("vc5_backend_active_flows", "10.1.10.11", WEB): 5,
        ("vc5_vip_up", "203.0.113.10"): 1,
        ("vc5_verdicts_total", "no-backend"): 7,
        ("vc5_probe_duration_seconds_bucket", "http", "0.0005"): 0,
        ("vc5_probe_duration_seconds_bucket", "http", "0.001"): 4,
        ("vc5_probe_duration_seconds_bucket", "http", "10.0"): 4,
        ("vc5_probe_duration_seconds_bucket", "http", "+Inf"): 5,
        ("vc5_probe_duration_seconds_count", "http"): 5,
        ("vc5_probe_duration_seconds_sum", "http"): 12.004,
        ("vc5_probe_failures_total", "http", "timeout"): 1,
        ("vc5_probe_failures_total", "http", "refused"): 0,
        ("vc5_config_reloads_total", "refused"): 0,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert ("vc5_backend_active_flows", "10.1.10.12", WEB) not in found, "where it is not known, it is not said"
    assert [key for key in found if key[0].startswith(("vc5_bgp", "vc5_bfd"))] == []


def test_openmetrics_says_the_same() -> None:
    told = {**SAMPLE, "compat": True}
    assert series(told, OPENMETRICS) == series(told)
    body, content_type = exposition(told, OPENMETRICS)
    assert body.endswith(b"# EOF\n")
    assert content_type.startswith(OPENMETRICS)
    assert exposition(told)[1].startswith("text/plain; version=0.0.4")


def test_without_backends() -> None:
    found = series({**SAMPLE, "backends": False, "compat": True})
    assert [key for key in found if "10.1.10.11" in " ".join(key)] == []
    assert found["vc5_service_packets_total", WEB] == 11


def test_what_others_count() -> None:
    numbers = {"spool_bytes": 4096, "alerts_sent_total": {"slack": 3}, "shipped_documents_total": {"probe": 7}}
    odd: dict[str, Any] = {"bgp_session_up": {"10.0.0.1": {"a": 1}}, "of_nobody": 1, "ship_lag_seconds": {"a": 1}}
    odd |= {"alerts_failed_total": {}, "ship_retries_total": None, "bgp_messages_total": {"10.0.0.1": {"sent": 1}}}
    found = series(merged(SAMPLE, numbers | odd))
    assert found["vc5_spool_bytes",] == 4096
    assert found["vc5_alerts_sent_total", "slack"] == 3
    assert found["vc5_shipped_documents_total", "probe"] == 7
    assert found.keys() - series(SAMPLE).keys() == {
        ("vc5_spool_bytes",),
        ("vc5_alerts_sent_total", "slack"),
        ("vc5_shipped_documents_total", "probe"),
    }


def test_what_routers_are_told() -> None:
    found = series(merged(SAMPLE, routing_numbers(ROUTING)))
    expected: Series = {
        ("vc5_bgp_session_up", "10.1.10.252"): 1,
        ("vc5_bgp_session_up", "10.1.10.253"): 0,
        ("vc5_bgp_session_state", "10.1.10.253", "idle"): 1,
        ("vc5_bgp_session_state", "10.1.10.253", "established"): 0,
        ("vc5_bgp_advertised_routes", "ipv4", "10.1.10.252"): 1,
        ("vc5_bgp_advertised_routes", "ipv6", "10.1.10.253"): 0,
        ("vc5_bgp_pending_routes", "2001:db8:10::252"): 1,
        ("vc5_bgp_withheld_routes", "10.1.10.253"): 3,
        ("vc5_bgp_messages_total", "sent", "10.1.10.252", "keepalive"): 31262,
        ("vc5_bgp_messages_total", "received", "10.1.10.252", "refresh"): 1,
        ("vc5_bgp_bytes_total", "received", "10.1.10.252"): 593900,
        ("vc5_bgp_sessions_total", "2001:db8:10::252"): 6,
        ("vc5_bgp_attempts_total", "10.1.10.253"): 12,
        ("vc5_bgp_errors_total", "2", "sent", "10.1.10.253"): 12,
        ("vc5_bgp_errors_total", "none", "local", "10.1.10.253"): 3,
        ("vc5_bgp_errors_total", "6", "received", "10.1.10.252"): 0,
        ("vc5_bgp_treated_as_withdraw_total", "2001:db8:10::252"): 2,
        ("vc5_bgp_ignored_routes_total", "10.1.10.252"): 3,
        ("vc5_bfd_session_up", "10.1.10.252"): 1,
        ("vc5_bfd_session_up", "2001:db8:10::252"): 0,
        ("vc5_bfd_packets_total", "received", "10.1.10.252"): 354990,
        ("vc5_bfd_dropped_packets_total", "10.1.10.252"): 2,
        ("vc5_bfd_flaps_total", "2001:db8:10::252"): 4,
        ("vc5_bgp_learning_seconds",): 0,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert ("vc5_bfd_session_up", "10.1.10.254") not in found, "where it is not configured, it is not said"
    states = [key for key in found if key[0] == "vc5_bgp_session_state"]
    assert sum(found[key] for key in states) == len(ROUTING.peers)
    errors = [key for key in found if key[0] == "vc5_bgp_errors_total" and key[3] == "10.1.10.254"]
    assert len(errors) == 2 * 8 + 1
    assert routing_numbers(RoutingStatus("10.1.10.5")) == {}


def test_what_is_told_of_a_fleet() -> None:
    found = series({**SAMPLE, "numbers": fleet_numbers(TROUBLED)})
    expected: Series = {
        ("vc5_fleet_members",): 2,
        ("vc5_fleet_missing",): 1,
        ("vc5_fleet_differences",): 3,
        ("vc5_fleet_learning",): 0,
        ("vc5_fleet_heard_seconds", "10.1.1.2:9876", "lb2"): 0.3,
        ("vc5_fleet_heard_seconds", "10.1.1.3:9876", HOSTILE): 0.3,
        ("vc5_fleet_bytes_total", "sent"): 12_400_000,
        ("vc5_fleet_records_total", "received"): 10_240,
        ("vc5_fleet_refused_total", "key"): 12,
        ("vc5_fleet_refused_total", "replayed"): 0,
        ("vc5_fleet_told_slots_total",): 1365,
        ("vc5_fleet_sync_seconds",): 0.42,
    }
    assert {key: found.get(key) for key in expected} == expected
    twice = replace(WELL, members=(WELL.members[0], replace(WELL.members[1], name="lb2")))
    names = [key for key in series({**SAMPLE, "numbers": fleet_numbers(twice)}) if key[0] == "vc5_fleet_heard_seconds"]
    assert len(names) == 2, "two nodes of one name are two series"
    assert fleet_numbers(None) == {}


def test_every_metric_can_be_told() -> None:
    """None is in the table that nothing tells of."""
    numbers = {one.short: 1 for one in METRICS if not one.labels} | routing_numbers(ROUTING) | fleet_numbers(TROUBLED)
    numbers |= {one.short: {"some": 1} for one in METRICS if len(one.labels) == 1 and one.short not in numbers}
    body = exposition({**merged(numbers={**numbers, **SAMPLE["numbers"]}, snapshot=SAMPLE), "compat": True})[0].decode()
    told = {line.split()[2] for line in body.splitlines() if line.startswith("# HELP")}
    assert told == {one.name for one in (*METRICS, *COMPAT)}


def test_earlier_names() -> None:
    found = series({**SAMPLE, "compat": True})
    name = "203.0.113.10:tcp:80"
    expected: Series = {
        ("vc5_uptime",): 900,
        ("vc5_toobig",): 5,
        ("vc5_rx_packets",): 13,
        ("vc5_session_total",): 5,
        ("vc5_sessions",): 5,
        ("vc5_vip_status", "203.0.113.10"): 1,
        ("vc5_vip_status_duration", "up", "203.0.113.10"): 10,
        ("vc5_service_sessions_total", "shop", name): 3,
        ("vc5_service_status_duration", "", "2001:db8::10:tcp:443", "down"): 50,
        ("vc5_backend_rx_octets", "10.1.10.11:80", "shop", name): 1000,
        ("vc5_backend_status", "10.1.10.12:80", "shop", name): 0,
        ("vc5_backend_status_duration", "10.1.10.12:80", "shop", name, "down"): 40,
        ("xvs_global_octets",): 1240,
        ("xvs_global_no_backend",): 7,
        ("xvs_global_too_big",): 5,
        ("xvs_virtual_packets", "203.0.113.10"): 11,
        ("xvs_service_flows", "203.0.113.10", "80", "tcp", "203.0.113.10:80:tcp"): 3,
        ("xvs_destination_current", "203.0.113.10", "10.1.10.11", "80", "tcp", "203.0.113.10:80:tcp"): 5,
    }
    assert {key: found.get(key) for key in expected} == expected
    placeholders = [key for key in found if "defcon" in key[0] or "reserves_used" in key[0]]
    assert placeholders == []
    assert [key for key in series(SAMPLE) if key[0] in {one.name for one in COMPAT}] == []


def test_latency_is_told_where_the_kernel_measures() -> None:
    numbers = {"program_runs_total": {"vc5_main": 4}, "program_run_seconds_total": {"vc5_main": 2e-7}}
    assert series({**merged(SAMPLE, numbers), "compat": True})["vc5_latency",] == 50


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="there is no promtool; `tests/setup.sh servers` installs it"
)
@pytest.mark.parametrize("compat", [False, True])
def test_promtool_has_nothing_to_say(compat: bool) -> None:
    body, _ = exposition({**SAMPLE, "compat": compat})
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    wrong = body.replace(b"vc5_flows_total", b"vc5_flows")
    assert subprocess.run(["promtool", "check", "metrics"], input=wrong, capture_output=True).returncode


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=20))
def test_a_name_cannot_forge_a_line(name: str) -> None:
    told = snapshot(service(WEB, backend("10.1.10.11"), name=name), compat=True)
    body, _ = exposition(told)
    plain, _ = exposition(snapshot(service(WEB, backend("10.1.10.11")), compat=True))
    assert body.count(b"\n") == plain.count(b"\n")
    if not set(name) & set(
        "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
    ):  # its reader splits at what only it takes for a line
        assert ("vc5_service_info", name, "80", "tcp", WEB, "203.0.113.10") in series(told)
