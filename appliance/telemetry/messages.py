"""What the telemetry process is told to do: the settings, as a message over the socket pair. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from appliance.model_logging import Elasticsearch, Logging
from appliance.telemetry.documents import Observer


@dataclass(frozen=True)
class Settings:
    """Everything that the process needs to know. `log` is the spool, `place` is for its own files."""

    log: str
    place: str
    observer: Observer
    logging: Logging
    files: Mapping[str, str] = field(default_factory=dict)
    """Where the process finds what is in files that only the daemon may read, by their paths."""

    @property
    def elasticsearch(self) -> Elasticsearch | None:
        """Where documents go; None: nowhere."""
        search = self.logging.elasticsearch
        return search if search is not None and search.addresses else None

    @property
    def credentials(self) -> tuple[str, ...]:
        """The files that say who we are to Elasticsearch, and how it is known."""
        search = self.elasticsearch
        return tuple(path for path in (search.ca, search.certificate, search.key) if path) if search else ()

    @property
    def alerts(self) -> bool:
        """Whether anybody is to be told of what happens."""
        return bool(self.logging.slack or self.logging.teams or self.logging.syslog)

    @property
    def anything(self) -> bool:
        """Whether there is anything to do at all."""
        return bool(self.elasticsearch or self.alerts)

    @property
    def directories(self) -> tuple[str, ...]:
        """What the process works in."""
        return self.log, self.place

    @property
    def sockets(self) -> tuple[int, ...]:
        """None is handed to it."""
        return ()

    def message(self, places: Mapping[str, str]) -> dict[str, Any]:
        """Return the settings as the process is told them; they hold secrets. `places` by what it was handed."""
        files = {path: places[path] for path in self.credentials if path in places}
        return asdict(replace(self, log=places[self.log], place=places[self.place], files=files))


def decode_settings(message: dict[str, Any]) -> Settings:
    """Read the message; raises KeyError or TypeError for what is none."""
    logging: dict[str, Any] = dict(message["logging"])
    search = logging.pop("elasticsearch")
    if search is not None:
        search = Elasticsearch(**{**search, "addresses": tuple(search["addresses"])})
    return Settings(
        log=message["log"],
        place=message["place"],
        observer=Observer(**message["observer"]),
        logging=Logging(**{**logging, "syslog": tuple(logging["syslog"])}, elasticsearch=search),
        files={str(path): str(place) for path, place in message["files"].items()},
    )
