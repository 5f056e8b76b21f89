"""What the daemon counts outlives it, exactly, and never becomes smaller."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.control import tally
from appliance.control.tally import Tally
from appliance.dataplane.pins import TALLY
from appliance.model import CheckKind, Outcome
from appliance.telemetry.metrics import BUCKETS, VALUES
from tests.lab.bpffs import ensure_bpffs


@pytest.fixture
def pins() -> Iterator[Path]:
    ensure_bpffs()
    place = Path(f"/sys/fs/bpf/vc5-tally-{os.getpid()}")
    yield place
    shutil.rmtree(place, ignore_errors=True)


def probe(one: Tally, kind: CheckKind = CheckKind.HTTP, words: str = "", ns: int = 3_000_000) -> None:
    one.probe(kind, Outcome.NONE if words else Outcome.OK, words, ns)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (0.0005, 0), (0.000500001, 1), (0.001, 1), (0.3, 9), (10.0, 13), (10.1, 14), (86_400.0, 14)],
)
def test_buckets(seconds: float, bucket: int) -> None:
    one = Tally()
    probe(one, CheckKind.ICMP, ns=round(seconds * 1e9))
    told = one.probes().get("icmp")
    assert told == {
        "buckets": [int(at == bucket) for at in range(len(BUCKETS) + 1)],
        "sum_ns": round(seconds * 1e9),
        "failures": {},
    }


def test_kinds_and_reasons_have_counts_of_their_own() -> None:
    one = Tally()
    assert one.probes() == {}
    words = {"timeout": "timeout", "refused": "connection refused", "status": "HTTP 503, expected 200"}
    for count, kind in enumerate(CheckKind, 1):
        for text in words.values():
            for _ in range(count):
                probe(one, kind, text)
    told = one.probes()
    assert list(told) == [str(kind) for kind in CheckKind]
    for count, kind in enumerate(CheckKind, 1):
        assert told[kind]["failures"] == dict.fromkeys(sorted(words, key=VALUES["failures"].index), count)
        assert sum(told[kind]["buckets"]) == 3 * count
    assert one.reloads() == {"ok": 0, "refused": 0}
    one.reload("refused")
    assert one.reloads() == {"ok": 0, "refused": 1}


@pytest.mark.root
def test_another_process_goes_on_where_a_killed_one_was(pins: Path) -> None:
    before = Tally()
    probe(before)
    before.keep(pins)
    child = os.fork()
    if not child:
        one = Tally()
        one.keep(pins)
        probe(one, words="timeout")
        one.reload("ok")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    after = Tally()
    after.keep(pins)
    assert before.trouble == after.trouble == ""
    assert before.probes() == after.probes()
    assert after.probes()["http"]["failures"] == {"timeout": 1}
    assert after.probes()["http"]["sum_ns"] == 6_000_000
    assert after.reloads() == {"ok": 1, "refused": 0}
    shutil.rmtree(pins)
    probe(after)  # as long as it is there, it counts


@pytest.mark.root
def test_a_version_that_counts_something_else_begins_anew(pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    former = Tally()
    former.keep(pins)
    probe(former)
    monkeypatch.setattr(tally, "layout", lambda: "another")
    one = Tally()
    one.keep(pins)
    assert (one.probes(), one.trouble) == ({}, "")
    assert [pin.name for pin in (pins / TALLY).iterdir()] == ["another"]


@pytest.mark.root
def test_where_nothing_can_be_pinned_it_counts_in_memory(tmp_path: Path) -> None:
    one = Tally()
    one.keep(tmp_path)
    probe(one)
    assert one.trouble.startswith("the counts of probes will begin anew with the next daemon: ")
    assert sum(one.probes()["http"]["buckets"]) == 1


@pytest.mark.root
def test_a_map_that_is_not_ours_is_not_used(pins: Path) -> None:
    from appliance.dataplane.kernel import Map
    from appliance.dataplane.spec import MapKind, MapSpec

    place = pins / TALLY / tally.layout()
    place.parent.mkdir(parents=True)
    with Map.create(MapSpec("other", MapKind.ARRAY, 4, 8, 1)) as other:
        other.pin(place)
    one = Tally()
    one.keep(pins)
    probe(one)
    assert one.trouble == ""
    again = Tally()
    again.keep(pins)
    assert again.probes() == one.probes()
