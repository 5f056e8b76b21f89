"""A backend of the lab: a host with the VIPs on its loopback, a real nginx, and an echo server.

http on 80, https on 443 (throw-away certificate), echo over TCP and UDP on 7000. Paths of nginx:

    /       the backend's name and a newline
    /alive  200, or 503 after `set_alive(False)`
    /big    BIG_BYTES bytes, with their SHA-256 in the header X-Body-SHA256; /big?rate=200k slows it down

Every answer carries the backend's name in the header X-Backend.
"""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from tests.lab.addresses import ECHO, HTTP, HTTPS, mac_of
from tests.lab.namespace import LabError, Namespace, run
from tests.lab.patience import wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
BIG_BYTES = 4 << 20
TCP_LISTEN = "0A"  # include/net/tcp_states.h, as printed in /proc/net/tcp


class Server(StrEnum):
    """The server programs of a backend."""

    NGINX = "nginx"
    ECHO = "echo"

    @property
    def ports(self) -> set[int]:
        """The TCP ports on which it listens."""
        return {HTTP, HTTPS} if self is Server.NGINX else {ECHO}


@dataclass(frozen=True)
class Content:
    """What all nginx of a lab serve: made once, shared by the backends."""

    directory: Path
    sha256: str

    @classmethod
    def make(cls, directory: Path) -> Content:
        """Write the certificate, its key and the big file into `directory`."""
        directory.mkdir()
        big = random.Random("big").randbytes(BIG_BYTES)
        (directory / "big").write_bytes(big)
        run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "30", "-subj", "/CN=lab", "-addext", "subjectAltName=DNS:lab"),
            *("-keyout", f"{directory}/key.pem", "-out", f"{directory}/cert.pem"),
        )
        return cls(directory, hashlib.sha256(big).hexdigest())


def nginx_configuration(name: str, directory: Path, content: Content) -> str:
    """Return nginx.conf of the backend `name`, whose own files are in `directory`."""
    temporary = "\n".join(
        f"  {kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
    )
    return f"""
daemon off;
master_process off;
user root;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log {directory}/access.log;
{temporary}
  default_type text/plain;
  ssl_certificate {content.directory}/cert.pem;
  ssl_certificate_key {content.directory}/key.pem;
  add_header X-Backend {name} always;
  server {{
    listen {HTTP} backlog=1024;
    listen [::]:{HTTP} backlog=1024;
    listen {HTTPS} ssl backlog=1024;
    listen [::]:{HTTPS} ssl backlog=1024;
    location / {{ return 200 "{name}\\n"; }}
    location = /alive {{
      if (-f {directory}/unwell) {{ return 503 "{name} is unwell\\n"; }}
      return 200 "{name} is alive\\n";
    }}
    location = /big {{
      root {content.directory};
      limit_rate $arg_rate;
      add_header X-Backend {name} always;
      add_header X-Body-SHA256 {content.sha256};
    }}
  }}
}}
"""


class Backend:
    """One backend. Its namespace is made by the lab; its servers are started and ended here."""

    def __init__(self, name: str, address: IPv4Address, namespace: Namespace, directory: Path) -> None:
        self.name = name
        self.address = address
        self.mac = mac_of(address)
        self.namespace = namespace
        self.directory = directory
        self._processes: dict[Server, subprocess.Popen[str]] = {}
        directory.mkdir()

    def start_servers(self, content: Content, *servers: Server, fault: str = "") -> None:
        """Start these servers (default: all), without waiting; `fault` is for the echo server (see tests.lab.echo)."""
        for server in servers or Server:
            if server is Server.NGINX:
                configuration = self.directory / "nginx.conf"
                configuration.write_text(nginx_configuration(self.name, self.directory, content))
                argv = [
                    "nginx",
                    "-e",
                    f"{self.directory}/error.log",
                    "-p",
                    str(self.directory),
                    "-c",
                    str(configuration),
                ]
            else:
                argv = [sys.executable, "-S", "-m", "tests.lab.echo", "--name", self.name, "--port", str(ECHO)]
                argv += ["--fault", fault] if fault else []
            with self._output(server).open("w") as output:
                self._processes[server] = self.namespace.spawn(*argv, stderr=output, directory=REPOSITORY)

    def wait_ready(self, seconds: float = 10.0) -> None:
        """Wait until every started server listens. Raises LabError with what a server printed if one ended."""
        for server, process in self._processes.items():
            wait_for(f"{server} of {self.name}", partial(self._listens, server, process), seconds)

    def _listens(self, server: Server, process: subprocess.Popen[str]) -> bool:
        if process.poll() is not None:
            raise LabError(
                f"{server} of {self.name} ended with {process.returncode}:\n{self._output(server).read_text()}"
            )
        return server.ports <= self._listening(process)

    def _listening(self, process: subprocess.Popen[str]) -> set[int]:
        """Return the TCP ports that listen in the namespace of a process: /proc/PID/net is the process's own view."""
        rows = Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]
        fields = [row.split() for row in rows]
        own = self.namespace.path.stat().st_ino == Path(f"/proc/{process.pid}/ns/net").stat().st_ino
        return {int(row[1].rpartition(":")[2], 16) for row in fields if row[3] == TCP_LISTEN} if own else set()

    def _output(self, server: Server) -> Path:
        return self.directory / f"{server}.stderr"

    def kill_servers(self, *servers: Server) -> None:
        """Kill these servers (default: all). The host lives on, so it answers with RST: connection refused."""
        for server in servers or tuple(self._processes):
            process = self._processes.pop(server)
            process.kill()
            process.wait()

    def freeze_servers(self) -> None:
        """Stop all servers where they are: connections are accepted by the kernel, but nothing is answered."""
        for process in self._processes.values():
            process.send_signal(signal.SIGSTOP)

    def thaw_servers(self) -> None:
        """Let frozen servers go on."""
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)

    def set_alive(self, alive: bool) -> None:
        """Let /alive answer 200, or 503."""
        unwell = self.directory / "unwell"
        if alive:
            unwell.unlink(missing_ok=True)
        else:
            unwell.touch()

    def disown_servers(self) -> None:
        """Let the servers outlive this process."""
        for process in self._processes.values():
            process.returncode = 0  # so that Popen neither waits for it nor warns
        self._processes.clear()
