"""Runs one probe of any kind from beginning to end: source port, deadline, connection, answer."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from time import monotonic_ns, time

from appliance.health.answer import Answer
from appliance.health.diagnostic import printable
from appliance.health.messages import Probe
from appliance.health.ports import Destination, Ports
from appliance.health.probes import dns, fullsize, grpc, http, icmp, syn, tcp, udp
from appliance.health.probes.certificate import expiry, remark
from appliance.health.probes.connection import Connection, PortTaken
from appliance.health.probes.datagram import Datagram
from appliance.health.probes.deadline import Deadline
from appliance.health.probes.failure import ProbeFailed, ProbeNotSent
from appliance.health.probes.readiness import Readiness
from appliance.model import Address, Check, CheckKind, Outcome, Protocol

ATTEMPTS = 8
"""Source ports tried for one probe: one may still be in TIME_WAIT with this backend."""


@dataclass(frozen=True, slots=True)
class Job:
    """A probe in the form in which it runs again and again."""

    number: int
    check: Check
    vip: Address
    family: socket.AddressFamily
    host: str
    """The NAT address as text."""
    destination: Destination
    """What the data plane turns the private address and the port into."""
    authority: str = ""
    """What is in the check's file of certificates."""

    @classmethod
    def of(cls, probe: Probe) -> Job:
        """Prepare a probe."""
        family = socket.AF_INET if probe.nat.version == 4 else socket.AF_INET6
        address, port = probe.arrival or (probe.vip, probe.check.port)
        if probe.check.kind is CheckKind.ICMP:
            # An identifier is to an echo request what a source port is to others; there is no other port.
            protocol = socket.IPPROTO_ICMP if probe.vip.version == 4 else socket.IPPROTO_ICMPV6
            destination = (str(address), 0, int(protocol), True)
        else:
            half_open = probe.check.kind is CheckKind.SYN
            destination = (str(address), port, int(probe.check.protocol), half_open)
        return cls(probe.number, probe.check, probe.vip, family, str(probe.nat), destination, probe.authority)


class Runner:
    """What all probes share: the pools of source ports, the epoll, the raw sockets."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ports: Ports) -> None:
        self._loop = loop
        self._ports = ports
        self._readiness = Readiness(loop)
        self._half_open = syn.HalfOpen(loop)
        self._echo = icmp.Echo(loop)

    async def run(self, job: Job) -> Answer:
        """Return how the probe ended; raises ProbeNotSent if it never left this host."""
        pool = self._ports.pool(job.destination)
        for _ in range(ATTEMPTS):
            port = pool.take(self._loop.time())
            if port is None:
                break
            try:
                return await self._attempt(job, port)
            except PortTaken:
                continue
            finally:
                pool.give_back(port, self._loop.time())
        raise ProbeNotSent(f"no source port is free for {job.vip} port {job.check.port}")

    def close(self) -> None:
        """Close what is shared; no probe may be running."""
        self._half_open.close()
        self._echo.close()
        self._readiness.close()

    async def _attempt(self, job: Job, source_port: int) -> Answer:
        if job.check.kind in (CheckKind.SYN, CheckKind.ICMP):
            return await self._half(job, source_port)
        if job.check.protocol is Protocol.UDP:
            return await self._datagram(job, source_port)
        return await self._full(job, source_port)

    async def _half(self, job: Job, source_port: int) -> Answer:
        began = monotonic_ns()
        deadline = Deadline(self._loop, job.check.timeout)
        connect_ns = 0
        try:
            if job.check.kind is CheckKind.ICMP:
                diagnostic = await self._echo.converse(job.family, job.host, source_port, deadline)
            else:
                diagnostic = await self._half_open.converse(job.family, job.host, job.check.port, source_port, deadline)
            outcome = Outcome.OK
            connect_ns = monotonic_ns() - began
        except ProbeFailed as failure:
            outcome, diagnostic = failure.outcome, failure.diagnostic
        except TimeoutError:
            outcome, diagnostic = Outcome.NONE, "timeout"
        finally:
            deadline.close()
        return Answer(outcome, diagnostic, total_ns=monotonic_ns() - began, connect_ns=connect_ns)

    async def _search(self, job: Job, deadline: Deadline) -> int:
        """Return which segment size passes, on a connection of its own; 0 if that cannot be found out."""
        pool = self._ports.pool(job.destination)
        port = pool.take(self._loop.time())
        if port is None:
            return 0
        connection = Connection(self._readiness, deadline)
        tls = job.check.kind is CheckKind.HTTPS
        try:
            await connection.open(job.family, job.host, job.check.port, port)
            return await fullsize.search(connection, deadline, job.family, job.check.timeout, tls=tls)
        except (ProbeFailed, ProbeNotSent, PortTaken, TimeoutError):
            return 0
        finally:
            connection.close()
            pool.give_back(port, self._loop.time())

    async def _datagram(self, job: Job, source_port: int) -> Answer:
        began = monotonic_ns()
        deadline = Deadline(self._loop, job.check.timeout)
        datagram = Datagram(self._readiness, deadline)
        talk = dns.over_udp if job.check.kind is CheckKind.DNS else udp.converse
        try:
            datagram.open(job.family, job.host, job.check.port, source_port)
            outcome, diagnostic = Outcome.OK, await talk(datagram, job.check)
        except ProbeFailed as failure:
            outcome, diagnostic = failure.outcome, failure.diagnostic
        except TimeoutError:
            outcome, diagnostic = Outcome.NONE, "timeout (no answer)"
        finally:
            deadline.close()
            datagram.close()
        total_ns = monotonic_ns() - began
        return Answer(outcome, printable(diagnostic), total_ns=total_ns, first_byte_ns=datagram.first_byte_ns)

    async def _full(self, job: Job, source_port: int) -> Answer:
        began = monotonic_ns()
        deadline = Deadline(self._loop, job.check.timeout)
        connection = Connection(self._readiness, deadline)
        status = 0
        try:
            if job.check.kind is CheckKind.TCP:
                diagnostic = await tcp.converse(connection, job.family, job.host, job.check.port, source_port)
                outcome = Outcome.OK
            else:
                await connection.open(job.family, job.host, job.check.port, source_port)
                if job.check.kind is CheckKind.DNS:
                    outcome, diagnostic = Outcome.OK, await dns.over_tcp(connection, job.check)
                elif job.check.kind is CheckKind.GRPC:
                    diagnostic = await grpc.converse(connection, job.check, job.vip, job.authority)
                    outcome = Outcome.OK
                else:
                    outcome, diagnostic, status = await http.converse(
                        connection, job.check, job.vip, job.authority, deadline
                    )
        except ProbeFailed as failure:
            outcome, diagnostic = failure.outcome, failure.diagnostic
        except TimeoutError:
            outcome, diagnostic = Outcome.NONE, f"timeout ({connection.phase})"
        except fullsize.Lost as lost:
            # The backend lives: connections of small packets go on.
            outcome, diagnostic = Outcome.WRONG, fullsize.words(lost.size, await self._search(job, deadline))
        finally:
            deadline.close()
            connection.close()
        expires = expiry(connection.certificate)
        if outcome is Outcome.OK and (warning := remark(expires, time(), job.check.expiry_warning)):
            diagnostic = f"{diagnostic}, {warning}"
        return Answer(
            outcome,
            printable(diagnostic),
            total_ns=monotonic_ns() - began,
            connect_ns=connection.connect_ns,
            tls_ns=connection.tls_ns,
            first_byte_ns=connection.first_byte_ns,
            http_status=status,
            tls_version=connection.tls_version,
            certificate_expires=expires,
        )
