"""What the tests of NAT in all modes share: a Site with backends without the VIPs; the balancer is their router."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from appliance.cli.client import call
from appliance.model import Address
from tests.lab.addresses import ECHO, HTTP
from tests.lab.backend import Server, nginx_configuration
from tests.lab.daemon import Daemon
from tests.lab.namespace import LabError, Namespace
from tests.lab.patience import wait_for
from tests.lab.site import BALANCER, ROUTER, Site
from tests.netns.scenario_site import VIPS, rows

MAPPED = 8080
"""Where nginx listens; the service's port is HTTP."""
REPEATED, BEHIND = 7001, 7101
"""A service whose backends send everything back, and their port."""
CLOSED = 7002
"""A service that nobody listens for, by the same number behind it."""
CLAMP = 1200
FORWARDING = {4: "/proc/sys/net/ipv4/ip_forward", 6: "/proc/sys/net/ipv6/conf/all/forwarding"}
REPEATER = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
def opened():
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((sys.argv[1], int(sys.argv[2])))
    return made
server, first = opened(), None
print("ready", flush=True)
while True:
    data, peer = server.recvfrom(65536)
    if data == b"remember":
        first = peer
    elif data == b"ask":
        late = opened()
        late.connect(first)
        late.send(b"late")
        late.settimeout(5)
        try:
            told = b"answered " + late.recv(99)
        except OSError as error:
            told = type(error).__name__.encode()
        late.close()
        server.sendto(told, peer)
    else:
        server.sendto(data, peer)
"""
"""Sends every datagram back; `ask` tells what came of a late answer to whom said `remember`."""
ASKER = """
import json, socket, sys
vip, port, source = sys.argv[1], int(sys.argv[2]), sys.argv[3]
family = socket.AF_INET6 if ":" in vip else socket.AF_INET
SO_NO_CHECK = 11
def ask(data, plain=True):
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.bind((source, 0))
        if not plain:
            made.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        made.settimeout(5)
        made.connect((vip, port))
        made.send(data)
        if data == b"remember":
            return data.decode()
        try:
            back = made.recv(65536)
        except OSError as error:
            return type(error).__name__
        return back.decode() if len(back) < 99 else "whole" if back == data else "spoilt"
print(json.dumps([ask(each.encode() * int(times), how == "sum") for each, times, how in
                  (word.split(",") for word in sys.argv[4:])]))
