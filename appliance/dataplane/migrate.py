"""Another version's tables in the terms of this one: what `carry` copies, and `Tables` reads, as if it were ours. Pure.

An array whose elements are the same in both is used where it lies, so that what the other program writes is seen, and
what is stored there is seen by it. One that differs is copied, field by field, by name; a field that only we have is
zero. Words that have no fields (flows, slots, fragments) have a format with a number (`abi.FORMATS`): of another number
they are converted by a function of CONVERTERS, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from appliance.dataplane.abi import COUNTER, ENUMS, EVENT, FORMATS, MAPS, REASON_STRIDE, MapLayout
from appliance.dataplane.aside import BLOCK_KEY, ENDPOINT
from appliance.dataplane.layout import Form, Layout, form_of
from appliance.dataplane.memory import FORMATS as CODES
from appliance.dataplane.memory import Memory
from appliance.dataplane.spec import MapKind
from appliance.dataplane.structs import SIZES, Struct

Converter = Callable[[int], int]
"""Makes a word of ours of another version's; 0: that is not carried."""
CONVERTERS: dict[tuple[str, int, int], Converter] = {}
"""By the name of a format, the number there, the number here."""
WORDS_OF = {"vc5_flows": "flow", "vc5_slots": "slot", "vc5_fragments": "fragment"}
"""The arrays of words, and the names of their formats."""
NEEDED = ("hash", "slot")
"""Formats without which nothing can be carried: another hash means other slots, and other flows."""
MEANINGS = ("state", "dead_policy", "service_flag", "encapsulation", "refusal")
"""Enums whose numbers stand in tables."""


class Incompatible(Exception):
    """These tables cannot be carried; says why."""


@dataclass
class Translation:
    """A memory of our layout that shows another one's; `copied` names the arrays that have to be read again."""

    memory: Memory
    copied: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def check(layout: Layout) -> None:
    """Raises Incompatible where nothing of a generation of this layout can be carried."""
    for name in NEEDED:
        there, here = layout.formats.get(name, 0), FORMATS[name]
        if there != here and (name, there, here) not in CONVERTERS:
            raise Incompatible(f"its {name} has format {there}, this version's {here}")
    for name in MEANINGS:
        theirs = layout.enums.get(name, {})
        for member in ENUMS[name]:
            if theirs.get(member.name, int(member)) != int(member):
                raise Incompatible(f"{name} {member.name} is {theirs[member.name]} there, and {int(member)} here")


def translation(layout: Layout, raw: Mapping[str, memoryview]) -> Translation:
    """Show the arrays `raw`, by name, as ours. Raises Incompatible."""
    check(layout)
    made = Translation(Memory.plain(layout.shape))
    ours: dict[str, memoryview] = dict(made.memory.raw)
    for one in MAPS:
        if one.kind is not MapKind.ARRAY or one.name not in raw or one.name not in layout.tables:
            continue
        if _same(one, layout) and len(raw[one.name]) >= len(ours[one.name]):
            ours[one.name] = raw[one.name]
        else:
            made.copied.add(one.name)
    made.memory = Memory(layout.shape, ours)
    read_again(made, layout, raw)
    return made


def read_again(made: Translation, layout: Layout, raw: Mapping[str, memoryview]) -> None:
    """Copy once more what is not used where it lies."""
    made.notes.clear()
    for one in MAPS:
        if one.name in made.copied:
            note = _copy(one, layout, raw[one.name], made.memory.raw[one.name])
            if note:
                made.notes.append(note)


def keys_alike(layout: Layout, name: str) -> bool:
    """Whether the keys of a map, of hash or trie, mean the same there as here."""
    ours = {"vc5_blocked": BLOCK_KEY, "vc5_returns": ENDPOINT}.get(name)
    table = layout.tables.get(name)
    if table is None or ours is None:
        return table is not None and table.key == "u32"
    return layout.forms.get(table.key) == form_of(ours)


def _same(one: MapLayout, layout: Layout) -> bool:
    if one.name == "vc5_counters":
        return all(layout.forms.get(struct.name) == form_of(struct) for struct in (COUNTER, EVENT))
    if one.name == "vc5_reasons":
        return dict(layout.enums.get("reason", {})) == {member.name: int(member) for member in ENUMS["reason"]}
    name = WORDS_OF.get(one.name)
    if name is not None:
        return layout.formats.get(name) == FORMATS[name]
    if isinstance(one.element, Struct):
        return layout.forms.get(layout.tables[one.name].element) == form_of(one.element)
    return layout.tables[one.name].element == one.element


def _copy(one: MapLayout, layout: Layout, source: memoryview, target: memoryview) -> str:
    """Copy an array; returns what was left behind."""
    if one.name == "vc5_reasons":
        _copy_reasons(layout, source, target)
        return ""
    if one.name in WORDS_OF:
        return _copy_words(one.name, layout, source, target)
    form = layout.forms.get(layout.tables[one.name].element)
    if one.name == "vc5_counters" or form is None or not isinstance(one.element, Struct):
        return f"{one.name.removeprefix('vc5_')} could not be carried: they mean something else there"
    copy_fields(form, one.element, source, target)
    return ""


def copy_fields(form: Form, ours: Struct, source: memoryview, target: memoryview) -> None:
    """Copy arrays of structs, field by field; a value that does not fit becomes the largest that does."""
    count = min(len(source) // form.size, len(target) // ours.size) if form.size else 0
    for one in ours.fields:
        place = form.fields.get(one.name)
        if place is None or place.type not in SIZES:
            continue
        for at in range(min(one.count, place.count)):
            size, here = SIZES[place.type], SIZES[one.type]
            there = source[: count * form.size].cast(CODES[place.type])[place.offset // size + at :: form.size // size]
            start, step = ours.offsets[one.name] // here + at, ours.size // here
            column = target[: count * ours.size].cast(CODES[one.type])
            if place.type == one.type:
                column[start::step] = there
                continue
            most = (1 << 8 * here) - 1
            for number, value in enumerate(there.tolist()):
                column[start + number * step] = min(value, most)


def _copy_words(name: str, layout: Layout, source: memoryview, target: memoryview) -> str:
    what = WORDS_OF[name]
    number = layout.formats.get(what, 0)
    converter = CONVERTERS.get((what, number, FORMATS[what]))
    element = layout.tables[name].element
    if converter is None or element not in SIZES:
        words = source.cast("Q") if len(source) % 8 == 0 else source
        left = len(words) - words.tolist().count(0)
        return f"{left} remembered {what}s could not be carried: they are of format {number}" if left else ""
    size = SIZES[element]
    words = source[: len(source) // size * size].cast(CODES[element])
    here = target.cast(CODES[element])
    for at, word in enumerate(words[: len(here)].tolist()):
        here[at] = converter(word) if word else 0
    return ""


def _copy_reasons(layout: Layout, source: memoryview, target: memoryview) -> None:
    theirs, words, ours = layout.enums.get("reason", {}), source.cast("Q"), target.cast("Q")
    for row in range(min(len(words), len(ours)) // REASON_STRIDE):
        for member in ENUMS["reason"]:
            at = theirs.get(member.name, REASON_STRIDE)
            if at < REASON_STRIDE:
                ours[row * REASON_STRIDE + int(member)] = words[row * REASON_STRIDE + at]
