"""What the daemon has of BFD, alone: a client that does what its standard input says, and tells what it hears.

python3 -m tests.netns.bfd_daemon ROOT VERSION

{"follow": [[PEER, INTERVAL, MULTIPLIER, MULTIHOP, SOURCE], ...], "grace": SECONDS}
{"stop": FAREWELL}
{"ask": 1}
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from ipaddress import ip_address
from typing import Any

from appliance import paths
from appliance.routing.bfd.client import BfdClient
from appliance.routing.bfd.messages import BfdSession, encode_session


def say(**content: Any) -> None:
    print(json.dumps({"at": time.monotonic(), **content}), flush=True)


def session(row: list[Any]) -> BfdSession:
    peer, interval, multiplier, multihop, source = row
    return BfdSession(ip_address(peer), interval, multiplier, multihop, ip_address(source) if source else None)


async def main(root: str, version: str) -> None:
    client = BfdClient(
        paths.root(root),
        lambda peer, state, diagnostic, why: say(changed=[str(peer), state.words, diagnostic, why]),
        version=version,
    )
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while text := await reader.readline():
        wish = json.loads(text)
        if "follow" in wish:
            client.follow([session(row) for row in wish["follow"]], wish["grace"])
        elif "stop" in wish:
            await client.stop(wish["stop"])
            say(stopped=True)
            return
        else:
            rows = [encode_session(one) for one in client.states().values()]
            hello = client.hello._asdict() if client.hello is not None else {}
            say(states=rows, hello=hello, drops=dict(client.drops), trouble=client.trouble)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
