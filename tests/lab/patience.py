"""Waiting with a limit, instead of sleeping."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from tests.lab.namespace import LabError

T = TypeVar("T")
PAUSE = 0.01  # seconds between two looks
SLOWNESS = float(os.environ.get("VC5_SLOWNESS", "1"))
"""How many times longer than on real hardware everything may take: an emulated machine says so."""


def wait_for(what: str, look: Callable[[], T], seconds: float = 10.0) -> T:
    """Call `look` until it returns something true, and return that.

    Raises LabError naming `what` after `seconds`, times SLOWNESS.
    """
    seconds *= SLOWNESS
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:g} s in vain for {what}; last seen: {seen!r}")
        time.sleep(PAUSE)
