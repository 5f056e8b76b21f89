"""The scenes of the demo in which something happens to the balancer or its backends while traffic goes on."""

from __future__ import annotations

import signal
import time
from contextlib import closing

from tests.lab.addresses import SECOND_VIP
from tests.lab.downloads import Downloads
from tests.lab.measure import attached_program
from tests.lab.stage import ADDED, BACKENDS, CONFIGURATION, SECURE, TALK, WEB, Stage, Window, seen_of
from tests.lab.traffic import Requests

KILLED, DRAINED = "b2", "b1"
MORE = 15
"""Conversations that begin while a backend is away: its return must not draw them to it."""
LATEST = 3.0
"""Seconds until a death must be noticed: two checks, a timeout, and patience with a busy machine."""
UNNEEDED = 0.1
"""The share of all slots that Maglev may move although their backend lives."""


def kill(stage: Stage) -> None:
    """A backend dies under load."""
    story, figures, backend = stage.story, stage.figures, stage.lab.backends[KILLED]
    loop, talks = stage.keep_going(), stage.keep_talking()
    downloads = Downloads(stage, "700k")
    downloads.begun()
    witness = next((request for request in stage.loaded(0, 60).done if request.backend == KILLED), None)
    before = stage.explain(witness) if witness else "none"
    had = stage.slots(WEB, KILLED)
    stage.doomed = frozenset(flow.number for flow in talks.status().flows if flow.backend == KILLED)
    wall, window = time.time(), Window(time.monotonic())
    stage.window = window
    backend.kill_servers()
    gone = [story.wait(lambda: not stage.slots(WEB, KILLED), 10)]
    window.removed = time.monotonic()
    figures.detection_s = window.removed - window.died
    service = stage.service(WEB)
    gone.append(story.wait(lambda: not stage.slots(TALK, KILLED), 10))
    took = f"after {figures.detection_s:.2f} s, port 7000 {time.monotonic() - window.died:.2f} s"
    story.check(all(gone) and figures.detection_s < LATEST, "two bad checks, and it has no slots", took)
    after = stage.explain(witness) if witness else "none"
    story.check(
        before == KILLED and after not in (KILLED, "none"),
        "vc5 explain: new flows go elsewhere",
        f"before {before}, now {after}",
    )
    late = stage.check_load(window.removed, 100, "from then on no request fails")
    answers = late.backends()[KILLED]
    story.check(not answers, f"{KILLED} answers none", f"{answers} of {len(late.done)}")
    if line := stage.said(wall, WEB, str(backend.address), "up ->"):
        story.quote(f"vc5 log: {line[line.index('up ->') :]}")
    others = [name for name in stage.lab.backends if name != KILLED]
    downloads.finish(f"downloads from {' and '.join(others)} finish", *others, lost=KILLED)
    stage.check_talks()
    figures.slots, figures.needed_slots, moved = service["slots"], had, service["tracked_slots"]
    figures.moved_slots = moved
    story.check(
        had <= moved <= had + figures.slots * UNNEEDED,
        f"its {had} slots move, and few besides",
        f"{moved} of {figures.slots:,} ({moved / figures.slots:.1%})",
    )
    during = [request for request in loop.status().requests if window.covers(request)]
    refused = sum(1 for request in during if request.failure)
    story.print()
    story.paragraph(
        f"Before it was noticed, {refused} of {len(during)} requests went to the dead backend and were refused;"
        f" with it ended {figures.lost_downloads} downloads and {len(stage.doomed)} conversations."
    )


def come_back(stage: Stage) -> None:
    """The dead backend is started again."""
    backend = stage.lab.backends[KILLED]
    stage.keep_talking().more(MORE)
    backend.start_servers(stage.lab.content)
    backend.wait_ready()
    began = time.monotonic()
    back = stage.await_available(WEB) and stage.await_available(TALK)
    since = time.monotonic()
    stage.story.check(back, "two good checks: it has slots again", f"after {since - began:.2f} s")
    report = stage.check_load(since, 100, "no request fails")
    answers = report.backends()[KILLED]
    stage.story.check(answers > 0, f"{KILLED} answers again", f"{answers} of {len(report.done)}")
    stage.check_talks()


