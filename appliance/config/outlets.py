"""Values of the host and of the log's outlets: where something listens, what it is called, secrets, URLs."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from appliance.config.addresses import FOUR, SIX, unusable
from appliance.config.findings import Invalid
from appliance.config.kinds import Integer, ScalarKind
from appliance.model_address import NOWHERE, Endpoint

_PORT = Integer(1, 65535)


@dataclass(frozen=True)
class Listening(ScalarKind):
    """Where something listens: `10.1.1.5:9090`, `[2001:db8::5]:9090`, `:9090` for every address; `no` for nowhere."""

    def words(self) -> str:
        return "an address and a port (10.1.1.5:9090, [2001:db8::5]:9090, :9090), or no"

    def parse(self, text: str) -> Endpoint:
        if text.isascii() and text.lower() in ("no", "false", "off"):
            return NOWHERE
        host, colon, port = text.rpartition(":")
        if not colon and re.fullmatch("[0-9]+", text):
            raise Invalid(hint=f"write :{text} for port {text[:5]} of every address")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not colon or (":" in bare and bare is host) or len(text) > 60:
            raise Invalid(hint="an IPv6 address stands in brackets, the port behind them" if "::" in text else "")
        try:
            address = ipaddress.ip_address(bare) if host else None
            number = _PORT.parse(port)
        except ValueError:
            raise Invalid from None
        if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
            raise Invalid(hint="write a global address")
        if address is not None and address.is_unspecified:
            address = None
        elif address is not None and address.is_multicast:
            raise Invalid(f"{address} is {unusable(address)}", "write an address of this host", "address")
        return Endpoint(address, number)

    def schema(self) -> dict[str, Any]:
        somewhere = rf"({FOUR}|\[{SIX}\])?:[1-9][0-9]{{0,4}}"
        nowhere = "[Nn][Oo]|[Ff][Aa][Ll][Ss][Ee]|[Oo][Ff][Ff]"
        return {"anyOf": [{"const": False}, {"type": "string", "pattern": f"^({somewhere}|{nowhere})$"}]}


@dataclass(frozen=True)
class MulticastGroup(ScalarKind):
    """A multicast group and a port: `224.0.0.1:9999`, `[ff02::1]:9999`."""

    def words(self) -> str:
        return "a multicast group and a port (224.0.0.1:9999)"

    def parse(self, text: str) -> Endpoint:
        host, _, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        try:
            group = ipaddress.ip_address(bare)
            number = _PORT.parse(port)
        except ValueError:
            raise Invalid from None
        if (group.version == 6) != (bare is not host) or getattr(group, "scope_id", None) is not None:
            raise Invalid(hint="an IPv6 group stands in brackets, an IPv4 group does not")
        if not group.is_multicast:
            message = f"{group} is no multicast group"
            raise Invalid(message, "IPv4 has 224.0.0.0 to 239.255.255.255, IPv6 ff00::/8", "address")
        return Endpoint(group, number)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^({FOUR}|\[{SIX}\]):[1-9][0-9]{{0,4}}$"}


@dataclass(frozen=True)
class RouterId(ScalarKind):
    """A BGP identifier: four octets written as an IPv4 address, not all zero (RFC 6286)."""

    def words(self) -> str:
        return "four numbers with dots between them (192.0.2.1), not 0.0.0.0"

    def parse(self, text: str) -> ipaddress.IPv4Address:
        try:
            identifier = ipaddress.IPv4Address(text)
        except ValueError:
            raise Invalid from None
        if not int(identifier):
            raise Invalid(code="range")
        return identifier

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{FOUR}$", "not": {"const": "0.0.0.0"}}


@dataclass(frozen=True)
class Secret(ScalarKind):
    """A password of printable characters, which no message repeats."""

    most: int

    def words(self) -> str:
        return f"a secret of 1 to {self.most} characters"

    def parse(self, text: str) -> str:
        octets = len(text.encode("utf-8", "replace"))
        if not text.isprintable() or not 1 <= octets <= self.most:
            counted = "" if octets == len(text) else f", which count as {octets}"
            raise Invalid(f"must be {self.words()}, all printable; this has {len(text)}{counted}")
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "integer"], "minLength": 1, "maxLength": self.most}


@dataclass(frozen=True)
class Url(ScalarKind):
    """The URL of a web service, which no message repeats: a webhook's is a secret, others may hold a password."""

    def words(self) -> str:
        return "a URL that begins with https:// or http://"

    def parse(self, text: str) -> str:
        host = r"([A-Za-z0-9._~%!$&'()*+,;=:-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+\])"
        if len(text) > 2048 or not re.fullmatch(rf"https?://{host}(:[1-9][0-9]{{0,4}})?([/?][!-~]*)?", text):
            raise Invalid("must be " + self.words(), "for example https://elastic.example.com:9200")
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^https?://[!-~]+$", "maxLength": 2048}


@dataclass(frozen=True)
class SyslogTarget(ScalarKind):
    """Who gets syslog messages: `yes` for the host's own syslog, a URL for a server, `no` for nobody."""

    def words(self) -> str:
        return "yes, no, or a URL of udp://, tcp:// or tls:// with host and port"

    def parse(self, text: str) -> str:
        word = text.lower() if text.isascii() else ""
        if word in ("true", "yes", "on"):
            return "local"
        if word in ("false", "no", "off"):
            return ""
        host = r"([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+\])"
        if len(text) > 300 or not re.fullmatch(rf"(udp|tcp|tls)://{host}:[1-9][0-9]{{0,4}}", text):
            raise Invalid(hint="for example udp://192.0.2.5:514, tcp://192.0.2.5:601, tls://log.example.com:6514")
        _PORT.parse(text.rpartition(":")[2])
        return text

    def schema(self) -> dict[str, Any]:
        pattern = "^(([Tt][Rr][Uu][Ee]|[Yy][Ee][Ss]|[Oo][Nn]|[Ff][Aa][Ll][Ss][Ee]|[Nn][Oo]|[Oo][Ff][Ff])|(udp|tcp|tls)://[!-~]+)$"
        return {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": pattern}]}


def without_password(url: str) -> str:
    """Return a URL for people, what stands before its `@` hidden."""
    return re.sub(r"^(https?://)[^/?@]*@", r"\1***@", url)
