"""What the web process is told to do: the settings, as a message over the socket pair. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from appliance.model_console import Console


@dataclass(frozen=True)
class Settings:
    """Everything that the process needs to know. `log` is the spool, `listening` are sockets that listen."""

    log: str
    version: str
    listening: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    """What this host is called."""
    console: Console = field(default_factory=Console)

    @property
    def anything(self) -> bool:
        """Whether there is anything to do at all."""
        return bool(self.listening)

    @property
    def directories(self) -> tuple[str, ...]:
        """What the process works in."""
        return (self.log,)

    @property
    def credentials(self) -> tuple[str, ...]:
        """The files that say who we are."""
        return tuple(path for path in (self.console.certificate, self.console.key) if path)

    @property
    def sockets(self) -> tuple[int, ...]:
        """What is handed to it to accept from."""
        return self.listening

    def message(self, places: Mapping[str, str]) -> dict[str, Any]:
        """Return the settings as the process is told them; they hold secrets. `places` by what it was handed."""
        console = self.console
        files = {name: places.get(path, path) for name in ("certificate", "key") if (path := getattr(console, name))}
        return asdict(replace(self, log=places[self.log], console=replace(console, **files)))


def decode_settings(message: Mapping[str, Any]) -> Settings:
    """Read the message; raises KeyError or TypeError for what is none."""
    console: dict[str, Any] = dict(message["console"])
    return Settings(
        log=message["log"],
        version=message["version"],
        listening=tuple(message["listening"]),
        names=tuple(message["names"]),
        console=Console(**{**console, "hosts": tuple(console["hosts"])}),
    )
