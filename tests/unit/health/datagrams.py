"""UDP servers on loopback that say what a test wants, and a real DNS server."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

Reply = Callable[[bytes], list[bytes]]
"""Returns the datagrams that answer one."""


@asynccontextmanager
async def answering(reply: Reply, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Run a UDP server; yield its port. (Those of asyncio send no empty datagrams.)"""
    loop = asyncio.get_running_loop()

    def answer() -> None:
        data, sender = server.recvfrom(65535)
        for datagram in reply(data):
            server.sendto(datagram, sender)

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((host, 0))
        loop.add_reader(server, answer)
        try:
            yield server.getsockname()[1]
        finally:
            loop.remove_reader(server)


@contextmanager
def dnsmasq(*options: str) -> Iterator[int]:
    """Run a real DNS server on both families of loopback, over UDP and TCP; yield its port."""
    program = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("needs dnsmasq (Debian package dnsmasq-base)")
    port = _free_port()
    command = [
        program,
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--pid-file=",
        "--log-facility=-",
    ]
    command += [f"--port={port}", "--listen-address=127.0.0.1,::1", "--bind-interfaces", "--user=", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            first = server.stderr.readline()
            assert "started" in first, first + server.stderr.read()
            yield port
        finally:
            server.terminate()


def _free_port() -> int:
    """Return a port that is free for UDP and for TCP."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as stream:
            port: int = stream.getsockname()[1]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
                try:
                    datagram.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port
