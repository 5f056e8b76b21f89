"""What an HTTP check takes without the prober: asyncio's own streams, and nothing around them.

    python -m bench.streams FIRST COUNT INTERVAL

asks COUNT addresses from FIRST on for /alive on port 80, each once per INTERVAL seconds. It obeys lines on its standard
input: `run`, `rest`, and `tell`, which it answers with how many it has asked so far and how many of them did not answer
200. No deadline, no source port, no result kept: less than any checker needs.
"""

from __future__ import annotations

import asyncio
import sys
from ipaddress import IPv4Address


async def ask(host: str) -> bytes:
    """Return all of the answer."""
    reader, writer = await asyncio.open_connection(host, 80)
    writer.write(b"GET /alive HTTP/1.1\r\nHost: " + host.encode() + b"\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


class Streams:
    """One task for each address."""

    def __init__(self, hosts: list[str], interval: float) -> None:
        self._hosts = hosts
        self._interval = interval
        self._asked = self._failed = 0

    async def run(self) -> None:
        """Obey standard input until it ends."""
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            match line.strip():
                case "run":
                    tasks = [loop.create_task(self._again(number, host)) for number, host in enumerate(self._hosts)]
                case "tell":
                    print(self._asked, self._failed, flush=True)
                case _:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)

    async def _again(self, number: int, host: str) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + number / len(self._hosts) * self._interval
        while True:
            await asyncio.sleep(at - loop.time())
            at += self._interval
            answer = await ask(host)
            self._asked += 1
            self._failed += not answer.startswith(b"HTTP/1.1 200 ")


def main(arguments: list[str]) -> None:
    """Run the process."""
    first, count, interval = IPv4Address(arguments[0]), int(arguments[1]), float(arguments[2])
    asyncio.run(Streams([str(first + number) for number in range(count)], interval).run())


if __name__ == "__main__":
    main(sys.argv[1:])
