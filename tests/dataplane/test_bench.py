"""The benchmark frame measures what it says: fresh headers, distinct flows, the right path."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.dataplane.compile import compile_text
from appliance.dataplane.kernel import Map, Program, Verdict
from appliance.dataplane.spec import MapKind, MapSpec, relocate
from bench import figures, process, report
from bench.driver import Case, Driver, Timing, link
from bench.traffic import ETHERNET, IPV4, MAX_FLOWS, Traffic, ones_sum, tcp4, udp4

VIPS = tuple(IPv4Address("203.0.113.0") + number for number in range(4))

# Counts packets by source and destination; DROP for headers that another packet has touched, or with a wrong checksum.
INSPECTOR = """
#include <linux/if_ether.h>
#include <linux/ip.h>
static void *(*find)(u64 map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*store)(u64 map, const void *key, const void *value, u64 flags) = (void *)BPF_FUNC_map_update_elem;
int inspector(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct iphdr *ip = data + ETH_HLEN;
    u64 key, first = 1, *count;
    u32 sum = 0;
    if ((void *)(ip + 1) > end || ip->ttl != 64) return XDP_DROP;
#pragma unroll
    for (int word = 0; word < 10; word++) sum += ((u16 *)ip)[word];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    if (sum != 0xffff) return XDP_DROP;
    key = (u64)ip->saddr << 32 | ip->daddr;
    count = find(bpf_pseudo_fd(1, 1), &key);
    if (count) ++*count; else store(bpf_pseudo_fd(1, 1), &key, &first, 0);
    ip->ttl = 1;
    ip->check = 0;
    return XDP_TX;
}
static long (*adjust_head)(struct xdp_md *ctx, int delta) = (void *)BPF_FUNC_xdp_adjust_head;
int grower(struct xdp_md *ctx) { return adjust_head(ctx, -20) ? XDP_DROP : XDP_TX; }
"""


@pytest.fixture(scope="module")
def code() -> dict[str, bytes]:
    return compile_text(INSPECTOR, ["inspector", "grower"]).code


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    with Driver(tcp4(VIPS, 80)) as made:
        yield made


@pytest.mark.root
@pytest.mark.parametrize(
    ("flows", "batches", "each"), [(1, 3, {96}), (100, 25, {8}), (4096, 128, {1}), (4096, 192, {1, 2})]
)
def test_each_packet_is_fresh_and_each_flow_another(
    driver: Driver, code: dict[str, bytes], flows: int, batches: int, each: set[int]
) -> None:
    with (
        Map.create(MapSpec("seen", MapKind.HASH, 8, 8, 8192)) as seen,
        Program.load("inspector", relocate(code["inspector"], {1: seen.fd})) as inspector,
    ):
        driver.run(Case(f"inspect {flows} {batches}", inspector, flows), batches)
        counts = [int.from_bytes(seen.lookup(key) or b"", sys.byteorder) for key in list(seen.keys())]
        assert len(counts) == flows
        assert set(counts) == each
        assert sum(counts) == batches * 32


@pytest.mark.root
def test_flows_go_on_where_they_left_off(driver: Driver, code: dict[str, bytes]) -> None:
    with (
        Map.create(MapSpec("seen", MapKind.HASH, 8, 8, 8192)) as seen,
        Program.load("inspector", relocate(code["inspector"], {1: seen.fd})) as inspector,
    ):
        case = Case("goes on", inspector, MAX_FLOWS)
        for _ in range(4):
            driver.run(case, 16)
            driver.run(Case("another", driver.idle, 7), 16)
        assert len(list(seen.keys())) == 4 * 16 * 32


@pytest.mark.root
def test_a_header_put_on_is_taken_off_again(driver: Driver, code: dict[str, bytes]) -> None:
    with Program.load("grower", code["grower"]) as grower:
        # Without the driver's help the headroom is used up after a dozen packets.
        driver.run(Case("grow", grower, 10), 10)


@pytest.mark.root
def test_the_wrong_path_is_not_measured(driver: Driver) -> None:
    with pytest.raises(ValueError, match="answers TX, not PASS"):
        driver.measure([Case("idle", driver.idle, 1, Verdict.PASS)], rounds=1)
    with pytest.raises(ValueError, match="0 flows"):
        driver.run(Case("none", driver.idle, 0), 1)


@pytest.mark.root
def test_measuring_gives_a_timing_for_each_case(driver: Driver) -> None:
    cases = [Case("one", driver.idle, 1), Case("many", driver.idle, 1000, warm=True)]
    cases.append(Case("seldom", driver.idle, 1, every=4))
    times = driver.measure(cases, rounds=5, round_ns=100_000)
    assert {label: len(time.samples) for label, time in times.items()} == {"one": 5, "many": 5, "seldom": 2}
    assert all(0 < time.low <= time.median <= time.high for time in times.values())


def timing(*samples: float) -> Timing:
    return Timing(sorted(samples)[len(samples) // 2], min(samples), max(samples), samples)


@pytest.mark.parametrize(
    ("ours", "floor", "ratio"),
    [
        (timing(30, 30, 30), timing(20, 20, 20), 1.5),
        # The machine is slow for a while, for both; then for one sample only.
        (timing(30, 60, 90, 30, 30), timing(20, 40, 60, 20, 20), 1.5),
        (timing(30, 30, 90, 30, 30), timing(20, 20, 20, 20, 80), 1.5),
    ],
)
def test_a_ratio_is_that_of_the_rounds(ours: Timing, floor: Timing, ratio: float) -> None:
    assert ours.over(floor).median == pytest.approx(ratio)


@pytest.mark.parametrize("traffic", [tcp4(VIPS, 80), udp4(VIPS, 80)])
def test_templates_have_right_checksums_and_one_sum(traffic: Traffic) -> None:
    assert {len(frame) for frame in traffic.frames} == {60}
    assert {ones_sum(frame[ETHERNET : ETHERNET + IPV4]) for frame in traffic.frames} == {0xFFFF}
    assert len({frame[30:34] for frame in traffic.frames}) == len(VIPS)
    assert 0 <= traffic.sum() <= 0xFFFF
    with pytest.raises(ValueError, match="no power of two"):
        tcp4(VIPS[:3], 80)

    traffic = tcp4(VIPS, 80)
    broken = Traffic((traffic.frames[0], traffic.frames[1].replace(b"\x40\x00\x40", b"\x40\x00\x41")), 54, 26, 24)
    with pytest.raises(ValueError, match="sums differ"):
        broken.sum()


def test_a_driver_without_its_call_is_refused() -> None:
    with pytest.raises(ValueError, match="calls no subprogram"):
        link(bytes(16), bytes(16))


@pytest.mark.parametrize(
    ("row", "ok", "cells"),
    [
        (report.Row("a", 3.0, "ns"), None, ["a", "3", "ns"]),
        (report.Row("a", 3.0, "ns", limit=3), True, ["a", "3", "ns", "3 value", "ok"]),
        (report.Row("a", 3.0, "ns", floor=2.0), None, ["a", "3", "ns", "2", "1.50"]),
        (report.Row("a", 3.0, "ns", floor=2.0, limit=1.6, limit_on="ratio"), True, ["1.50", "1.6 ratio", "ok"]),
        (report.Row("a", 4.0, "ns", floor=2.0, limit=1.6, limit_on="ratio"), False, ["2.00", "1.6 ratio", "TOO MUCH"]),
        (report.Row("a", 4.0, "ns", {}, 2.0, 1.6, "ratio", paired=1.5), True, ["1.50", "1.6 ratio", "ok"]),
        (report.Row("a", 4.0, "ns", {"flows": 10}, limit=1.6, limit_on="ratio"), False, ["flows=10", "TOO MUCH"]),
    ],
)
def test_rows_are_judged_and_shown(row: report.Row, ok: bool | None, cells: list[str]) -> None:
    assert row.ok is ok
    line = report.table([row]).splitlines()[1]
    assert all(cell in line for cell in cells)
    json_row = row.as_json()
    assert ("ok" in json_row) == (ok is not None)
    assert ("ratio" in json_row) == (row.floor is not None)


def test_the_file_says_which_machine_and_commit(tmp_path: Path) -> None:
    rows = [report.Row("a", 1 / 3, "ns", {"mode": "simple"}, 1 / 4, 1.6, "ratio", {"spread": [1 / 3, 2 / 3]})]
    report.write(rows, 0.25, tmp_path / "build" / "bench.json")
    document = json.loads((tmp_path / "build" / "bench.json").read_text())
    assert set(document["machine"]) == {"cpu", "cores", "kernel", "jit"}
    assert document["load"] == 0.25
    assert document["measurements"] == [
        {
            "name": "a",
            "labels": {"mode": "simple"},
            "value": 0.3333,
            "unit": "ns",
            "floor": 0.25,
            "ratio": 1.3333,
            "limit": 1.6,
            "limit_on": "ratio",
            "ok": True,
            "spread": [0.3333, 0.6667],
        }
    ]


def measured(figure: figures.Figure) -> dict[str, object]:
    row = report.Row(figure.name, 1 / 3, "ms", {"other": 1, **figure.labels}, limit=0.25)
    return row.as_json()


def document(rows: list[dict[str, object]]) -> dict[str, object]:
    machine = {"cpu": "a processor", "cores": 2, "kernel": "6.1", "jit": True}
    return {"machine": machine, "commit": "", "load": 0.1, "measurements": rows}


def table_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_figures_become_a_table_with_a_line_for_each() -> None:
    rows = [measured(figure) for figure in figures.FIGURES]
    text = figures.block(document(rows))
    assert text.startswith("a processor, 2 cores, kernel 6.1, BPF compiled; before the run")
    head, rule, *lines = table_of(text)
    assert head == list(figures.HEADER)
    assert {len(line) for line in (rule, *lines)} == {len(figures.HEADER)}
    assert [line[0] for line in lines] == [figure.title for figure in figures.FIGURES]
    assert lines[0][1:] == ["0.333 ms", "", "", "0.25 ms **exceeded**"]
    with pytest.raises(ValueError, match=f"no figure {figures.FIGURES[-1].name}"):
        figures.block(document(rows[:-1]))


def test_figures_take_the_place_of_former_ones(tmp_path: Path) -> None:
    json_file, text_file = tmp_path / "bench.json", tmp_path / "README.md"
    json_file.write_text(json.dumps(document([measured(figure) for figure in figures.FIGURES])))
    text_file.write_text(f"before\n{figures.BEGIN}\nformer text\n{figures.END}\nafter\n")
    for _ in range(2):
        figures.publish(json_file, text_file)
        text = text_file.read_text()
        assert text.startswith(f"before\n{figures.BEGIN}\na processor")
        assert text.endswith(f"|\n{figures.END}\nafter\n")
        assert "former text" not in text


@pytest.mark.parametrize(
    "text", ["", figures.BEGIN, f"{figures.END}{figures.BEGIN}", f"{figures.BEGIN}{figures.END}" * 2]
)
def test_a_document_without_a_place_for_figures_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="there must be one"):
        figures.replaced(text, "new")


def test_the_readme_has_the_figures_as_they_are_rendered() -> None:
    text = (report.ROOT / "README.md").read_text(encoding="utf-8")
    published = text.partition(figures.BEGIN)[2].partition(figures.END)[0]
    assert figures.replaced(text, published.strip("\n")) == text
    head, _, *lines = table_of(published)
    assert head == list(figures.HEADER)
    assert [line[0] for line in lines] == [figure.title for figure in figures.FIGURES]
    assert {len(line) for line in lines} == {len(figures.HEADER)}
    assert not [line for line in lines if not line[1]]


def test_what_a_process_uses_is_what_the_kernel_says() -> None:
    found = process.memory(os.getpid())
    assert found["VmRSS"] == pytest.approx(found["RssAnon"] + found["RssFile"] + found["RssShmem"], rel=0.1)
    assert found["VmRSS"] <= found["VmHWM"] * 1.1
    before = process.cpu_seconds(os.getpid())
    while (used := process.cpu_seconds(os.getpid()) - before) < 0.03:
        pass
    assert used < 10
