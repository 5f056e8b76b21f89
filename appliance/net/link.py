"""What there is to say of a link for people: its driver, and how fast it is."""

from __future__ import annotations

from pathlib import Path

from appliance.errors import HostError
from appliance.net.nic import driver_of

PLACE = Path("/sys/class/net")


def link(name: str) -> dict[str, str | int | None]:
    """Return `driver` (empty: none that is told) and `speed` in Mbit/s (None: none, as of a link that is down).

    The speed is that of sysfs (Documentation/ABI/testing/sysfs-class-net).
    """
    try:
        driver = driver_of(name)
    except HostError:
        driver = ""
    try:
        speed = int((PLACE / name / "speed").read_text())
    except (OSError, ValueError):
        speed = -1
    return {"driver": driver, "speed": speed if speed > 0 else None}
