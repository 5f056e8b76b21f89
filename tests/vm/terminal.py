"""A command on a terminal, as an operator runs it: what is asked on it is answered. Run in the machine.

    python3 -m tests.vm.terminal '{"[default=N] ?": ""}' apt install ./x.deb

The map has what to type when these words appear; all that the terminal showed goes to the standard output.
"""

from __future__ import annotations

import json
import os
import pty
import sys


def converse(answers: dict[str, str], argv: list[str]) -> int:
    """Run a command on a new terminal, and return its exit status."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ["TERM"] = "dumb"
        os.execvp(argv[0], argv)
    unseen = ""
    while True:
        try:
            text = os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # EIO: nobody has it open any more
            break
        if not text:
            break
        sys.stdout.write(text)
        unseen += text
        for words, answer in answers.items():
            if words in unseen:
                os.write(terminal, f"{answer}\n".encode())
                unseen = ""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    sys.exit(converse(json.loads(sys.argv[1]), sys.argv[2:]))
