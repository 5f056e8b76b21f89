"""Another version's tables read in the terms of this one: by name, wherever a field lies there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.dataplane import carry
from appliance.dataplane.abi import DESTINATION, FORMATS, HISTORY, MAPS, SERVICE
from appliance.dataplane.enums import Reason
from appliance.dataplane.layout import Layout, described, form_of, parsed
from appliance.dataplane.memory import Memory
from appliance.dataplane.migrate import CONVERTERS, Incompatible, copy_fields, read_again, translation
from appliance.dataplane.shape import Shape
from appliance.dataplane.spec import MapKind
from appliance.dataplane.structs import Field, Struct
from tests.profile import EXAMPLES, PARSER_INPUTS

SHAPE = Shape(services=256, destinations=64, slots=1024, sets=64, fragment_sets=16)
ARRAYS = {one.name for one in MAPS if one.kind is MapKind.ARRAY}
Change = Callable[[dict[str, Any]], None]


def _layout(*changes: Change) -> Layout:
    content = json.loads(described(SHAPE))
    for change in changes:
        change(content)
    return parsed(json.dumps(content))


def test_a_description_is_read() -> None:
    layout = _layout()
    assert layout.shape == SHAPE
    assert layout.forms["vc5_service"] == form_of(SERVICE)
    assert layout.tables.keys() == {one.name for one in MAPS}
    assert len(described(replace(SHAPE, tunnels=("gre4",) * 8))) < 1 << 15


def test_equal_arrays_are_used_where_they_lie() -> None:
    source = Memory.plain(SHAPE)
    made = translation(_layout(), source.raw)
    assert made.copied == set()
    source.slots[5] = 7
    source.flows[9] = 1 << 40
    assert (made.memory.slots[5], made.memory.flows[9]) == (7, 1 << 40)


MORE = Struct(
    "vc5_history",
    "another order, wider, and more",
    (
        Field("was", "u32", ""),
        Field("new", "u8", "", 4),
        Field("changed", "u64", ""),
        Field("diverted", "u16", ""),
        Field("more", "u16", "", 3),
    ),
)


def _history(content: dict[str, Any]) -> None:
    form = form_of(MORE)
    content["forms"]["vc5_history"] = [
        form.size,
        {name: [place.offset, place.type, place.count] for name, place in form.fields.items()},
    ]


def test_fields_are_found_by_name() -> None:
    raw = dict(Memory.plain(SHAPE).raw)
    theirs = memoryview(bytearray(MORE.size * SHAPE.slots))
    raw["vc5_histories"] = theirs
    layout = _layout(_history)
    made = translation(layout, raw)
    assert made.copied == {"vc5_histories"}
    assert made.notes == []
    at = 17 * MORE.size
    theirs[at : at + 4] = (3).to_bytes(4, "little")
    theirs[at + 8 : at + 16] = (1 << 40).to_bytes(8, "little")
    theirs[at + 16 : at + 18] = (9).to_bytes(2, "little")
    assert made.memory.histories.get(17, "was") == 0
    read_again(made, layout, raw)
    histories = made.memory.histories
    assert [histories.get(17, name) for name in ("was", "changed", "diverted")] == [3, (1 << 32) - 1, 9]
    assert histories.get(16, "was") == histories.get(18, "was") == 0


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_what_is_copied_there_and_back_is_the_same(data: st.DataObject) -> None:
    """Through any order of the fields with others in between, all padding being explicit."""
    kinds = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
    made: list[Field] = []
    at = 0
    for one in data.draw(st.permutations(DESTINATION.fields)):
        size = kinds[one.type]
        if at % size:
            made.append(Field(f"pad{at}", "u8", "", size - at % size))
            at += size - at % size
        made.append(one)
        at += size * one.count
    if at % 8:
        made.append(Field("pad", "u8", "", 8 - at % 8))
    other = Struct("other", "", tuple(made))
    content = data.draw(st.binary(min_size=3 * DESTINATION.size, max_size=3 * DESTINATION.size))
    there, back = memoryview(bytearray(3 * other.size)), memoryview(bytearray(len(content)))
    copy_fields(form_of(DESTINATION), other, memoryview(content), there)
    copy_fields(form_of(other), DESTINATION, there, back)
    assert bytes(back) == content


def test_words_of_another_format_are_converted_or_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Memory.plain(SHAPE)
    source.flows[3], source.flows[4] = 5, 6

    def older(content: dict[str, Any]) -> None:
        content["formats"]["flow"] = 0

    made = translation(_layout(older), source.raw)
    assert not any(made.memory.flows)
    assert made.notes == ["2 remembered flows could not be carried: they are of format 0"]
    monkeypatch.setitem(CONVERTERS, ("flow", 0, FORMATS["flow"]), lambda word: word << 1)
    made = translation(_layout(older), source.raw)
    assert (made.memory.flows[3:5].tolist(), made.notes) == ([10, 12], [])


def test_reasons_are_found_by_name() -> None:
    def renumbered(content: dict[str, Any]) -> None:
        reasons = content["enums"]["reason"]
        reasons[str(Reason(1).name)], reasons[str(Reason(2).name)] = 2, 1

    source = Memory.plain(SHAPE)
    source.reasons[1], source.reasons[2] = 10, 20
    memory = translation(_layout(renumbered), source.raw).memory
    assert (memory.reason(1), memory.reason(2)) == (20, 10)


def _other_hash(content: dict[str, Any]) -> None:
    content["formats"]["hash"] = 99


def _other_state(content: dict[str, Any]) -> None:
    content["enums"]["state"]["DRAINING"] = 77


@pytest.mark.parametrize(("change", "says"), [(_other_hash, "hash has format 99"), (_other_state, "DRAINING is 77")])
def test_what_means_something_else_is_not_carried(change: Change, says: str) -> None:
    with pytest.raises(Incompatible, match=says):
        translation(_layout(change), Memory.plain(SHAPE).raw)


def test_a_map_that_only_one_has() -> None:
    def without(content: dict[str, Any]) -> None:
        del content["tables"]["vc5_sources"]
        content["tables"]["vc5_dreams"] = [2, "vc5_dream", "u32"]
        content["forms"]["vc5_dream"] = [16, {"colour": [0, "u128", 1]}]
        content["shape"]["dreams"] = True

    raw = {name: area for name, area in Memory.plain(SHAPE).raw.items() if name != "vc5_sources"}
    made = translation(_layout(without), raw)
    assert set(made.memory.raw) == ARRAYS


def test_the_rest_is_carried() -> None:
    old, new = Memory.plain(SHAPE), Memory.plain(replace(SHAPE, sets=128))
    doors: list[tuple[int, int]] = []
    new.door = lambda leg, interface: doors.append((leg, interface))
    old.settings.put(0, "time", 77)
    old.legs.put(3, "interface", 9)
    carry.copy(old, new, ARRAYS)
    carry.copy_rest(old, new)
    assert (new.time, new.legs.get(3, "interface"), doors) == (77, 9, [(3, 9)])


ODD: list[Change] = [
    lambda content: content.pop("shape"),
    lambda content: content.update(version=2),
    lambda content: content.update(forms=7),
    lambda content: content["shape"].update(slots=-1),
    lambda content: content["shape"].update(wide="no"),
    lambda content: content["shape"].update(mode="none"),
    lambda content: content["forms"].update(vc5_history=[12, {"was": [2, "u32", 1]}]),
    lambda content: content["forms"].update(vc5_history=[12, {"was": [8, "u32", 2]}]),
    lambda content: content["forms"].update(vc5_history=[HISTORY.size, {"was": [0, "u32", -1]}]),
]


@pytest.mark.parametrize("change", ODD)
def test_a_description_that_makes_no_sense_is_refused(change: Change) -> None:
    content = json.loads(described(SHAPE))
    change(content)
    with pytest.raises(ValueError, match=r".+"):
        parsed(json.dumps(content))


@settings(max_examples=PARSER_INPUTS)
@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_bytes_are_refused_cleanly(text: bytes | str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parsed(text)
