"""The daemon's side of the telemetry process, as far as it needs none."""

from __future__ import annotations

from appliance.control.telemetry import TelemetryClient


def test_a_trouble_is_told_once_however_often_somebody_looks() -> None:
    told: list[tuple[str, str, str]] = []
    client = TelemetryClient(lambda *words: told.append(words))
    for _ in range(3):
        client.trouble("telemetry-place", "/var/lib/vc5: read-only")
    client._heard({"tell": "status", "shipper": {"trouble": "no answer"}})
    client._heard({"tell": "status", "shipper": {"trouble": "still none"}})
    assert told == [("telemetry-place", "/var/lib/vc5: read-only", "began"), ("shipper", "no answer", "began")]
    assert client.troubles() == ["still none", "/var/lib/vc5: read-only"]
    client._heard({"tell": "status"})
    client.trouble("telemetry-place", "")
    assert told[2:] == [("shipper", "still none", "over"), ("telemetry-place", "/var/lib/vc5: read-only", "over")]
    assert client.troubles() == []
