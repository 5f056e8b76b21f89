"""What a key of a policy means: `http`, `8080/http`, `53/udp`, `smtp`, each with `*` for "no checks"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from appliance.config.findings import Invalid, suggestion
from appliance.config.kinds import Integer, ScalarKind
from appliance.config.nodes import quote
from appliance.model import CheckKind, Protocol

PORT = Integer(1, 65535)

_TCP = (Protocol.TCP,)
_BOTH = (Protocol.TCP, Protocol.UDP)
_UDP = (Protocol.UDP,)

# name: port, protocols, default check, whether `N/name` is a form too
NAMES: dict[str, tuple[int, tuple[Protocol, ...], CheckKind, bool]] = {
    "http": (80, _TCP, CheckKind.HTTP, True),
    "https": (443, _TCP, CheckKind.HTTPS, True),
    "domain": (53, _BOTH, CheckKind.DNS, True),
    "domain/tcp": (53, _TCP, CheckKind.DNS, False),
    "domain/udp": (53, _UDP, CheckKind.DNS, False),
    "ftp": (21, _TCP, CheckKind.SYN, False),
    "ssh": (22, _TCP, CheckKind.SYN, False),
    "telnet": (23, _TCP, CheckKind.SYN, False),
    "smtp": (25, _TCP, CheckKind.SYN, False),
    "pop2": (109, _TCP, CheckKind.SYN, False),
    "pop3": (110, _TCP, CheckKind.SYN, False),
    "imap": (143, _TCP, CheckKind.SYN, False),
    "imaps": (993, _TCP, CheckKind.SYN, False),
}

_PREFIXED = tuple(name for name, row in NAMES.items() if row[3])
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"


@dataclass(frozen=True)
class Form:
    """A policy key in full. `default` is None where no check is made by default; `starred` forbids all checks."""

    text: str
    port: int
    protocols: tuple[Protocol, ...]
    default: CheckKind | None
    starred: bool


@dataclass(frozen=True)
class FormKind(ScalarKind):
    """A policy key."""

    def words(self) -> str:
        return "a port (8080, 53/udp), a name (http, smtp) or both (8080/http)"

    def parse(self, text: str) -> Form:
        body = text.removesuffix("*")
        starred = body != text
        if body in NAMES:
            port, protocols, default, _ = NAMES[body]
            return Form(text, port, protocols, default, starred)
        number, slash, name = body.partition("/")
        if not re.fullmatch("[0-9]+", number):
            if number in NAMES:
                raise Invalid(hint=f"write {number} or a port number with /tcp or /udp")
            raise Invalid(hint=suggestion(body, NAMES))
        try:
            port = PORT.parse(number)
        except Invalid as invalid:
            raise Invalid(f"port must be {PORT.words()}, not {quote(number)}", invalid.hint, invalid.code) from None
        if not slash or name == "tcp":
            return Form(text, port, _TCP, CheckKind.SYN, starred)
        if name == "udp":
            return Form(text, port, _UDP, None, starred)
        if name in _PREFIXED:
            _, protocols, default, _ = NAMES[name]
            return Form(text, port, protocols, default, starred)
        if name in NAMES:
            message = f"{quote(name)} takes no port; only {', '.join(_PREFIXED)} do"
            raise Invalid(message, f"write {port}/tcp")
        raise Invalid(hint=suggestion(name, ("tcp", "udp", *_PREFIXED)))

    def schema(self) -> dict[str, Any]:
        names = "|".join(NAMES)
        return {"type": "string", "pattern": rf"^({names}|{_PORT}(/(tcp|udp|{'|'.join(_PREFIXED)}))?)\*?$"}


@dataclass(frozen=True)
class PortOrNothing(ScalarKind):
    """The short value of a policy key: nothing, or the backend's port."""

    accepts_null = True

    def words(self) -> str:
        return "nothing, the backends' port, or a map of settings"

    def parse(self, text: str) -> int | None:
        return PORT.parse(text) if text else None

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "null"}, PORT.schema()]}
