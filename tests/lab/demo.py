"""`make demo` and `make lab`: the balancer shows what it does, in a lab of network namespaces on this machine.

    python -m tests.lab.demo            the whole story; ends with `demo: ok`, or with what failed and status 1
    python -m tests.lab.demo --keep     only builds the lab and starts the daemon, and leaves them running
    python -m tests.lab.demo --sweep    ends a lab that was kept

It needs root, and nothing but the Debian packages that the product runs on, with nginx, openssl and curl.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from types import FrameType

from appliance import __version__
from appliance.errors import Vc5Error
from tests.lab import scenes, trouble
from tests.lab.backend import REPOSITORY
from tests.lab.namespace import LabError
from tests.lab.playground import keep, sweep
from tests.lab.programme import picture, results, summary
from tests.lab.stage import Stage
from tests.lab.story import Story

INTERRUPTED = 130
"""The exit status of a command that was ended by Ctrl-C."""


@dataclass(frozen=True)
class Scene:
    """A scene; after a failure in an `essential` one there is no point in going on."""

    name: str
    title: str
    text: str
    play: Callable[[Stage], None]
    essential: bool = False


SCENES = (
    Scene("lab", "Build the lab", "Network namespaces as hosts, with the cables of the picture.", scenes.build, True),
    Scene("start", "Start the daemon", "vc5 run compiles its XDP program and attaches it to eth0.", scenes.start, True),
    Scene(
        "green",
        "Health checks turn green",
        "Each backend is asked for the VIP, as clients do, every 0.5 s; in doubt again after 0.2 s.",
        scenes.turn_green,
        True,
    ),
    Scene("spread", "Serve 1,000 requests", "Each on a new connection, from eight addresses.", scenes.spread),
    Scene(
        "kill",
        "A backend dies",
        "All servers of b2 are killed. Meanwhile, and until the end: 100 requests a second, and 45 long conversations;"
        " besides, 24 downloads of six seconds.",
        trouble.kill,
    ),
    Scene(
        "return",
        "It comes back",
        "15 more conversations begin on b1 and b3, then the servers of b2 are started again.",
        trouble.come_back,
    ),
    Scene(
        "drain",
        "An operator drains a backend",
        "b1 keeps what it has and gets nothing new. Again, 24 downloads are running.",
        trouble.drain,
    ),
    Scene("reload", "A reload adds a service", "One more VIP, over TLS; the traffic goes on.", trouble.reload),
    Scene(
        "restart",
        "The daemon is killed under load",
        "Program and tables stay in the kernel; the next daemon goes on with them.",
        trouble.restart,
    ),
    Scene("cost", "What a packet costs", "Time in the XDP program, on this machine.", scenes.cost),
    Scene("end", "Stop, and clean up", "Everything that was started ends.", scenes.end),
)


def perform(stage: Stage, chosen: tuple[Scene, ...], pause: bool = False) -> None:
    """Play scenes. One that fails is told, and the story goes on where the daemon still runs."""
    story = stage.story
    for scene in chosen:
        if pause and story.steps:
            story.pause()
        story.begin(scene.name, scene.title, scene.text)
        try:
            scene.play(stage)
        except (LabError, Vc5Error, FileNotFoundError, TimeoutExpired) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            story.check(False, "this can be carried out", lines[0])
            for line in lines[-6:] if len(lines) > 1 else []:
                story.quote(line)
        step = story.end()
        if not step.ok and scene is not chosen[-1] and (scene.essential or not stage.daemon_runs):
            story.print()
            story.paragraph("The story ends here: what would follow needs this.")
            return


def demo(output: Path, pause: bool) -> int:
    """Tell the whole story and write demo.json; returns the exit status."""
    story = Story(sys.stdout)
    with ExitStack() as stack:
        stage = Stage(story, stack)
        story.print(f"vc5 {__version__}: a load balancer, three backends, real traffic")
        story.print(f"on Linux {platform.release()} with {os.cpu_count()} CPUs")
        story.print()
        for line in picture():
            story.print(line)
        try:
            perform(stage, SCENES, pause)
            tell_last_words(stage)
        except BaseException as error:
            story.failures.append(f"{story.steps[-1].name if story.steps else 'lab'}: ended by {type(error).__name__}")
            raise
        finally:
            file = output / "demo.json"
            file.write_text(json.dumps(results(story, stage.figures), indent=1) + "\n")
    if stage.figures.requests:
        summary(story, stage.figures)
    ok = story.verdict("demo", f"{len(story.steps)} steps in {story.seconds:.0f} s; figures: {shown(file)}")
    return 0 if ok else 1


def lab(output: Path) -> int:
    """Build the lab, start the daemon, and leave both running; returns the exit status."""
    story = Story(sys.stdout)
    for name in sweep(output):
        story.print(f"ended the former lab {name}")
    with ExitStack() as stack:
        stage = Stage(story, stack)
        for line in picture():
            story.print(line)
        perform(stage, SCENES[:3])
        tell_last_words(stage)
        if story.failures:
            stack.close()
            story.verdict("lab", "")
            return 1
        file = keep(stage, output)
        stack.pop_all()  # from here on nothing is to be undone
    story.verdict("lab", f"It runs until `make lab ARGS=--sweep`; all of this is in {shown(file)}.")
    return 0


def tell_last_words(stage: Stage) -> None:
    """Where something failed, show the end of what the daemon wrote to standard error."""
    words = stage.last_words() if stage.story.failures else []
    if words:
        stage.story.print()
        stage.story.print("The daemon's last words")
        stage.story.print()
        for line in words:
            stage.story.quote(line)


def shown(path: Path) -> str:
    """Return a path as a user in the repository would write it."""
    path = path.resolve()
    return str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else str(path)


def interrupt(number: int, frame: FrameType | None) -> None:
    """End the story by a signal, once: cleaning up is not to be interrupted."""
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.demo", description="The balancer shows what it does.")
    parser.add_argument("--keep", action="store_true", help="only build the lab, start the daemon, and leave them")
    parser.add_argument("--sweep", action="store_true", help="end a lab that was kept")
    parser.add_argument("--pause", action="store_true", help="wait for Enter before each step (on a terminal)")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build", help="where the JSON goes (build)")
    given = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, interrupt)
    subject = "lab" if given.keep or given.sweep else "demo"
    try:
        if given.sweep:
            names = sweep(given.output, everything=True)
            print(f"ended: {', '.join(names)}" if names else "no lab was running")
            return 0
        given.output.mkdir(parents=True, exist_ok=True)
        return lab(given.output) if given.keep else demo(given.output, given.pause and sys.stdin.isatty())
    except KeyboardInterrupt:
        print(f"\n{subject}: FAILED: interrupted; everything is cleaned up", flush=True)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes once more at its end
        return 1
    except (LabError, Vc5Error, OSError) as error:
        print(f"{subject}: FAILED: {error}", flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
