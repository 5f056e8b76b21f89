"""A configuration in JSON's terms and back: how one that may have to come back outlives the process. Pure.

Any frozen dataclass of the model can be kept: what its fields hold follows from their annotations. A field that a later
version adds is read with its default; one that it no longer knows is an error, for something would be lost.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from types import NoneType, UnionType
from typing import Any

from appliance.model import Config

_ADDRESSES = (IPv4Address, IPv6Address, IPv4Network, IPv6Network, IPv4Interface, IPv6Interface)
_PLAIN: dict[type, tuple[type, ...]] = {str: (str,), int: (int,), bool: (bool,), float: (int, float)}


def as_json(value: Any) -> Any:
    """Return a configuration, or a part of one, in JSON's terms."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {one.name: as_json(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, _ADDRESSES):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple | list | frozenset):
        return [as_json(item) for item in value]
    if isinstance(value, Mapping):
        return [[as_json(name), as_json(item)] for name, item in value.items()]
    return value


def config(content: Any) -> Config:
    """Read what `as_json` made of a configuration. Raises ValueError where it is none."""
    found = _parsed(Config, content)
    assert isinstance(found, Config)
    return found


def _parsed(kind: Any, content: Any) -> Any:
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, UnionType):
        return _either(inside, content)
    if kind is NoneType and content is None:
        return None
    if origin in (tuple, list, frozenset) and isinstance(content, list):
        return _items(origin, inside, content)
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(content, list):
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in content):
            raise ValueError(f"{str(content)[:60]!r} holds no pairs")
        return {_parsed(inside[0], name): _parsed(inside[1], item) for name, item in content}
    if isinstance(kind, type):
        return _one(kind, content)
    raise ValueError(f"{str(content)[:60]!r} is no {kind}")


def _items(origin: type, inside: tuple[Any, ...], content: list[Any]) -> Any:
    if origin is tuple and inside[-1] is not Ellipsis:
        return tuple(_parsed(kind, item) for kind, item in zip(inside, content, strict=True))
    return origin(_parsed(inside[0], item) for item in content)


def _either(kinds: tuple[Any, ...], content: Any) -> Any:
    for kind in kinds:
        try:
            return _parsed(kind, content)
        except ValueError:
            continue
    raise ValueError(f"{str(content)[:60]!r} is none of {kinds}")


def _one(kind: type, content: Any) -> Any:
    plain = _PLAIN.get(kind)
    if plain is not None:
        if isinstance(content, plain) and isinstance(content, bool) == (kind is bool):
            return content
    elif is_dataclass(kind) and isinstance(content, dict):
        hints = _hints(kind)
        if unknown := content.keys() - hints.keys():
            raise ValueError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
        try:
            return kind(**{name: _parsed(hints[name], item) for name, item in content.items()})
        except TypeError as error:
            raise ValueError(str(error)) from None
    elif issubclass(kind, Enum):
        return kind(content)
    elif kind is bytes and isinstance(content, str):
        return bytes.fromhex(content)
    elif kind in _ADDRESSES and isinstance(content, str):
        return kind(content)
    raise ValueError(f"{str(content)[:60]!r} is no {kind.__name__}")


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
