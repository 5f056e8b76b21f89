"""Services of one daemon, each with a tunnel and a VIP of its own, to backends whose kernel unpacks it.

What comes for a VIP to a backend's cable is thrown away there; only what a tunnel device lets out is taken in.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from itertools import product

from appliance.cli.client import call
from appliance.model import Address, TunnelKind
from tests.lab.addresses import ECHO, HTTP, VIP
from tests.lab.backend import Backend
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError
from tests.lab.patience import SLOWNESS, wait_for
from tests.lab.site import BALANCER, ROUTER, VIP6, Site
from tests.lab.wire import BYE, DATA, HEADER, HELLO, Frame, decode, decode_header
from tests.vm.decapsulation import device_of, prepare, received

ADVMSS = 1300
"""What backends ask their clients for, so that there is room for the longest outer header."""
VIPS = {4: "203.0.113.0/24", 6: "2001:db8:f::/64"}
KINDS = (TunnelKind.IPIP, TunnelKind.GRE, TunnelKind.FOU, TunnelKind.GUE)
WITH_PORT = (TunnelKind.FOU, TunnelKind.GUE)
FIRST_PORT = 5000
CONNECTIONS, ENOUGH = 2, 40
"""Made at least for every service, and at most until both backends have answered."""
TABLE = 100
"""Of a backend's routes for the answers from its VIPs, whatever its default route is."""
PACKETS = 6
"""Of a connection to its backend: SYN, ACK, data of three segments, FIN."""


@dataclass(frozen=True)
class Row:
    """A service: the tunnel to its backends, and the IP versions outside and inside."""

    number: int
    kind: TunnelKind
    outer: int
    inner: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.inner}-in-{self.outer}"

    @property
    def vip(self) -> Address:
        return (VIP if self.inner == 4 else VIP6) + 10 + self.number

    @property
    def service(self) -> str:
        return f"[{self.vip}]:{ECHO}/tcp" if self.inner == 6 else f"{self.vip}:{ECHO}/tcp"

    @property
    def port(self) -> int:
        """Every service of fou and gue has its own; the others have none."""
        return FIRST_PORT + self.number if self.kind in WITH_PORT else 0

    @property
    def checksum(self) -> bool:
        """Both settings occur with each kind, and in each family."""
        return (self.outer == self.inner) == (self.kind is TunnelKind.FOU)

    def entry(self, servers: Mapping[int, Sequence[Address]], astray: int = 0, http: int = HTTP) -> str:
        """Return the lines of the configuration.

        `servers` are the backends' addresses by IP version, `astray` is added to the tunnel's port, and the backends'
        web servers listen on the port `http`.
        """
        listed = ", ".join(f"'{address}'" for address in servers[self.outer])
        lines = [f"  - virtual: '{self.vip}'", f"    servers: [{listed}]", f"    tunnel-type: {self.kind}"]
        if self.port:
            lines += [f"    tunnel-port: {self.port + astray}"]
            lines += [f"    tunnel-checksum: {'yes' if self.checksum else 'no'}"]
        lines += [f"    policy: {{{ECHO}/tcp: {{checks: [{{type: http, port: {http}, path: /alive}}]}}}}", ""]
        return "\n".join(lines)


ROWS = [Row(number, *row) for number, row in enumerate(product(KINDS, (4, 6), (4, 6)), start=1)]
"""Every kind in every pair of families."""


def route(site: Site) -> None:
    """Let the router send all VIPs to the balancer by the first network."""
    first = site.networks[0]
    lines = [f"route replace {VIPS[4]} via {first.address(BALANCER)}"]
    lines += [f"route replace {VIPS[6]} via {first.address6(BALANCER)}", ""]
    site.router.run("ip", "-batch", "-", text="\n".join(lines))


def unpack(site: Site, rows: Sequence[Row]) -> None:
    """Let all backends take these services, and nothing else for a VIP."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda backend: _unpack(site, backend, rows), site.backends.values()))


def _unpack(site: Site, backend: Backend, rows: Sequence[Row]) -> None:
    space, network = backend.namespace, site.network_of[backend.name]
    for version, gateway in ((4, network.address(ROUTER)), (6, network.address6(ROUTER))):
        lines = ["rule add pref 20 lookup local", "rule del pref 0"]
        lines += [f"rule add pref 10 iif eth0 to {VIPS[version]} blackhole"]
        lines += [f"rule add pref 15 from {VIPS[version]} lookup {TABLE}"]
        lines += [f"route replace default via {gateway} advmss {ADVMSS} table {TABLE}", ""]
        space.run("ip", f"-{version}", "-batch", "-", text="\n".join(lines))
    for row in rows:
        prepare(space, row.kind, site.address(backend.name, row.outer), row.vip, row.port)


def states(daemon: Daemon) -> dict[str, set[str]]:
    """Return the states of each service's backends."""
    services = call(daemon.places, "status")["services"]
    return {one["service"]: {backend["state"] for backend in one["backends"]} for one in services}


def wait_available(daemon: Daemon, rows: Sequence[Row], others: Sequence[Row] = (), seconds: float = 20.0) -> None:
    """Wait until these services have all their backends, and the others none."""
    wanted = {row.service: True for row in rows} | {row.service: False for row in others}

    def look() -> bool:
        found = {service: "available" in seen for service, seen in states(daemon).items()}
        mixed = [seen for seen in states(daemon).values() if len(seen) > 1 and "available" in seen]
        return found == wanted and not mixed

    try:
        wait_for(f"{len(rows)} of {len(wanted)} services", look, seconds)
    except LabError as error:
        raise AssertionError(f"{error}\n{states(daemon)}\n{daemon.errors[-3000:]}") from None


def receive(stream: BufferedReader) -> Frame:
    """Return the next frame of a connection."""
    header = stream.read(HEADER.size)
    return decode(header + stream.read(decode_header(header)[2]))


def talk(row: Row) -> str:
    """Say something of three segments to the echo server behind a VIP, and return the name of who answered."""
    payload = random.Random(row.number).randbytes(3 * ADVMSS)
    with socket.create_connection((str(row.vip), ECHO), timeout=5 * SLOWNESS) as connection:
        stream = connection.makefile("rb")
        hello = receive(stream)
        assert hello.kind == HELLO
        connection.sendall(Frame(DATA, 0, payload).encode())
        assert receive(stream) == Frame(DATA, 0, payload[::-1])
        connection.sendall(Frame(BYE, 1, b"").encode())
        assert receive(stream).kind == BYE
        return hello.payload.decode()


def converse(row: Row, names: set[str]) -> list[str]:
    """Talk until everybody has answered; return who did, one for every connection."""
    answered = [talk(row) for _ in range(CONNECTIONS)]
    while set(answered) < names and len(answered) < ENOUGH:
        answered.append(talk(row))
    return answered


def unpacked(site: Site, row: Row) -> dict[str, int]:
    """Return how many packets came out of the service's device, for each backend."""
    device = device_of(row.kind, row.outer, row.inner).name
    return {name: received(backend.namespace, device) for name, backend in site.backends.items()}


def carry(site: Site, row: Row) -> None:
    """Talk to every backend of a service, and assert that all that it got came out of its tunnel device."""
    before = unpacked(site, row)
    answered = site.client.call(partial(converse, row, set(site.backends)))
    after = unpacked(site, row)
    assert set(answered) == set(site.backends), row
    for name in site.backends:
        assert after[name] - before[name] >= PACKETS * answered.count(name), (row, name)
