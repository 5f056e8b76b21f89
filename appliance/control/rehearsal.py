"""The installed program tries itself out beside the running one, which it may replace only after that.

`try_out` is the running half: it starts a child with its own command line and `--rehearse`, which says on its
standard output whether it could take over. `rehearse` is the child's: it loads all of its code, reads configuration,
state and trial, opens the pinned tables, compiles if its program text is another one, and has the kernel verify that.
It changes nothing but the cache of compiled programs, and takes nothing over. Interfaces need not be there: who takes
over waits for those that the former program waits for.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import pkgutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import appliance
from appliance import __version__, config
from appliance.control import confirmation, handover, requirements, store
from appliance.control.instance import Instance, data_plane, state_for
from appliance.errors import HostError, Vc5Error
from appliance.net.watch import HostWatch
from appliance.paths import Root

log = logging.getLogger(__name__)

FLAG = "--rehearse"
LIMIT = 200.0
"""Seconds that a rehearsal may take; most of it is for a compiler on a slow machine."""
SAID = 4000
"""Characters of what a child says that does not even come to an answer."""


@dataclass(frozen=True)
class Ready:
    """The installed program could take over. `seconds` is what the rehearsal took, `compiled` what compiling did."""

    version: str
    seconds: float
    compiled: float
    notes: tuple[str, ...] = ()


def try_out(limit: float = LIMIT) -> Ready:
    """Have the installed program rehearse; blocks. Raises HostError with its reason where it could not take over."""
    began = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC")}
    try:
        child = subprocess.Popen(
            [*handover.command(), FLAG],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise HostError(f"the installed program cannot be started: {error}") from error
    try:
        output, said = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # the compiler may be what takes so long
        child.communicate()
        raise HostError(f"the installed program was not ready within {limit:g} s") from None
    return _answer(output, said.decode("utf-8", "replace"), child.returncode, time.monotonic() - began)


def _answer(output: bytes, said: str, status: int, seconds: float) -> Ready:
    last = output.splitlines()[-1:]
    try:
        answer = json.loads(last[0])
        if answer["ready"] is True and status == 0:
            notes = tuple(str(note) for note in answer.get("notes", ()))
            return Ready(str(answer["version"]), seconds, float(answer.get("compiled", 0.0)), notes)
        reason = f"version {answer['version']}: {answer['error']}"
    except (IndexError, ValueError, KeyError, TypeError):
        lines = said.strip()[-SAID:].splitlines()
        how = f"exit status {status}" if status >= 0 else f"signal {-status}"
        reason = f"{lines[-1] if lines else 'it said nothing'} ({how})"
    raise HostError(f"the installed program cannot take over: {reason}")


def main(root: Root, file: config.Source) -> int:
    """What `vc5 run --rehearse` does: answers in one line of JSON; 0 if the program could take over."""
    logging.basicConfig(level=logging.WARNING)
    try:
        answer = {"ready": True, "version": __version__, **rehearse(root, file)}
    except Vc5Error as error:
        answer = {"ready": False, "version": __version__, "error": str(error)}
    except Exception as error:
        log.exception("the rehearsal failed")
        answer = {"ready": False, "version": __version__, "error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
    return 0 if answer["ready"] else 1


def rehearse(root: Root, file: config.Source) -> dict[str, Any]:
    """Do all that a start does, short of changing anything. Raises Vc5Error."""
    load_everything()
    configuration = config.load(file).config
    requirements.check_capabilities(Path("/proc/self/status").read_text())
    notes: list[str] = []
    content, trouble = store.load_state(root.trial_file)
    if content:
        try:
            configuration, _ = confirmation.at_start(confirmation.parsed(content), configuration, time.time())
        except (ValueError, RecursionError) as error:
            trouble = f"{root.trial_file}: cannot be used ({error})"
    notes += [trouble] if trouble else []
    watch = HostWatch(configuration.interfaces, lambda: None)
    try:
        instance = Instance(root, data_plane(root), state_for(configuration), lambda: watch.snapshot())
        instance.seed = instance.seed_for(configuration)
        instance.adopt(look=True)
        saved, trouble = store.load_state(root.state_file)
        refused = instance.restore(saved)
        notes += [trouble] if trouble else []
        notes += [f"{root.state_file}: {refused} entries make no sense to version {__version__}"] if refused else []
        prepared = instance.data.prepare(instance.shape(configuration))
        instance.data.verify(prepared)
        instance.data.close()
    finally:
        watch.close()
    return {"compiled": prepared.seconds, "notes": notes}


def load_everything() -> None:
    """Import each module of the program, those that other processes of it need included. Raises HostError."""
    for module in pkgutil.walk_packages(appliance.__path__, "appliance."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except Exception as error:
            raise HostError(f"{module.name} cannot be loaded: {type(error).__name__}: {error}") from error
