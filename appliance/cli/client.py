"""The other end of the control socket: one request, one answer, errors as the daemon raised them."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from appliance.cli.progress import progress
from appliance.errors import ConfigError, ControlError, Issue, Severity
from appliance.paths import Root

REPLY_BYTES = 64 * 1024 * 1024
"""A daemon that says more than this is not one of ours."""

SECONDS = 30.0
LONG_SECONDS = 330.0
"""For verbs that compile and verify a program; longer than the daemon's own limit, so that its answer arrives."""
LONG_VERBS = frozenset({"reload", "plan", "explain", "block", "reexec"})
WAITING = {
    "reload": "the daemon reads its configuration, and compiles where that is needed",
    "plan": "the daemon works out what a reload would do",
    "explain": "the daemon runs its program on the packet",
    "block": "the daemon blocks the prefix, and compiles if it is the first ever",
    "reexec": "the installed program is tried out beside the running one",
    "fleet": "the other nodes are asked for their tables",
    "prefixes": "the daemon counts packets by their source",
    "alert": "messages are sent",
    "reattach": "the program is detached and attached again",
}
"""What is being done while somebody waits for the answer."""


def call(root: Root, verb: str, /, **arguments: Any) -> Any:
    """Ask the daemon of this root and return its result; a terminal is told when that takes long. Raises as `ask`."""
    with progress(WAITING.get(verb, "waiting for the daemon")):
        return ask(root, verb, **arguments)


def ask(root: Root, verb: str, /, **arguments: Any) -> Any:
    """Ask the daemon of this root and return its result, without a word.

    Raises ControlError where no daemon answers or it refused, ConfigError where it refused a configuration; the
    error's `exit_status` is the daemon's.
    """
    seconds = LONG_SECONDS if verb in LONG_VERBS else SECONDS
    request = json.dumps({"verb": verb, "arguments": arguments}).encode("ascii") + b"\n"
    path = root.control_socket
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(os.fspath(path))
            reply = _exchange(connection, request)
        except (FileNotFoundError, ConnectionRefusedError):
            raise ControlError(
                f"{path}: no vc5 daemon answers here; start it with `systemctl start vc5` or, in the foreground, "
                "`vc5 run`; a daemon with its own root is found with --root DIR or VC5_ROOT"
            ) from None
        except PermissionError:
            raise ControlError(f"{path}: permission denied; run this as root or as a member of group vc5") from None
        except TimeoutError:
            raise ControlError(
                f"{path}: the daemon did not answer `{verb}` within {seconds:g} s; its log may say why"
            ) from None
        except OSError as error:
            raise ControlError(f"{path}: {error.strerror or error}; is the path that of a vc5 daemon?") from None
    return _result(reply, f"{path}: the daemon's answer to `{verb}`")


def _exchange(connection: socket.socket, request: bytes) -> bytes:
    try:
        connection.sendall(request)
    except BrokenPipeError:
        pass  # A server that refuses in the middle of a request has said why before it hung up.
    reply = bytearray()
    while not reply.endswith(b"\n") and len(reply) <= REPLY_BYTES:
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            break
        if not part:
            break
        reply += part
    return bytes(reply)


def _result(reply: bytes, what: str) -> Any:
    if not reply.endswith(b"\n"):
        end = "is too long" if len(reply) > REPLY_BYTES else "was cut off; did it end meanwhile?"
        raise ControlError(f"{what} {end}")
    try:
        answer = json.loads(reply)
        if answer["ok"] is True:
            return answer["result"]
        issues = tuple(_issue(item) for item in answer.get("issues") or ())
        error = ConfigError(issues) if issues else ControlError(str(answer["error"]))
        error.exit_status = int(answer.get("exit_status", error.exit_status))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ControlError(f"{what} is none that this version of vc5 understands; are they of one version?") from None
    raise error


def _issue(item: dict[str, Any]) -> Issue:
    return Issue(**{**item, "severity": Severity(item["severity"])})