"""
"""Sends datagrams, each `TEXT,TIMES,sum|none` from a port of its own, and tells what comes back."""


def configuration(site: Site, mode: str) -> str:
    """Return a file with the services of both families; the ones for single datagrams have one backend."""
    lines = [f"interfaces: [{', '.join(site.interfaces)}]", "xdp: native"]
    lines += [f"mode: {'vlan' if mode == 'mixed' else mode}", *(["mixed_tags: yes"] if mode == "mixed" else [])]
    networks = [network for network in site.networks if network.tagged or mode == "multi-nic"]
    for name, prefix in (("vlans", "10.1.{}.0/24"), ("vlans6", "2001:db8:{}::/64")) if networks else ():
        lines += [f"{name}:", *(f"  {network.id}: {prefix.format(network.id)}" for network in networks)]
    lines += ["interval: 100ms", "timeout: 2s", "rise: 1", "fall: 2", "services:"]
    servers = {version: [site.address(name, version) for name in site.backends] for version in VIPS}
    return "\n".join([*lines, *services(servers), ""])


def services(servers: Mapping[int, Sequence[Address]]) -> list[str]:
    """Return the lines of the services of both families, whose backends are these."""
    lines = []
    for version in VIPS:
        nat = ["    forward: nat", f"    clamp_mss: {CLAMP}", "    policy:"]
        listed = ", ".join(f"'{address}'" for address in servers[version])
        lines += [f"  - virtual: '{VIPS[version]}'", f"    servers: [{listed}]", *nat]
        lines += [f"      http: {{bind: {MAPPED}, checks: [{{type: http, path: /alive}}]}}"]
        lines += [f"      {ECHO}/tcp: {{checks: [{{type: syn}}, {{type: tcp}}]}}"]
        lines += [f"      {ECHO}/udp: {{checks: [{{type: tcp, port: {ECHO}}}]}}"]
        lines += [f"  - virtual: '{VIPS[version]}'", f"    servers: ['{servers[version][-1]}']", *nat]
        lines += [f"      {REPEATED}/udp: {{bind: {BEHIND}, checks: [{{type: tcp, port: {ECHO}}}]}}"]
        lines += [f"      {CLOSED}/udp: {{checks: [{{type: tcp, port: {ECHO}}}]}}"]
    return lines


@contextmanager
def behind(site: Site) -> Iterator[None]:
    """Take the VIPs from all backends, and make the balancer their router."""
    started: list[subprocess.Popen[str]] = []
    try:
        _route(site)
        for name in site.backends:
            started += _turn(site, name)
        yield
    finally:
        for process in started:
            process.kill()
            process.communicate()


@contextmanager
def translating(site: Site, mode: str) -> Iterator[Daemon]:
    """Yield a daemon with all backends available; none of them holds a VIP, and all reach clients by way of it."""
    with behind(site), Daemon(site.balancer, site.root(), configuration(site, mode)) as daemon:
        wait_translating(daemon)
        yield daemon
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.errors


def wait_translating(daemon: Daemon) -> None:
    """Wait until all backends of all services are available."""
    try:
        wait_for("available backends", lambda: {row["state"] for row in rows(daemon)} == {"available"}, 20)
    except LabError as error:
        seen = [(row["address"], row["state"], row["health"], row.get("diagnostic")) for row in rows(daemon)]
        raise AssertionError(f"{error}\n{seen}\n{daemon.errors[-3000:]}") from None


def _route(site: Site) -> None:
    """Let the balancer's host be a router, whose way to the clients is the first network's."""
    first = site.networks[0]
    for path in FORWARDING.values():
        site.balancer.run("sh", "-c", f"echo 1 > {path}")
    for router in (first.address(ROUTER), first.address6(ROUTER)):
        site.balancer.run("ip", "route", "replace", "default", "via", str(router))


def _turn(site: Site, name: str) -> list[subprocess.Popen[str]]:
    """Take the VIPs from a backend, and start what it shall serve; returns the processes."""
    backend, network = site.backends[name], site.network_of[name]
    for version, balancer in ((4, network.address(BALANCER)), (6, network.address6(BALANCER))):
        backend.namespace.run("ip", "address", "del", str(VIPS[version]), "dev", "lo")
        backend.namespace.run("ip", f"-{version}", "route", "replace", "default", "via", str(balancer))
    backend.kill_servers(Server.NGINX)
    text = nginx_configuration(backend.name, backend.directory, site.content)
    file = backend.directory / "mapped.conf"
    file.write_text(text.replace(f"listen {HTTP} ", f"listen {MAPPED} ").replace(f"[::]:{HTTP} ", f"[::]:{MAPPED} "))
    words = ("nginx", "-e", f"{backend.directory}/error.log", "-p", str(backend.directory), "-c", str(file))
    started = [backend.namespace.spawn(*words)]
    for version in VIPS:
        address = str(site.address(name, version))
        started.append(backend.namespace.spawn("python3", "-c", REPEATER, address, str(BEHIND), stdout=subprocess.PIPE))
        assert started[-1].stdout is not None
        assert started[-1].stdout.readline() == "ready\n"
    return started


def ask(site: Site, version: int, port: int, source: object, *words: str) -> list[str]:
    """Send datagrams to the VIP of a family (see ASKER); returns what came back for each."""
    told = site.client.run("python3", "-c", ASKER, str(VIPS[version]), str(port), str(source), *words)
    found: list[str] = json.loads(told)
    return found


def segments(namespace: Namespace, side: str) -> set[int]:
    """The largest segments of the connections of one side: `sport`, or `dport`."""
    told = namespace.run("ss", "-tinH", "state", "established", f"( {side} = :{ECHO} )")
    return {int(size) for size in re.findall(r"\bmss:(\d+)", told)}


def reasons(daemon: Daemon) -> dict[str, int]:
    """The counters by reason."""
    found: dict[str, int] = call(daemon.places, "status")["reasons"]
    return found
