"""The number of slots of each service outlives a stop, and nonsense in the state file harms nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.control.kept_slots import KeptSlots
from tests.unit.dataplane.desires import TLS, WEB, desired, member, service, tables_at

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just(str(WEB)), inner),
)


def test_what_was_kept_comes_back() -> None:
    tables = tables_at()
    tables.apply(desired(service(WEB, [member(1)]), service(TLS, [member(number) for number in range(1, 40)])))
    kept = KeptSlots().snapshot(tables)
    found, refused = KeptSlots().restore(kept)
    assert (found, refused) == ({key: tables.entry(key).slot_count for key in (WEB, TLS)}, 0)  # type: ignore[union-attr]
    assert len(set(found.values())) == 2


def test_who_has_no_tables_any_more_keeps_what_they_were_like() -> None:
    tables, kept = tables_at(), KeptSlots()
    tables.apply(desired(service(WEB, [member(1)])))
    before = kept.snapshot(tables)
    assert kept.snapshot(None) == before != {}
    again = KeptSlots()
    again.restore(before)
    assert again.snapshot(None) == before, "nor does one forget that had none yet"


def test_there_may_be_nothing() -> None:
    assert KeptSlots().snapshot(None) == {}
    assert KeptSlots().restore(None) == ({}, 0)


@given(JSON)
def test_nonsense_is_counted(saved: object) -> None:
    found, refused = KeptSlots().restore(saved)
    assert all(type(count) is int and count > 0 for count in found.values())
    if isinstance(saved, dict):
        assert refused == len(saved) - len(found)
    else:
        assert refused == (saved is not None)
