"""The echo server of a backend, TCP and UDP: `python -m tests.lab.echo --name b1 [--port 7000] [--fault KIND:N]`.

Speaks the protocol of tests.lab.wire. A fault strikes on frame number N of every TCP connection, so that tests can
show that the traffic tools notice: `corrupt` flips one bit of the answer, `reset` sends a RST, `close` a FIN,
`mute` never answers again, `stall` answers a second late, `mishear` answers well and gets only the final sum wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import socket
import struct

from tests.lab.wire import BYE, DATA, FAULT, HELLO, LONGEST, Frame, WireError, decode, read_frame

STALL_SECONDS = 1.0
FAULTS = ("corrupt", "reset", "close", "mute", "stall", "mishear")
IP_PKTINFO = 8  # include/uapi/linux/in.h; absent from Python's socket module
PKTINFO = struct.Struct("=I4s4s")  # struct in_pktinfo: interface, local address, header's destination


class Server:
    """Answers every connection until it is ended."""

    def __init__(self, name: str, fault: str, fault_at: int) -> None:
        self._name = name
        self._fault = fault
        self._fault_at = fault_at

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold one conversation."""
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client is gone; it keeps the account
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(Frame(HELLO, 0, self._name.encode()).encode())
        digest = hashlib.sha256()
        number = 0
        while True:
            try:
                frame = await read_frame(reader)
                if frame.number != number:
                    raise WireError(f"frame {frame.number} came instead of {number}")
            except WireError as error:
                writer.write(Frame(FAULT, number, str(error).encode()).encode())
                await writer.drain()
                return
            if frame.kind == BYE:
                writer.write(Frame(BYE, number, digest.digest()).encode())
                await writer.drain()
                return
            digest.update(frame.payload)
            if self._fault == "mishear" and number == self._fault_at:
                digest.update(b"what nobody said")
            answer = Frame(DATA, number, frame.payload[::-1]).encode()
            if self._fault not in ("", "mishear") and number == self._fault_at:
                await self._strike(answer, writer)
            else:
                writer.write(answer)
                await writer.drain()
            number += 1

    async def _strike(self, answer: bytes, writer: asyncio.StreamWriter) -> None:
        if self._fault == "corrupt":
            writer.write(answer[:-1] + bytes([answer[-1] ^ 1]))
        elif self._fault == "stall":
            await asyncio.sleep(STALL_SECONDS)
            writer.write(answer)
        elif self._fault == "mute":
            await asyncio.Event().wait()
        else:
            if self._fault == "reset":  # a close with a linger time of 0 sends a RST: tcp(7), SO_LINGER
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
            writer.close()
            raise ConnectionAbortedError


class Datagrams:
    """Answers datagrams from the address to which they came: a VIP, not the one that the route would choose."""

    def __init__(self, name: str, port: int) -> None:
        self._name = name.encode()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._socket.bind(("0.0.0.0", port))
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._answer)

    def _answer(self) -> None:
        try:
            data, ancillary, _, client = self._socket.recvmsg(LONGEST, socket.CMSG_SPACE(PKTINFO.size))
            frame = decode(data)
        except (OSError, WireError):
            return  # not answered, and so counted as lost by the client
        _, _, destination = PKTINFO.unpack(ancillary[0][2])
        source = (socket.IPPROTO_IP, IP_PKTINFO, PKTINFO.pack(0, destination, bytes(4)))
        answer = Frame(DATA, frame.number, self._name + b"\0" + frame.payload[::-1])
        try:
            self._socket.sendmsg([answer.encode()], [source], 0, client)
        except OSError:
            return  # likewise


async def run(name: str, port: int, fault: str, fault_at: int) -> None:
    """Serve TCP and UDP on `port` of all addresses, for ever."""
    Datagrams(name, port)
    server = await asyncio.start_server(Server(name, fault, fault_at).serve, ("0.0.0.0", "::"), port, backlog=1024)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.echo", description=__doc__)
    parser.add_argument("--name", required=True, help="what the server calls itself in its greeting")
    parser.add_argument("--port", type=int, default=7000)
    parser.add_argument("--fault", default="", metavar="KIND:N", help=f"one of {', '.join(FAULTS)}, at frame N")
    arguments = parser.parse_args()
    kind, _, number = arguments.fault.partition(":")
    if kind and kind not in FAULTS:
        parser.error(f"--fault {kind}: choose from {', '.join(FAULTS)}")
    asyncio.run(run(arguments.name, arguments.port, kind, int(number or 0)))


if __name__ == "__main__":
    main()
