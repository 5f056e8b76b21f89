"""What the daemon itself counts of probes and reloads, in an array of the kernel's beside those of the program.

Theory of operation. Who reads a counter takes one that has become smaller for one that began anew, and adds all of it
once more. So a counter that is to outlive the daemon has to do so exactly, even where that is killed: a file that is
written now and then would be too low by what came since. An array in the kernel that is mapped into the process is
exact, needs no system call to count, and has the life of the program's own counters: pinned beside them, removed with
them, gone after a reboot. Its pin is named by a digest of what is counted; a version that counts something else begins
at 0.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.dataplane.generation import remove
from appliance.dataplane.kernel import Map
from appliance.dataplane.pins import TALLY
from appliance.dataplane.spec import BPF_F_MMAPABLE, MapKind, MapSpec
from appliance.errors import HostError, Vc5Error
from appliance.model import CheckKind, Outcome
from appliance.telemetry.failures import failure
from appliance.telemetry.metrics import BUCKETS, VALUES

_BOUNDS_NS = tuple(round(bound * 1e9) for bound in BUCKETS)
_REASONS, _OUTCOMES = VALUES["failures"], VALUES["reloads"]
_BUCKETS = len(BUCKETS) + 1
_WORDS = _BUCKETS + 1 + len(_REASONS)
"""Of a kind of check: its buckets, the sum of nanoseconds, its failures."""
_KINDS = {kind: at * _WORDS for at, kind in enumerate(CheckKind)}
_REASON = {reason: _BUCKETS + 1 + at for at, reason in enumerate(_REASONS)}
_RELOADS = len(CheckKind) * _WORDS
_SIZE = _RELOADS + len(_OUTCOMES)


def layout() -> str:
    """Return the name of what is counted, in which order."""
    told = repr((tuple(map(str, CheckKind)), BUCKETS, _REASONS, _OUTCOMES))
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


class Tally:
    """The counts; in memory of the process until they are kept in the kernel."""

    def __init__(self) -> None:
        self._words: memoryview[int] = memoryview(bytearray(_SIZE * 8)).cast("Q")
        self.trouble = ""
        """Why the counts end with this process; empty where they do not."""

    def keep(self, pins: Path) -> None:
        """Go on with the counts that are pinned below `pins`, or pin them; what was counted so far is added.

        Where that is impossible, they go on in memory, and `trouble` says why.
        """
        place = pins / TALLY / layout()
        try:
            words = self._opened(place)
        except (Vc5Error, OSError) as error:
            self.trouble = f"the counts of probes will begin anew with the next daemon: {error}"
            return
        for at, count in enumerate(self._words):
            words[at] += count
        self._words = words

    @staticmethod
    def _opened(place: Path) -> memoryview[int]:
        spec = MapSpec("vc5_tally", MapKind.ARRAY, 4, _SIZE * 8, 1, BPF_F_MMAPABLE)
        try:
            with Map.open(place) as found:
                if found.spec() != spec:
                    raise HostError(f"{place}: is another map")
                return found.memory().cast("Q")
        except Vc5Error:
            remove(place.parent)  # those of another version, too
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with Map.create(spec) as made:
            made.pin(place)
            return made.memory().cast("Q")

    def probe(self, kind: CheckKind, outcome: Outcome, diagnostic: str, total_ns: int) -> None:
        """Count a probe."""
        first, words = _KINDS[kind], self._words
        words[first + bisect_left(_BOUNDS_NS, total_ns)] += 1
        words[first + _BUCKETS] += total_ns
        if outcome is not Outcome.OK:
            words[first + _REASON[failure(outcome, diagnostic)]] += 1

    def reload(self, outcome: str) -> None:
        """Count a reload, `ok` or `refused`."""
        self._words[_RELOADS + _OUTCOMES.index(outcome)] += 1

    def probes(self) -> dict[str, dict[str, Any]]:
        """What is to be said of probes, by the type of check, of those types of which there were any (readings.py)."""
        told = {}
        for kind, first in _KINDS.items():
            words = self._words[first : first + _WORDS].tolist()
            if any(words):
                told[str(kind)] = {
                    "buckets": words[:_BUCKETS],
                    "sum_ns": words[_BUCKETS],
                    "failures": _named(_REASONS, words[_BUCKETS + 1 :]),
                }
        return told

    def reloads(self) -> dict[str, int]:
        """Reloads by outcome."""
        return dict(zip(_OUTCOMES, self._words[_RELOADS:_SIZE].tolist(), strict=True))


def _named(names: Sequence[str], counts: Sequence[int]) -> dict[str, int]:
    return {name: count for name, count in zip(names, counts, strict=True) if count}
