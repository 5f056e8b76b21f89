"""The quiet scenes of the demo: building up, serving, measuring, going away. The others are in tests.lab.trouble."""

from __future__ import annotations

import json
import time
from contextlib import closing

from appliance.dataplane.frame import FLAGS, Flow
from appliance.dataplane.frame import build as build_frame
from tests.lab.addresses import BALANCER, CLIENT_ADDRESSES, HTTP, ROUTER, VIP, mac_of
from tests.lab.daemon import Daemon
from tests.lab.measure import Meter, attached_program, counting, warm
from tests.lab.namespace import NAMESPACES, LabError
from tests.lab.stage import BACKENDS, CONFIGURATION, TALK, WEB, Stage, seen_of
from tests.lab.topology import Lab
from tests.lab.traffic import Requests

SPREAD = 1000
TOLERANCE = 0.07
"""How far a backend's share of 1,000 requests may be from its share of the slots: nearly five standard deviations."""
PREDICTIONS = 10
MEASURED = 700
"""Requests while the kernel measures."""


def build(stage: Stage) -> None:
    """Namespaces, cables, addresses, servers."""
    lab = stage.lab = stage.stack.enter_context(Lab(backends=BACKENDS))
    names = lab.describe()["namespaces"]
    seen = f"{len(names)} namespaces, {len(lab.backends)} backends"
    stage.story.check(len(lab.backends) == BACKENDS, "servers listen on each backend", seen)


def start(stage: Stage) -> None:
    """The daemon, in the balancer's namespace."""
    began, wall = time.monotonic(), time.time()
    daemon = stage.daemon = Daemon(stage.lab.balancer, stage.lab.root(), CONFIGURATION)
    stage.stack.callback(daemon.close)
    daemon.start()
    stage.figures.ready_s = time.monotonic() - began
    how = stage.said(wall, "started").rpartition(", ")[2]
    stage.story.check(daemon.running, "it is ready to serve", f"{stage.figures.ready_s:.2f} s, {how}")
    attached = [f"{interface['name']} {interface['attach']}" for interface in stage.status()["interfaces"]]
    stage.story.check(attached == ["eth0 native"], "its program is in the driver of eth0", ", ".join(attached))


def turn_green(stage: Stage) -> None:
    """The first checks."""
    began = time.monotonic()
    for key, how in ((WEB, "answers GET /alive"), (TALK, "answers a SYN")):
        green = stage.await_available(key)
        seen = f"{stage.available(key)} of {BACKENDS} after {time.monotonic() - began:.2f} s"
        stage.story.check(green, f"{key} {how}", seen)
    up = [vip["vip"] for vip in stage.status()["vips"] if vip["up"]]
    stage.story.check(up == [str(VIP)], f"the VIP {VIP} is up", f"up: {', '.join(up) or 'none'}")


def spread(stage: Stage) -> None:
    """1,000 requests."""
    story, before = stage.story, stage.service(WEB)
    with story.busy(f"{SPREAD} requests"), Requests(stage.lab.client, count=SPREAD, rate=350) as requests:
        report = requests.finish()
    stage.account(report)
    story.check(not report.failed and len(report.done) == SPREAD, "no request fails", seen_of(report, report.failed))
    service, answered = stage.service(WEB), report.backends()
    shares = {stage.name_of(b["address"]): b["slots"] / service["slots"] for b in service["backends"]}
    worst = max(abs(answered[name] / SPREAD - share) for name, share in shares.items())
    off = f"off by {worst * 100:.1f} points at most"
    story.check(worst <= TOLERANCE, "backends get what Maglev's slots say", off)
    asked = report.done[:: SPREAD // PREDICTIONS]
    right = sum(stage.explain(request) == request.backend for request in asked)
    story.check(right == len(asked), "vc5 explain names who answered", f"{right} of {len(asked)}")
    counted, dropped = service["flows"] - before["flows"], service["drops"] - before["drops"]
    story.check(counted >= SPREAD and not dropped, "vc5 status counts them", f"{counted:,} flows, {dropped} drops")
    story.print()
    story.table(
        ("backend", "slots", "requests"),
        (
            (f"{name}  {stage.lab.backends[name].address}", f"{shares[name]:.1%}", f"{answered[name]}")
            for name in shares
        ),
    )


def cost(stage: Stage) -> None:
    """What a packet costs."""
    story, figures = stage.story, stage.figures
    with closing(attached_program(stage.daemon.places.pins)) as program:
        try:
            with counting():
                meter = Meter(program)
                with (
                    story.busy(f"{MEASURED} requests"),
                    Requests(stage.lab.client, count=MEASURED, rate=350) as requests,
                ):
                    report = requests.finish()
                live = figures.live = meter.cost()
        except LabError as error:
            if "not permitted" not in str(error):
                raise
            story.paragraph(f"Not measured: {error} (needs CAP_SYS_ADMIN).")
            return
        stage.account(report)
        seen = f"{live.ns:.0f} ns, {live.packets:,} packets; {live.empty_ns:.0f} ns is the kernel's clock"
        story.check(live.packets > MEASURED and not report.failed, "real requests, veth, cold caches", seen)
        destination, source = (bytes.fromhex(mac_of(address).replace(":", "")) for address in (BALANCER, ROUTER))
        flow = Flow.parse(f"tcp {CLIENT_ADDRESSES[0]}:4242 {VIP}:{HTTP}")
        frame = build_frame(flow, destination=destination, source=source, tcp_flags=FLAGS["ACK"], ttl=255)
        heated = figures.warm = warm(program, frame, stage.lab.balancer)
        seen = f"{heated.ns:.0f} ns, test run; {heated.empty_ns:.0f} ns is the run's own" if heated else "not forwarded"
        story.check(heated is not None, "one packet over and over, caches warm", seen)


def end(stage: Stage) -> None:
    """Everything stops, and nothing is left."""
    story, daemon, lab = stage.story, stage.daemon, stage.lab
    stage.settle()
    status = daemon.stop()
    story.check(status == 0, "the daemon ends on SIGTERM", f"exit status {status}")
    left = daemon.leftovers()
    link = json.loads(lab.balancer.run("ip", "-json", "link", "show", "dev", "eth0"))[0]
    left += ["a program on eth0"] if "xdp" in link else []
    story.check(not left, "its program, pins and namespace", ", ".join(left) or "are gone")
    name, directory = lab.name, lab.directory
    stage.stack.close()
    rest = [entry.name for entry in NAMESPACES.glob(f"{name}*")] + [str(directory)] * directory.exists()
    story.check(not rest, "the lab with all its processes", ", ".join(rest) or "is gone")
