"""One prober process: started inside the probe namespace, as nobody, with CAP_NET_RAW and nothing else.

nsenter(1) joins the network namespace (setns(2) needs CAP_SYS_ADMIN), setpriv(1) then gives everything away, and the
last exec is Python itself, so the process id is the prober's from the beginning.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from appliance.child.process import Child, python, tool
from appliance.errors import HostError
from appliance.paths import Root

USER = "nobody"
NAMESPACES = Path("/run/netns")


def command(root: Root, descriptor: int) -> list[str]:
    """Return the command line of the prober; raises HostError that says what this host lacks."""
    if os.geteuid() != 0:
        raise HostError(
            f"cannot start the prober in network namespace {root.namespace}: entering it needs root; "
            "run vc5 as root, or as the package's units do"
        )
    namespace = NAMESPACES / root.namespace
    if not namespace.exists():
        raise HostError(
            f"cannot start the prober: there is no network namespace {namespace}; vc5 makes it at its start"
        )
    try:
        account = pwd.getpwnam(USER)
    except KeyError:
        raise HostError(f"cannot start the prober: there is no user {USER!r} on this host; create it") from None
    return [
        tool("nsenter", "prober"),
        f"--net={namespace}",
        tool("setpriv", "prober"),
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
        "--bounding-set=-all,+net_raw",
        "--inh-caps=-all,+net_raw",
        "--ambient-caps=-all,+net_raw",
        "--no-new-privs",
        "--pdeathsig=KILL",
        *python("appliance.health.prober", "--fd", str(descriptor)),
    ]


class ProberProcess(Child):
    """A running prober."""

    def __init__(self, root: Root) -> None:
        """Start it. Raises HostError."""
        super().__init__("prober", lambda descriptor: command(root, descriptor))