def drain(stage: Stage) -> None:
    """An operator drains a backend, and takes that back."""
    story, address = stage.story, str(stage.lab.backends[DRAINED].address)
    downloads = Downloads(stage, "1m")
    witness = next((download for download in downloads.begun() if download.backend == DRAINED), None)
    run(stage, "drain", WEB, address)
    since = time.monotonic()
    if witness is not None:
        old, new = stage.explain(witness, "ACK"), stage.explain(witness, "SYN")
        story.check(
            old == DRAINED and new not in (DRAINED, "none"),
            "vc5 explain: one stays, none comes",
            f"ACK to {old}, SYN to {new}",
        )
    report = stage.check_load(since, 100, "no request fails")
    answers = report.backends()[DRAINED]
    story.check(not answers, f"{DRAINED} gets no new request", f"{answers} of {len(report.done)}")
    downloads.finish(f"downloads from {DRAINED} finish", DRAINED)
    run(stage, "undrain", WEB, address)
    back = stage.await_available(WEB)
    story.check(back, f"{DRAINED} has slots again", f"{stage.available(WEB)} backends available")
    stage.check_talks()


def reload(stage: Stage) -> None:
    """A service is added."""
    story = stage.story
    stage.keep_going()
    stage.lab.add_vip(SECOND_VIP)
    tracked, since = stage.service(WEB)["tracked_slots"], time.monotonic()
    stage.daemon.configuration_file.write_text(CONFIGURATION + ADDED)
    run(stage, "reload")
    stage.figures.reload_s = time.monotonic() - since
    up = stage.await_available(SECURE)
    took = f"{stage.available(SECURE)} of {BACKENDS} after {time.monotonic() - since:.2f} s"
    story.check(up, f"{SECURE} turns green", took)
    with Requests(stage.lab.client, tls=True, vip=SECOND_VIP, count=100, rate=100) as requests:
        report = requests.finish()
    stage.account(report)
    seen = f"{seen_of(report, report.failed)}, {len(report.backends())} backends"
    story.check(not report.failed and len(report.done) == 100, "100 requests to it over TLS", seen)
    moved = stage.service(WEB)["tracked_slots"] - tracked
    story.check(moved == 0, "the other services: no slot moves", f"{moved} moved")
    stage.check_load(since, 100, "the other services: no request fails")
    stage.check_talks()


def restart(stage: Stage) -> None:
    """The daemon is killed and started again."""
    story, daemon = stage.story, stage.daemon
    stage.keep_going()
    with closing(attached_program(daemon.places.pins)) as program:
        before = program.info()
    pid, since = daemon.pid, time.monotonic()
    daemon.signal(signal.SIGKILL)
    story.wait(lambda: not daemon.running, 5)
    story.command(f"kill -9 {pid}")
    stage.check_load(since, 100, "without a daemon no request fails")
    wall, began = time.time(), time.monotonic()
    daemon.start()
    stage.figures.restart_s = time.monotonic() - began
    story.check(daemon.pid != pid, "started again, it is ready", f"after {stage.figures.restart_s:.2f} s")
    known = {key: stage.available(key) for key in (WEB, TALK, SECURE)}
    seen = f"{', '.join(map(str, known.values()))} backends available"
    story.check(set(known.values()) == {BACKENDS}, "it knows at once who is alive", seen)
    with closing(attached_program(daemon.places.pins)) as program:
        after = program.info()
    same = (before.id, before.load_time) == (after.id, after.load_time)
    how = stage.said(wall, "started").rpartition(", ")[2]
    story.check(same, "the program on eth0 is still the same", f"{before.id}, {after.id}: it {how}")
    stage.check_load(since, 250, "in all this time no request fails")
    stage.check_talks()


def run(stage: Stage, *words: str) -> None:
    """Run a vc5 command, show it, and check that it succeeds."""
    stage.story.command(f"vc5 {' '.join(words)}")
    done = stage.daemon.vc5(*words)
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    said = lines[0].removeprefix(" ".join(words[1:])).strip() if lines else "it says nothing"
    stage.story.check(
        done.returncode == 0, "done", f"exit status {done.returncode}: {said}" if done.returncode else said
    )
