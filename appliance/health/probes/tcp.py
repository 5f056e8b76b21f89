"""The check `tcp`: a full connection, closed at once. It passes where somebody accepts connections."""

from __future__ import annotations

from appliance.health.probes.connection import Connection


def converse(connection: Connection) -> str:
    """Do with an open connection what the check needs; return the diagnostic of success."""
    connection.discard_arrived()
    return "connected"
