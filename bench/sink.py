"""A server that takes documents and does nothing with them: the other end for the bench of the way to Elasticsearch.

    python3 -m bench.sink        prints its port, then on each line of standard input how many documents it has taken

It answers a bulk request as Elasticsearch does, and reads as much of it as it must to count.
"""

from __future__ import annotations

import asyncio
import sys
import zlib

HEAD = (
    "HTTP/1.1 200 OK\r\nX-Elastic-Product: Elasticsearch\r\n"
    "content-type: application/json\r\ncontent-length: %d\r\n\r\n"
)
ABOUT = b'{"version":{"number":"7.17.6","build_flavor":"default"},"tagline":"You Know, for Search"}'


class Sink:
    """Counts documents."""

    def __init__(self) -> None:
        self.taken = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                return
            length = 0
            for line in head.lower().split(b"\r\n"):
                name, _, value = line.partition(b":")
                if name == b"content-length":
                    length = int(value)
            body = await reader.readexactly(length)
            answer = ABOUT
            if body:
                count = zlib.decompress(body, 31).count(b"\n") // 2
                self.taken += count
                items = ",".join(['{"create":{"status":201}}'] * count)
                answer = f'{{"errors":false,"items":[{items}]}}'.encode()
            writer.write((HEAD % len(answer)).encode() + answer)


async def main() -> None:
    """Serve until standard input ends."""
    sink = Sink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(sink.taken, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
