"""Giving memory back: the C library would keep what a reload took for the next one."""

from __future__ import annotations

import ctypes
import gc

M_ARENA_MAX = -8
"""The parameter of mallopt(3) for how many heaps threads may have."""


def grow() -> None:
    """Collect no garbage until `trim`: little of what a start makes is any, and looking for it takes its time.

    Threads share one heap from now on, where the C library has more: they take turns anyway, and what each would keep
    in a heap of its own adds up to a megabyte or two.
    """
    gc.disable()
    choose = getattr(ctypes.CDLL(None), "mallopt", None)
    if choose is not None:
        choose(M_ARENA_MAX, 1)


def trim() -> None:
    """Collect garbage, and return free pages of the heap to the system where the C library can (malloc_trim(3))."""
    gc.unfreeze()
    gc.collect()
    # What is there now mostly stays: looking at all of it again and again would hold up the event loop.
    gc.freeze()
    gc.enable()
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)
