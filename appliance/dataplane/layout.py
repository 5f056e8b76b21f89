"""The layout of pinned maps as data, so that another version of the program can read them field by field. Pure.

`described` is pinned beside the maps of each generation (generation.py); `parsed` is for whoever finds it there, an
older version as well as a newer one. So names count, and not places: what is not known is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from appliance.dataplane.abi import ENUMS, FORMATS, MAPS, STRUCTS
from appliance.dataplane.shape import Shape
from appliance.dataplane.structs import SIZES, Struct
from appliance.model import Mode

VERSION = 1


@dataclass(frozen=True)
class Place:
    """Where a field lies in its struct, bytes; `count` items of a primitive type."""

    offset: int
    type: str
    count: int


@dataclass(frozen=True)
class Form:
    """A struct of some version: its size in bytes, and its fields."""

    size: int
    fields: Mapping[str, Place]


@dataclass(frozen=True)
class Table:
    """A map of some version; `element` and `key` name a struct or a primitive."""

    kind: int
    element: str
    key: str


@dataclass(frozen=True)
class Layout:
    """All maps of one generation, whichever version made it."""

    shape: Shape
    formats: Mapping[str, int]
    forms: Mapping[str, Form]
    tables: Mapping[str, Table]
    enums: Mapping[str, Mapping[str, int]]


def form_of(struct: Struct) -> Form:
    """A struct of this version."""
    places = {one.name: Place(struct.offsets[one.name], one.type, one.count) for one in struct.fields}
    return Form(struct.size, places)


def described(shape: Shape) -> str:
    """The layout of this version's maps for a program of this shape, as JSON."""
    forms = {struct.name: form_of(struct) for struct in STRUCTS}
    return json.dumps(
        {
            "version": VERSION,
            "shape": asdict(shape),
            "formats": FORMATS,
            "forms": {name: [form.size, _places(form)] for name, form in forms.items()},
            "tables": {one.name: [int(one.kind), _element(one.element, one.name, shape), _key(one)] for one in MAPS},
            "enums": {name: {member.name: int(member) for member in enum} for name, enum in ENUMS.items()},
        },
        separators=(",", ":"),
    )


def _places(form: Form) -> dict[str, list[Any]]:
    return {name: [place.offset, place.type, place.count] for name, place in form.fields.items()}


def _element(element: Struct | str, name: str, shape: Shape) -> str:
    if name == "vc5_slots":
        return "u16" if shape.wide else "u8"
    return element.name if isinstance(element, Struct) else element


def _key(one: Any) -> str:
    return one.key.name if one.key is not None else "u32"


def parsed(text: str | bytes) -> Layout:
    """Read what `described` of any version wrote. Raises ValueError where it cannot be relied on."""
    try:
        content = json.loads(text)
        if content["version"] != VERSION:
            raise ValueError("it is of another form")
        forms = {
            str(name): Form(
                _whole(size),
                {str(field): Place(_whole(at), str(kind), _whole(n)) for field, (at, kind, n) in of.items()},
            )
            for name, (size, of) in content["forms"].items()
        }
        for name, form in forms.items():
            _check(name, form)
        return Layout(
            _shape(content["shape"]),
            {str(name): _whole(number) for name, number in content["formats"].items()},
            forms,
            {
                str(name): Table(_whole(kind), str(element), str(key))
                for name, (kind, element, key) in content["tables"].items()
            },
            {
                str(name): {str(member): _whole(value) for member, value in members.items()}
                for name, members in content["enums"].items()
            },
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it makes no sense: {error!r}") from None


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 32:
        raise ValueError(f"{value!r} is no number of bytes or things")
    return value


def _check(name: str, form: Form) -> None:
    for field, place in form.fields.items():
        size = SIZES.get(place.type)
        if size is None:
            continue  # a type of a later version: whoever does not know it does not read it
        if place.offset % size or form.size % size or place.offset + size * place.count > form.size:
            raise ValueError(f"{name}.{field} does not lie in its struct")


def _shape(content: Mapping[str, Any]) -> Shape:
    known = {one.name for one in fields(Shape)}
    given = {name: value for name, value in content.items() if name in known}
    default = Shape()
    for name, value in given.items():
        kind = type(getattr(default, name))
        if kind is int and not 0 < _whole(value) <= 1 << 30:
            raise ValueError(f"a shape has no {name} of {value!r}")
        if kind is bool and type(value) is not bool:
            raise ValueError(f"a shape has no {name} of {value!r}")
    return Shape(**{**given, "mode": Mode(given["mode"]), "tunnels": tuple(map(str, given.get("tunnels", ())))})
