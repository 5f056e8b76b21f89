"""The number of slots of each service outlives a stop, and nonsense in the state file harms nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.control.kept_slots import restore, snapshot
from tests.unit.dataplane.desires import TLS, WEB, desired, member, service, tables_at

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just(str(WEB)), inner),
)


def test_what_was_kept_comes_back() -> None:
    tables = tables_at()
    tables.apply(desired(service(WEB, [member(1)]), service(TLS, [member(number) for number in range(1, 40)])))
    kept = snapshot(tables)
    found, refused = restore(kept)
    assert (found, refused) == ({key: tables.entry(key).slot_count for key in (WEB, TLS)}, 0)  # type: ignore[union-attr]
    assert len(set(found.values())) == 2


def test_there_may_be_nothing() -> None:
    assert snapshot(None) == {}
    assert restore(None) == ({}, 0)


@given(JSON)
def test_nonsense_is_counted(saved: object) -> None:
    found, refused = restore(saved)
    assert all(type(count) is int and count > 0 for count in found.values())
    if isinstance(saved, dict):
        assert refused == len(saved) - len(found)
    else:
        assert refused == (saved is not None)
