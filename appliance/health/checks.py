"""A check as JSON, for the prober and for the state file; bytes are hexadecimal digits there."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from appliance.health.diagnostic import printable
from appliance.health.pattern import PatternError, compiled
from appliance.model import Check, CheckKind, Protocol

MAX_PAYLOAD = 4096
"""Bytes of a datagram, at most."""


def encode_check(check: Check) -> dict[str, Any]:
    """Return every value of a check."""
    return {field.name: _plain(getattr(check, field.name)) for field in fields(check)}


def decode_check(item: object, where: str) -> Check:
    """Read a check that has exactly the keys of one; raises ValueError."""
    if not isinstance(item, dict) or item.keys() != Check.__dataclass_fields__.keys():
        raise ValueError(f"{where}: a check needs exactly the keys {', '.join(Check.__dataclass_fields__)}")
    if item["kind"] not in tuple(CheckKind) or not isinstance(item["expect"], list):
        raise ValueError(f"{where}: unknown kind, or expect is not a list")
    if not isinstance(item["rcode"], list):
        raise ValueError(f"{where}: rcode is not a list")
    return Check(
        kind=CheckKind(item["kind"]),
        port=integer(item["port"], f"{where}.port", 1, 65535),
        host=text(item["host"], f"{where}.host"),
        path=text(item["path"], f"{where}.path"),
        method=text(item["method"], f"{where}.method", 16),
        expect=tuple(integer(code, f"{where}.expect", 0, 999) for code in item["expect"]),
        interval=seconds(item["interval"], f"{where}.interval"),
        timeout=seconds(item["timeout"], f"{where}.timeout"),
        rise=integer(item["rise"], f"{where}.rise", 1, 1000),
        fall=integer(item["fall"], f"{where}.fall", 1, 1000),
        window=None if item["window"] is None else integer(item["window"], f"{where}.window", 1, 1000),
        body=text(item["body"], f"{where}.body"),
        body_pattern=_pattern(item["body_pattern"], f"{where}.body_pattern"),
        verify=_boolean(item["verify"], f"{where}.verify"),
        ca=text(item["ca"], f"{where}.ca"),
        expiry_warning=integer(item["expiry_warning"], f"{where}.expiry_warning", 0, 10000),
        transport=_protocol(item["transport"], f"{where}.transport"),
        query=text(item["query"], f"{where}.query", 255),
        qtype=text(item["qtype"], f"{where}.qtype", 16),
        rcode=tuple(integer(code, f"{where}.rcode", 0, 15) for code in item["rcode"]),
        send=_octets(item["send"], f"{where}.send"),
        receive=_octets(item["receive"], f"{where}.receive"),
        service=text(item["service"], f"{where}.service"),
        tls=_boolean(item["tls"], f"{where}.tls"),
        mtu=_boolean(item["mtu"], f"{where}.mtu"),
    )


def integer(value: object, what: str, least: int, most: int) -> int:
    """Return a value that is an integer from `least` to `most`; raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{what}: {printable(repr(value))} is not an integer from {least} to {most}")
    return value


def seconds(value: object, what: str) -> float:
    """Return a value that is a duration; raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86400:
        raise ValueError(f"{what}: {printable(repr(value))} is not a number of seconds above 0, up to a day")
    return float(value)


def text(value: object, what: str, limit: int = 4096) -> str:
    """Return a value that is a text; raises ValueError."""
    if not isinstance(value, str) or len(value) > limit:
        raise ValueError(f"{what}: not a text of at most {limit} characters")
    return value


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, CheckKind) else value


def _boolean(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{what}: {printable(repr(value))} is neither true nor false")
    return value


def _protocol(value: object, what: str) -> Protocol:
    if isinstance(value, bool) or not isinstance(value, int) or value not in tuple(Protocol):
        raise ValueError(f"{what}: {printable(repr(value))} is no protocol")
    return Protocol(value)


def _pattern(value: object, what: str) -> str:
    found = text(value, what)
    try:
        if found:
            compiled(found)
    except PatternError as error:
        raise ValueError(f"{what}: {printable(str(error))}") from None
    return found


def _octets(value: object, what: str) -> bytes:
    try:
        return bytes.fromhex(text(value, what, 2 * MAX_PAYLOAD))
    except ValueError:
        raise ValueError(f"{what}: not hexadecimal digits") from None
