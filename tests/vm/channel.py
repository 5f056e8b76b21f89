"""Line by line JSON to QEMU's monitor (QMP) and to the agent in the guest, over sockets that QEMU inherits.

QEMU 7.2, docs/interop: qmp-spec.txt, qmp-intro.txt, qemu-ga-ref.
"""

from __future__ import annotations

import base64
import itertools
import json
import socket
import time
from typing import Any, NamedTuple

from tests.lab.namespace import LabError

Message = dict[str, Any]
CHUNK = 1 << 20  # bytes of a file in one message; the agent takes 48 MB at most
ANSWER_LIMIT = 60.0  # seconds
LONGEST_PAUSE = 0.2  # seconds between two questions whether a command has ended


class Done(NamedTuple):
    """How a command in the guest ended. One that was ended by a signal has the status that a shell would tell."""

    status: int
    output: str
    errors: str


class Channel:
    """One end of the conversation. What goes wrong with it is a LabError."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._buffer = b""
        self._socket, self.other_end = socket.socketpair()

    def send(self, command: str, **arguments: Any) -> None:
        try:
            self._socket.settimeout(60)
            self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        except OSError as error:
            raise LabError(f"{self._name} does not take {command}: {error}") from None

    def receive(self, seconds: float) -> Message:
        """Return the next message. Raises LabError after `seconds`, and when QEMU has ended."""
        deadline = time.monotonic() + seconds
        while True:
            while b"\n" not in self._buffer:
                try:
                    self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                    received = self._socket.recv(1 << 20)
                except OSError as error:
                    raise LabError(f"no word from {self._name} within {seconds:.0f} s ({error})") from None
                if not received:
                    raise LabError(f"{self._name} is gone: QEMU has ended")
                self._buffer += received
            line, _, self._buffer = self._buffer.partition(b"\n")
            try:
                message = json.loads(line)
            except ValueError:
                continue  # the rest of a line that a reboot has cut
            if isinstance(message, dict):
                return message

    def close(self) -> None:
        self._socket.close()
        self.other_end.close()

    def _answer(self, command: str, message: Message) -> Any:
        if "error" in message:
            raise LabError(f"{self._name}: {command}: {message['error'].get('desc', message['error'])}")
        return message["return"]


class Monitor(Channel):
    """QEMU's monitor; events that come between answers are kept for `wait_event`."""

    def __init__(self) -> None:
        super().__init__("QEMU's monitor")
        self._events: list[Message] = []

    def greet(self) -> None:
        """To be called once, before anything else: reads QEMU's greeting."""
        while "QMP" not in self.receive(ANSWER_LIMIT):
            pass
        self.command("qmp_capabilities")

    def command(self, name: str, **arguments: Any) -> Any:
        """Return what the command returns."""
        self.send(name, **arguments)
        while True:
            message = self.receive(ANSWER_LIMIT)
            if "event" not in message:
                return self._answer(name, message)
            self._events.append(message)

    def line(self, text: str) -> None:
        """Run a command of the monitor for people. Raises LabError with whatever it says: it is silent on success."""
        said = self.command("human-monitor-command", **{"command-line": text})
        if said:
            raise LabError(f"{text}: {said.strip()}")

    def forget_events(self) -> None:
        self._events.clear()

    def wait_event(self, name: str, seconds: float, **data: Any) -> None:
        """Wait for an event with these data; passes over others. The limit is for each message."""
        while True:
            event = self._events.pop(0) if self._events else self.receive(seconds)
            if event.get("event") == name and data.items() <= event.get("data", {}).items():
                return


class Agent(Channel):
    """The agent in the guest. It must not be spoken to before it has opened its port (VSERPORT_CHANGE)."""

    def __init__(self) -> None:
        super().__init__("the guest's agent")
        self._numbers = itertools.count(1)

    def synchronise(self, seconds: float) -> None:
        """Skip what was meant for somebody else: answers to questions from before a restart or a save."""
        number = next(self._numbers)
        self.send("guest-sync", id=number)
        while self.receive(seconds).get("return") != number:
            pass

    def command(self, name: str, **arguments: Any) -> Any:
        """Return what the command returns."""
        self.send(name, **arguments)
        return self._answer(name, self.receive(ANSWER_LIMIT))

    def begin(self, argv: tuple[str, ...], text: str = "") -> int:
        """Start a command and return its process number."""
        arguments = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
        if text:
            arguments["input-data"] = base64.b64encode(text.encode()).decode()
        return int(self.command("guest-exec", **arguments)["pid"])

    def execute(self, argv: tuple[str, ...], text: str, seconds: float) -> Done:
        """Run a command to its end. Raises LabError if it is still running after `seconds`."""
        process = self.begin(argv, text)
        deadline, pause = time.monotonic() + seconds, 0.01
        while True:
            found = self.command("guest-exec-status", pid=process)
            if found["exited"]:
                break
            if time.monotonic() > deadline:
                raise LabError(f"{' '.join(argv)}: still running in the guest after {seconds:g} s")
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE)
        output, errors = (
            base64.b64decode(found.get(key, "")).decode(errors="replace") for key in ("out-data", "err-data")
        )
        return Done(found.get("exitcode", 128 + found.get("signal", 0)), output, errors)

    def put(self, data: bytes, path: str) -> None:
        """Write a file in the guest."""
        handle = self.command("guest-file-open", path=path, mode="wb")
        for start in range(0, len(data), CHUNK):
            encoded = base64.b64encode(data[start : start + CHUNK]).decode()
            written = self.command("guest-file-write", handle=handle, **{"buf-b64": encoded})["count"]
            if written != len(data[start : start + CHUNK]):
                raise LabError(f"{path}: only {start + written} of {len(data)} bytes were written in the guest")
        self.command("guest-file-close", handle=handle)

    def get(self, path: str) -> bytes:
        """Read a file in the guest."""
        handle = self.command("guest-file-open", path=path, mode="rb")
        data, end = b"", False
        while not end:
            read = self.command("guest-file-read", handle=handle, count=CHUNK)
            data, end = data + base64.b64decode(read["buf-b64"]), read["eof"]
        self.command("guest-file-close", handle=handle)
        return data
