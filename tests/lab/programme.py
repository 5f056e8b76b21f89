"""The beginning and the end of the demo: a picture of the lab, and what was measured, as a table and as JSON."""

from __future__ import annotations

from typing import Any

from tests.lab.addresses import BALANCER, CLIENT_ADDRESSES, FIRST_BACKEND, VIP
from tests.lab.measure import Cost
from tests.lab.stage import BACKENDS, Figures
from tests.lab.story import Story


def picture() -> list[str]:
    """Return the drawing of the lab, at most 78 columns wide."""
    client = f"{CLIENT_ADDRESSES[0]}..{CLIENT_ADDRESSES[-1].packed[-1]}"
    boxes = [f"b{number + 1}  {FIRST_BACKEND + number}" for number in range(BACKENDS)]
    left, line = f"{'':12}|", "-" * 18
    return [
        "  client                  router                  balancer",
        " +---------------------+ +---------------------+ +--------------------------+",
        f" | {client:<19} +-+ {VIP!s:<19} +-+ eth0 {BALANCER!s:<19} |",
        f" |                     | | via {BALANCER!s:<15} | | vc5, an XDP program      |",
        " +----------^----------+ +---------------------+ +------------+-------------+",
        f"{left} answers, directly".ljust(62) + "| requests",
        f"{left:<30}+{line}+{line[:12]}+{line[:5]}+",
        f"{left:<30}{'|':<19}{'|':<19}|",
        f"{left:<22}" + " ".join("+-------v--------+" for _ in boxes),
        f"{'':12}+---------" + " ".join(f"| {box:<15}|" for box in boxes),
        f"{'':22}" + " ".join("| nginx, lo: VIP |" for _ in boxes),
        f"{'':22}" + " ".join("+----------------+" for _ in boxes),
    ]


def results(story: Story, figures: Figures) -> dict[str, Any]:
    """Return the content of demo.json; fields are only ever added."""
    return {
        "ok": not story.failures,
        "requests": figures.requests,
        "failures": figures.failures,
        "broken": figures.broken,
        "detection_s": _rounded(figures.detection_s),
        "moved_slots": figures.moved_slots,
        "slots": figures.slots,
        "failed_during_detection": figures.failed_during_detection,
        "requests_during_detection": figures.requests_during_detection,
        "lost_with_backend": {"downloads": figures.lost_downloads, "conversations": figures.lost_conversations},
        "ready_s": _rounded(figures.ready_s),
        "reload_s": _rounded(figures.reload_s),
        "restart_s": _rounded(figures.restart_s),
        "ns_per_packet": {"live": _cost(figures.live), "warm": _cost(figures.warm)},
        "seconds": round(story.seconds, 3),
        "failed": story.failures,
        "steps": [{"name": step.name, "ok": step.ok, "seconds": step.seconds} for step in story.steps],
    }


def summary(story: Story, figures: Figures) -> None:
    """Print the table of what was measured; a dash where it was not."""
    lost = f"besides {figures.lost_downloads + figures.lost_conversations} that ended with b2"
    share = f"{figures.moved_slots / figures.slots:.1%}" if figures.slots and figures.moved_slots is not None else "-"
    needed = f"of {figures.slots:,}; {figures.needed_slots:,} were b2's" if figures.slots else ""
    window = f"of {figures.requests_during_detection:,} in that time"
    rows = (
        ("requests and downloads", f"{figures.requests:,}", ""),
        ("  failed", f"{figures.failures:,}", ""),
        ("  refused by b2, not yet noticed", f"{figures.failed_during_detection:,}", window),
        ("broken conversations, downloads", f"{figures.broken:,}", lost),
        ("b2's death noticed after", _seconds(figures.detection_s), "every 0.5 s, in doubt after 0.2 s"),
        ("slots moved by it", share, f"{figures.moved_slots} {needed}" if needed else ""),
        ("start, with compiling", _seconds(figures.ready_s), "until READY=1"),
        ("reload", _seconds(figures.reload_s), "the whole command"),
        ("start after kill -9", _seconds(figures.restart_s), "until READY=1"),
        ("XDP program, requests over veth", *_ns(figures.live, "the clock")),
        ("XDP program, caches warm", *_ns(figures.warm, "the loop")),
    )
    story.print()
    story.print("Measured")
    story.print()
    for name, value, note in rows:
        story.print(f"   {name:<33}{value:>7}   {note}".rstrip())


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"


def _cost(cost: Cost | None) -> dict[str, Any] | None:
    if cost is None:
        return None
    return {"ns": round(cost.ns, 1), "empty_ns": round(cost.empty_ns, 1), "packets": cost.packets}


def _ns(cost: Cost | None, what: str) -> tuple[str, str]:
    return (f"{cost.ns:.0f} ns", f"a packet, with {cost.empty_ns:.0f} ns of {what}") if cost else ("-", "")
