"""Every error that the appliance raises on purpose.

Vc5Error
  ConfigError(issues)            the configuration is wrong; all issues at once; exit 78
  RenderError                    a template cannot be rendered; a defect of ours
  CompileError(log)              the compiler refused the program text
  VerifierError(log)             the kernel's verifier refused the program
  KernelError(operation, object, errno)
    NotSupported(feature, needs) this kernel or host lacks a feature
    ForeignProgram(interface, program)
                                 somebody else's XDP program is on the interface
  HostError                      the host is not as the configuration says (interface missing, bpffs not mounted, ...)
  AlreadyRunning(path, pid)      another instance uses this root
  PlanError                      the configuration asks for more than the data plane can hold
    NoRoom                       the tables that run are too small, or too full of gaps; larger ones would do
  RequestError                   a caller of the library asks for what is not there, is there already, or makes no sense
  ProberGone                     the prober process ended or does not answer
  ShipError                      Elasticsearch or Kibana did not answer, or refused what it was sent
  ControlError                   the control socket: no daemon, or a request that it refused

A failed probe is a result, not an exception. Every message says what, where, why, and what to do about it.
"""

from __future__ import annotations

import errno as errno_names
import os
from dataclasses import dataclass
from enum import StrEnum

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78


class Severity(StrEnum):
    """How bad a configuration issue is: an error refuses the file, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, order=True)
class Issue:
    """One finding about a configuration file.

    `line` and `column` count from 1; 0 where there is no position (a missing file). `path` is the place inside the
    document (`services[0].policy.http`), empty for the document itself. `code` is a stable short word.
    """

    file: str
    line: int
    column: int
    path: str
    severity: Severity
    code: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """Return `file:line:col: path: message (hint)`."""
        where = f"{self.file}:{self.line}:{self.column}:" if self.line else f"{self.file}:"
        path = f" {self.path}:" if self.path else ""
        kind = " warning:" if self.severity is Severity.WARNING else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{kind}{path} {self.message}{hint}"

    def as_json(self) -> dict[str, str | int]:
        """Return the issue in the form of `vc5 check --json`."""
        return {
            "severity": str(self.severity),
            "code": self.code,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
        }


class Vc5Error(Exception):
    """The root of the tree; never raised itself."""

    exit_status = EXIT_FAILED


class ConfigError(Vc5Error):
    """The configuration is refused; `issues` holds all that was found, warnings included, in file order."""

    exit_status = EXIT_CONFIG

    def __init__(self, issues: tuple[Issue, ...]) -> None:
        self.issues = issues
        super().__init__("\n".join(str(issue) for issue in issues))


class RenderError(Vc5Error):
    """A template cannot be rendered."""


class CompileError(Vc5Error):
    """The compiler refused the program; `log` is its output."""

    def __init__(self, message: str, log: str) -> None:
        self.log = log
        super().__init__(f"{message}\n{log.rstrip()}" if log else message)


class VerifierError(Vc5Error):
    """The kernel's verifier refused a program; `log` is its whole output, the message its last words."""

    def __init__(self, program: str, log: str) -> None:
        self.log = log
        lines = [line for line in log.splitlines() if line.strip() and not line.startswith("processed ")]
        last = lines[-1] if lines else "no log"
        super().__init__(f"the kernel's verifier refused program {program}: {last}")


class KernelError(Vc5Error):
    """A kernel operation failed: which operation, on which object, with which errno."""

    def __init__(self, operation: str, target: str, errno: int, hint: str = "") -> None:
        self.operation = operation
        self.target = target
        self.errno = errno
        name = errno_names.errorcode.get(errno, str(errno))
        advice = f" ({hint})" if hint else ""
        super().__init__(f"{operation} {target}: {os.strerror(errno)} [{name}]{advice}")


class NotSupported(KernelError):
    """This kernel lacks a feature; `needs` says what would have it."""

    def __init__(self, feature: str, needs: str, errno: int = errno_names.EOPNOTSUPP) -> None:
        self.feature = feature
        self.needs = needs
        super().__init__("use", feature, errno, f"needs {needs}")


class ForeignProgram(KernelError):
    """Somebody else's XDP program sits on the interface; it is never removed by us."""

    def __init__(self, interface: str, program: str) -> None:
        self.interface = interface
        self.program = program
        super().__init__(
            "attach XDP to",
            interface,
            errno_names.EBUSY,
            f"XDP program {program} of another owner is attached; remove it with "
            f"`ip link set dev {interface} xdp off`, or stop its owner where a link holds it, or take the interface "
            "out of `interfaces`",
        )


class HostError(Vc5Error):
    """The host is not as the configuration needs it."""


class AlreadyRunning(Vc5Error):
    """Another instance holds the lock of this root."""

    def __init__(self, path: str, pid: int | None) -> None:
        owner = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{path}: {owner} already runs vc5 with this root; stop it first, or give this one its own with --root DIR"
        )


class PlanError(Vc5Error):
    """The configuration asks for more than the data plane can hold."""


class NoRoom(PlanError):
    """The tables in force have no room for what is asked; a program with larger ones would."""


class RequestError(Vc5Error):
    """What a caller of the library asks for is not there, is there already, or makes no sense; nothing has changed."""


class ProberGone(Vc5Error):
    """The prober ended or does not answer; health stays as it was."""


class ShipError(Vc5Error):
    """A server (Elasticsearch, Kibana) did not answer, or refused a request.

    `retryable` says whether the same request may succeed later without anybody doing anything; `status` is the HTTP
    status, 0 where there was no answer.
    """

    def __init__(self, message: str, *, retryable: bool = False, status: int = 0) -> None:
        self.retryable = retryable
        self.status = status
        super().__init__(message)


class ControlError(Vc5Error):
    """The control socket cannot be reached, or the daemon refused the request."""
