"""The program of the process of BFD.

python3 -m appliance.routing.bfd --fd 3 [--at PATH]      listen on descriptor 3; PATH is for people
                                 --resume 5              go on where another program was
                                 --rehearse yes          only see whether the code is whole
"""

from __future__ import annotations

import socket
import sys

from appliance.routing.bfd import messages, succession
from appliance.routing.bfd.process import Process


def main(arguments: list[str]) -> int:
    """Run; returns the exit status."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if "--rehearse" in given:
        return 0
    if "--resume" in given:
        process = succession.resume(int(given["--resume"]))
    elif "--fd" in given:
        process = Process(socket.socket(fileno=int(given["--fd"])))
    else:
        print("it is started by vc5, with --fd N", file=sys.stderr)
        return 2
    process.become = succession.Successor(given.get("--at", ""))
    try:
        process.run()
    except BaseException as error:
        process.tell(messages.line({"trouble": f"defect: {error!r}"[: messages.MAX_TEXT]}))
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
