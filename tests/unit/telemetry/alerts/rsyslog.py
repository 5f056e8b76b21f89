"""A real rsyslog that takes messages by every way there is, and writes down what it has made of each."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.lab.patience import wait_for
from tests.unit.health.authority import certificate_of

CONFIGURATION = """
global(
    workDirectory="{place}"
    defaultNetstreamDriverCAFile="{place}/server.crt"
    defaultNetstreamDriverCertFile="{place}/server.crt"
    defaultNetstreamDriverKeyFile="{place}/server.key"
)
module(load="imudp")
module(load="imptcp")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
module(load="imuxsock" sysSock.use="off")
module(load="mmpstrucdata")
template(name="parsed" type="list" option.jsonf="on") {{
    property(outname="input" name="inputname" format="jsonf")
    property(outname="severity" name="syslogseverity-text" format="jsonf")
    property(outname="facility" name="syslogfacility-text" format="jsonf")
    property(outname="at" name="timereported" dateFormat="rfc3339" date.inUTC="on" format="jsonf")
    property(outname="host" name="hostname" format="jsonf")
    property(outname="application" name="app-name" format="jsonf")
    property(outname="id" name="msgid" format="jsonf")
    property(outname="protocol" name="protocol-version" format="jsonf")
    property(outname="text" name="msg" format="jsonf")
    property(outname="data" name="$!rfc5424-sd" format="jsonf")
}}
ruleset(name="all") {{
    action(type="mmpstrucdata")
    action(type="omfile" file="{place}/messages" template="parsed" asyncWriting="off" flushOnTXEnd="on")
}}
input(type="imudp" address="127.0.0.1" port="{udp}" ruleset="all")
input(type="imptcp" address="127.0.0.1" port="{tcp}" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="{tls}" ruleset="all")
input(type="imuxsock" socket="{place}/log" ruleset="all")
"""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(type=kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Rsyslog:
    """One server; a context manager. It can be ended and started again, at the same ports."""

    def __init__(self, place: Path, certificate: Path) -> None:
        """`certificate` is a file with certificate and key."""
        self.place = place
        self.udp, self.tcp, self.tls = free_port(socket.SOCK_DGRAM), free_port(), free_port()
        self.device = place / "log"
        (place / "server.crt").write_text(certificate_of(certificate))
        text = certificate.read_text()
        (place / "server.key").write_text(text[: text.index("-----BEGIN CERTIFICATE")])
        ports = {"udp": self.udp, "tcp": self.tcp, "tls": self.tls}
        (place / "rsyslog.conf").write_text(CONFIGURATION.format(place=place, **ports))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Rsyslog:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def start(self) -> None:
        self.device.unlink(missing_ok=True)
        arguments = ("-n", "-f", str(self.place / "rsyslog.conf"), "-i", str(self.place / "pid"))
        with (self.place / "said").open("ab") as said:
            self._process = subprocess.Popen(["rsyslogd", *arguments], stdout=said, stderr=said, env={**os.environ})
        wait_for("rsyslog", self._ready)

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.place / "said").read_text()
        for port in (self.tcp, self.tls):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)):
                    return False
        return self.device.exists()

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def forget(self) -> None:
        """Begin anew with what has arrived."""
        if (file := self.place / "messages").exists():
            os.truncate(file, 0)

    def messages(self) -> list[dict[str, Any]]:
        """Return what has arrived, in that order."""
        file = self.place / "messages"
        rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [{**row, "data": json.loads(row["data"] or "{}")} for row in rows]
