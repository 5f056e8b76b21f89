"""What the prober is measured against: one web server that owns a whole network, at the other end of a cable.

    probe namespace                                     backend b1 of a lab
   +------------------------+                           +--------------------------------+
   | the prober (or another |  10.127.0.1   10.127.0.2  | one nginx on 10.128.0.0/9:80,  |
   | client)         client +---------------------------+ server     which is local here |
   +------------------------+                           +--------------------------------+

The prober connects to the addresses themselves, with no data plane between. That would add an XDP program on a veth
pair to each packet, in the kernel and at every client's expense, and nothing that the prober does would be other.

nginx, one worker, answers with 200 and two bytes, and closes.
"""

from __future__ import annotations

import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self

from appliance import paths
from tests.lab.addresses import HTTP
from tests.lab.backend import REPOSITORY
from tests.lab.namespace import Namespace, run
from tests.lab.patience import wait_for
from tests.lab.topology import Lab

NETWORK = "10.128.0.0/9"
FIRST = IPv4Address("10.128.0.1")
CLIENT, SERVER = "10.127.0.1", "10.127.0.2"


class Targets:
    """A context manager: the probe namespace of a root in the lab, the cable, and a server behind it."""

    def __init__(self, lab: Lab) -> None:
        """Prepare; `lab` has one backend without servers."""
        self.root = paths.root(str(lab.root()))
        self.namespace = Namespace(self.root.namespace)
        self._home = lab.backends["b1"].namespace
        self._directory = lab.directory
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        here, there = self.namespace, self._home
        lines = [
            f"netns add {here.name}",
            f"link add client netns {here.name} type veth peer name server netns {there.name}",
        ]
        run("ip", "-batch", "-", text="\n".join([*lines, ""]))
        _configure(here, "client", CLIENT, f"route add {NETWORK} via {SERVER}")
        _configure(there, "server", SERVER, f"route add local {NETWORK} dev lo")
        argv = web_server(self._directory)
        self._server = self._home.spawn(*argv)
        wait_for("the web server", lambda: f":{HTTP} " in there.run("ss", "-Htln"))
        return self

    def __exit__(self, *_: object) -> None:
        if self._server:
            self._server.kill()
            self._server.wait()

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._server is not None
        return self._server.pid

    def python(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a Python program of this tree in the probe namespace, with pipes to talk to it."""
        argv = (sys.executable, "-sB", "-m", module, *arguments)
        pipe = subprocess.PIPE
        return self.namespace.spawn(*argv, stdin=pipe, stdout=pipe, directory=REPOSITORY)


def web_server(directory: Path, location: str = 'return 200 "ok";') -> list[str]:
    """Write the configuration of a server that has nothing to do but `location`; return its command line."""
    configuration = directory / "targets.conf"
    temporary = "\n".join(
        f"  {kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
    )
    configuration.write_text(f"""
daemon off;
master_process off;
user root;
pid {directory}/targets.pid;
error_log {directory}/targets.log;
worker_rlimit_nofile 65536;
events {{ worker_connections 32768; multi_accept on; }}
http {{
  access_log off;
  server_tokens off;
  keepalive_timeout 0;
  lingering_close off;
{temporary}
  default_type text/plain;
  server {{
    listen {HTTP} backlog=4096;
    location / {{ {location} }}
  }}
}}
""")
    return ["nginx", "-e", f"{directory}/targets.log", "-p", str(directory), "-c", str(configuration)]


def _configure(namespace: Namespace, interface: str, address: str, route: str) -> None:
    lines = ["link set lo up", f"address add {address}/30 dev {interface}", f"link set {interface} up", route]
    namespace.run("ip", "-batch", "-", text="\n".join([*lines, ""]))
