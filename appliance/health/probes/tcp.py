"""The check `tcp`: a full connection, closed at once with FIN. It passes where somebody accepts connections."""

from __future__ import annotations

from appliance.health.probes.connection import Connection


async def converse(connection: Connection, family: int, host: str, port: int, source_port: int) -> str:
    """Connect; return the diagnostic of success. Raises what `Connection.open` raises."""
    await connection.open(family, host, port, source_port)
    return "connected"
