"""Whose answers are known behind NAT: written, adopted, moved, refused, forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.dataplane.desired import Desired, DesiredService
from appliance.dataplane.enums import Refusal
from appliance.dataplane.returns import endpoint
from appliance.dataplane.tables import Tables
from appliance.errors import PlanError
from appliance.model import Forward
from tests.unit.dataplane.desires import OTHER, SHAPE, TLS, WEB, backend, desired, member, service, tables_at

NAT = replace(SHAPE, nat=True)


def _behind(key: object, *numbers: int, port: int | None = None) -> DesiredService:
    members = [replace(member(number), port=port) for number in numbers]
    return replace(service(key, members), forward=Forward.NAT)  # type: ignore[arg-type]


def _known(tables: Tables) -> dict[bytes, tuple[object, int]]:
    """Each endpoint with the VIP and port that it stands for."""
    memory = tables.memory
    return {
        key: (memory.address(number, "vip"), memory.identities.get(number, "port"))
        for key, number in memory.returns.items()
    }


def _expected(*wanted: DesiredService) -> dict[bytes, tuple[object, int]]:
    return {
        endpoint(one.address, one.port or each.key.port, 6): (each.key.vip, each.key.port)
        for each in wanted
        if each.forward is Forward.NAT
        for one in each.members
    }


def test_every_change_leaves_what_is_wanted_and_no_more() -> None:
    tables = tables_at(shape=NAT)
    steps: tuple[tuple[DesiredService, ...], ...] = (
        (_behind(WEB, 1, 2, port=8080),),
        (_behind(WEB, 1, 2, 3, port=8080), _behind(TLS, 1, port=8443)),
        (_behind(WEB, 1, 3, port=8081), service(TLS, [member(1)])),
        (_behind(OTHER, 1, 3, port=8081), _behind(TLS, *range(1, 40))),
        (_behind(WEB, 1, port=8081), _behind(OTHER, 3, port=8081)),
        (service(WEB, [member(1)]),),
        (),
    )
    for wanted in steps:
        tables.apply(desired(*wanted))
        assert _known(tables) == _expected(*wanted)
        tables = Tables(tables.memory)


def test_a_service_moves_between_dsr_and_nat_by_table_writes() -> None:
    tables = tables_at(shape=NAT)
    for wanted, refusal, port in (
        (service(WEB, [member(1)]), Refusal.NOTHING, 0),
        (_behind(WEB, 1, port=8080), Refusal.NAT, 8080),
        (service(WEB, [member(1)]), Refusal.NOTHING, 0),
    ):
        tables.apply(desired(wanted))
        number = tables.numbers(WEB)[backend(1)]
        assert tables.memory.destinations.get(number, "refusal") == refusal
        assert int.from_bytes(tables.memory.identities.bytes_of(number, "mapped", 2), "big") == port


@pytest.mark.parametrize("together", [True, False])
def test_answers_that_could_be_for_two_are_refused_and_nothing_changes(together: bool) -> None:
    tables = tables_at(shape=NAT)
    first, second = _behind(WEB, 1, 2, port=8080), _behind(OTHER, 2, port=8080)
    if not together:
        tables.apply(desired(first))
    before = {name: bytes(view) for name, view in tables.memory.raw.items()}
    with pytest.raises(PlanError, match=r"10\.1\.0\.2 port 8080/tcp could be for .* map one of them"):
        tables.apply(desired(first, second))
    assert {name: bytes(view) for name, view in tables.memory.raw.items()} == before
    assert _known(tables) == ({} if together else _expected(first))


def test_two_services_exchange_an_endpoint() -> None:
    tables = tables_at(shape=NAT)
    for ports in ((1, 2), (2, 1)):
        wanted = [_behind(key, 1, port=port) for key, port in zip((WEB, OTHER), ports, strict=True)]
        tables.apply(desired(*wanted))
        assert _known(tables) == _expected(*wanted)
    tables.apply(Desired())
    assert _known(tables) == {}
