"""What a bulk request came to, document by document. Pure.

Elasticsearch answers each document of a bulk request on its own. A document that is there already had been taken
before. One that is refused for what it is (it contradicts the mapping) will always be refused: it is put aside with the
reason. All other refusals concern the server (overloaded, an index that is read-only or missing, a lack of rights) and
may end, so the document is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TAKEN = frozenset({200, 201, 409})
# Refusals that are about the server although their number says that they are about the document.
SERVERS_FAULT = frozenset({401, 403, 404, 408, 429})
SERVERS_FAULTS = frozenset({"index_closed_exception", "cluster_block_exception", "index_not_found_exception"})
REASON_CHARACTERS = 1000


@dataclass(frozen=True)
class Refused:
    """A document that cannot be stored as it is. `record` are its two lines."""

    record: bytes
    status: int
    reason: str


@dataclass(frozen=True)
class Judgement:
    """What became of the records of a request. `why` says why those in `again` were refused."""

    taken: int = 0
    again: tuple[bytes, ...] = ()
    dead: tuple[Refused, ...] = ()
    why: str = ""


def judge(sent: Sequence[bytes], answer: object) -> Judgement:
    """Return what an answer with status 200 says of the records that were sent; raises ValueError where it does not.

    An answer that counts other than was sent, or is no bulk answer at all, comes from something that is not
    Elasticsearch.
    """
    if not isinstance(answer, Mapping) or not isinstance(answer.get("errors"), bool):
        raise ValueError("the answer is none to a bulk request")
    items = answer.get("items")
    if not isinstance(items, list) or len(items) != len(sent):
        told = len(items) if isinstance(items, list) else "no"
        raise ValueError(f"the answer tells of {told} documents, {len(sent)} were sent")
    taken, again, dead, why = 0, [], [], ""
    for record, item in zip(sent, items, strict=True):
        status, kind, reason = _outcome(item)
        if status in TAKEN:
            taken += 1
        elif status >= 500 or status in SERVERS_FAULT or kind in SERVERS_FAULTS:
            again.append(record)
            why = why or f"status {status}, {kind}: {reason}"
        else:
            dead.append(Refused(record, status, f"{kind}: {reason}"))
    return Judgement(taken, tuple(again), tuple(dead), why)


def _outcome(item: Any) -> tuple[int, str, str]:
    """Return status, type and reason of the error of one item; raises ValueError."""
    try:
        (result,) = item.values()
        status = result["status"]
        error = result.get("error") or {}
        kind, reason = str(error.get("type", "")), str(error.get("reason", ""))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError("an item of the answer has no status") from None
    if type(status) is not int:
        raise ValueError("the status of an item is no number")
    return status, kind[:100], reason[:REASON_CHARACTERS]
