"""Sockets that listen where the configuration says."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address

from appliance.errors import HostError
from appliance.model_address import Endpoint


def listener(where: Endpoint) -> socket.socket:
    """Return a socket that listens: for every address, of both families, where none is named. Raises HostError."""
    family = socket.AF_INET if isinstance(where.address, IPv4Address) else socket.AF_INET6
    both = where.address is None and socket.has_dualstack_ipv6()
    if where.address is None and not both:
        family = socket.AF_INET
    host = str(where.address) if where.address is not None else ("::" if both else "")
    try:
        made = socket.create_server((host, where.port), family=family, backlog=64, dualstack_ipv6=both)
    except OSError as error:
        raise HostError(
            f"{where}: cannot listen here for console and metrics: {error.strerror or error}; give another address or "
            "port with `webserver`, or free this one"
        ) from None
    made.setblocking(False)
    return made
