"""Records and messages of every kind, for tests of what reads them."""

from __future__ import annotations

from hypothesis import strategies as st

from appliance.fleet import messages as m
from appliance.fleet import records as r
from appliance.fleet.members import MEMBERS
from appliance.fleet.receipts import MARKS
from appliance.fleet.replay import PENDING
from appliance.model import Protocol
from appliance.model_address import ServiceKey

WORD, LONG = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
SHORT = st.integers(0, 0xFFFF)
ADDRESSES = st.ip_addresses()
SERVICES = st.builds(ServiceKey, ADDRESSES, st.integers(1, 65535), st.sampled_from(Protocol))
DIGESTS = st.binary(min_size=r.DIGEST, max_size=r.DIGEST)


def several(one: st.SearchStrategy[object], most: int = 8) -> st.SearchStrategy[tuple[object, ...]]:
    """Return tuples of at least one."""
    return st.lists(one, min_size=1, max_size=most).map(tuple)


SLOTS = st.builds(
    r.Slots,
    *(SERVICES, st.integers(1000, 2000), st.none() | ADDRESSES, st.none() | ADDRESSES),
    several(st.builds(r.Slot, st.integers(0, 999), SHORT, SHORT), 80),
)
FLOWS = st.builds(
    r.Flows,
    *(SERVICES, ADDRESSES, several(st.builds(r.Flow, LONG, SHORT, st.integers(0, r.CANDIDATE | r.OPENED)), 60)),
    st.integers(0, r.WHOLE_NAME),
)
DOWN = st.builds(r.ServiceDown, SERVICES, several(st.builds(r.Down, ADDRESSES, st.booleans(), WORD)))
VIEWS = st.builds(r.View, DIGESTS, st.lists(DOWN, unique_by=lambda one: one.service).map(tuple))
LOADS = st.builds(
    r.Load, several(st.builds(r.ServiceLoad, SERVICES, several(st.builds(r.BackendLoad, ADDRESSES, WORD))))
)
TABLES = st.builds(r.Tables, several(st.builds(r.TableDigest, SERVICES, WORD, DIGESTS, DIGESTS), 20))
ANNOUNCES = st.builds(r.Announces, several(st.builds(r.Announced, ADDRESSES, st.sampled_from(r.How)), 80))
WORDS = st.text(max_size=16).filter(lambda text: len(text.encode(errors="replace")) <= r.WORDS)
OVERRIDES = st.builds(r.Overrides, several(st.builds(r.Override, SERVICES, ADDRESSES, WORDS), 20))
RECORDS = st.one_of(SLOTS, FLOWS, VIEWS, LOADS, TABLES, ANNOUNCES, OVERRIDES)

FACTS = st.builds(
    r.Facts,
    name=st.text(max_size=16),
    version=st.text(max_size=8),
    state=st.sampled_from(r.NodeState),
    configuration=DIGESTS,
    tables=DIGESTS,
    health=DIGESTS,
    tracked_slots=WORD,
    flows=WORD,
    packets=WORD,
    isolated=st.booleans(),
)
HEARD = st.dictionaries(LONG, st.builds(m.Heard, LONG, st.integers(0, MARKS)), max_size=MEMBERS + PENDING)
HELLOS = st.builds(m.Hello, FACTS, LONG, HEARD, st.integers(10, 2**63), st.integers(1, 11))
RANGES = st.lists(st.builds(m.Range, WORD, st.integers(1, 0xFFFF)), max_size=m.RANGES).map(tuple)
NAKS = st.builds(m.Nak, LONG, RANGES)
REQUESTS = st.one_of(
    st.builds(m.Request, LONG, WORD, st.sampled_from((m.What.EVERYTHING, m.What.OWN)), st.none()),
    st.builds(m.Request, LONG, WORD, st.just(m.What.TABLE), SERVICES),
)
PARTS = st.builds(m.Part, LONG, WORD, WORD, st.integers(0, 3), st.binary(max_size=m.ROOM))
ACKS = st.builds(m.Ack, LONG, WORD, WORD, RANGES)
