"""A balancer and two routers with BFD: BIRD and FRR's bfdd, one hop away, and each behind the other as well.

ours                                       bird
up1  10.9.1.1  fd09:1::1  fe80::11 ------- eth0  10.9.1.2  fd09:1::2  fe80::12
                                           eth1  10.9.3.2  fd09:3::2
                                              |                                  lo of each end of a session over
                                           eth1  10.9.3.3  fd09:3::3             two hops:
up2  10.9.2.1  fd09:2::1  fe80::21 ------- eth0  10.9.2.3  fd09:2::3  fe80::23     ours - bird  10.9.99.1  10.9.99.2
                                           frr                                     ours - frr   10.9.98.1  10.9.98.3
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from appliance import __version__, paths
from tests.lab.backend import REPOSITORY
from tests.lab.debris import PREFIX, bfd_processes, lab_directory, remove_lab
from tests.lab.lock import exclusive, take
from tests.lab.namespace import LabError, Namespace, run
from tests.lab.patience import wait_for
from tests.lab.standing import Standing

BIRD = "/usr/sbin/bird"
FRR = Path("/usr/lib/frr")
PROGRAMS = (BIRD, str(FRR / "zebra"), str(FRR / "bfdd"), "/usr/bin/vtysh")

Row = tuple[str, float, int, bool, str | None]
"""Peer, interval, multiplier, whether over several hops, source: what is wanted."""
BIRDS: tuple[Row, ...] = (
    ("10.9.1.2", 0.3, 3, False, None),
    ("fd09:1::2", 0.3, 3, False, None),
    ("fe80::12%up1", 0.3, 3, False, None),
    ("10.9.99.2", 0.3, 3, True, "10.9.99.1"),
    ("fd09:99::2", 0.3, 3, True, "fd09:99::1"),
)
FRRS: tuple[Row, ...] = (
    ("10.9.2.3", 0.3, 3, False, "10.9.2.1"),
    ("fd09:2::3", 0.3, 3, False, "fd09:2::1"),
    ("10.9.98.3", 0.3, 3, True, "10.9.98.1"),
    ("fd09:98::3", 0.3, 3, True, "fd09:98::1"),
)
OURS = {
    "bird": {"10.9.1.1", "fd09:1::1", "fe80::11", "10.9.99.1", "fd09:99::1"},
    "frr": {"10.9.2.1", "fd09:2::1", "10.9.98.1", "fd09:98::1"},
}
"""Our addresses, as the routers know us."""

LINES = {
    "ours": """
address add 10.9.1.1/24 dev up1
address add fd09:1::1/64 dev up1 nodad
address add fe80::11/64 dev up1 nodad
address add 10.9.2.1/24 dev up2
address add fd09:2::1/64 dev up2 nodad
address add fe80::21/64 dev up2 nodad
address add 10.9.99.1/32 dev lo
address add fd09:99::1/128 dev lo nodad
address add 10.9.98.1/32 dev lo
address add fd09:98::1/128 dev lo nodad
route add 10.9.99.2 via 10.9.2.3
route add fd09:99::2 via fd09:2::3
route add 10.9.98.3 via 10.9.1.2
route add fd09:98::3 via fd09:1::2
""",
    "bird": """
address add 10.9.1.2/24 dev eth0
address add fd09:1::2/64 dev eth0 nodad
address add fe80::12/64 dev eth0 nodad
address add 10.9.3.2/24 dev eth1
address add fd09:3::2/64 dev eth1 nodad
address add fe80::32/64 dev eth1 nodad
address add 10.9.99.2/32 dev lo
address add fd09:99::2/128 dev lo nodad
route add 10.9.99.1 via 10.9.3.3
route add fd09:99::1 via fd09:3::3
route add 10.9.98.1 via 10.9.1.1
route add fd09:98::1 via fd09:1::1
route add 10.9.98.3 via 10.9.3.3
route add fd09:98::3 via fd09:3::3
""",
    "frr": """
address add 10.9.2.3/24 dev eth0
address add fd09:2::3/64 dev eth0 nodad
address add fe80::23/64 dev eth0 nodad
address add 10.9.3.3/24 dev eth1
address add fd09:3::3/64 dev eth1 nodad
address add fe80::33/64 dev eth1 nodad
address add 10.9.98.3/32 dev lo
address add fd09:98::3/128 dev lo nodad
route add 10.9.98.1 via 10.9.3.2
route add fd09:98::1 via fd09:3::2
route add 10.9.99.1 via 10.9.2.1
route add fd09:99::1 via fd09:2::1
route add 10.9.99.2 via 10.9.3.2
route add fd09:99::2 via fd09:3::2
""",
}
INTERFACES = {"ours": ("up1", "up2"), "bird": ("eth0", "eth1"), "frr": ("eth0", "eth1")}
CABLES = (("ours", "up1", "bird", "eth0"), ("ours", "up2", "frr", "eth0"), ("bird", "eth1", "frr", "eth1"))
SETTINGS = ("net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1", "net/ipv4/conf/all/rp_filter=0")


class Scene(Standing):
    """The namespaces, the links, and a directory."""

    def __init__(self) -> None:
        self.name = f"{PREFIX}{os.getpid()}-bfd"
        self.directory = lab_directory(self.name)
        self.spaces = {name: Namespace(f"{self.name}-{name}") for name in INTERFACES}
        self._owner: IO[str] | None = None

    @property
    def ours(self) -> Namespace:
        return self.spaces["ours"]

    def stand(self) -> None:
        with exclusive("labs"):
            self.directory.mkdir(parents=True, mode=0o755)
            self._owner = take(self.directory / "owner")
        made = [f"netns add {space.name}" for space in self.spaces.values()]
        made += [
            f"link add {near} netns {self.spaces[one].name} type veth peer name {far} netns {self.spaces[other].name}"
            for one, near, other, far in CABLES
        ]
        run("ip", "-batch", "-", text="\n".join([*made, ""]))
        for name, space in self.spaces.items():
            script = [f"echo {value} > /proc/sys/{key}" for key, _, value in (one.partition("=") for one in SETTINGS)]
            links = [f"link set {each} addrgenmode none up" for each in INTERFACES[name]]
            script += ["ip -batch - <<END", "link set lo up", *links, LINES[name].strip(), "END"]
            space.run("sh", "-e", text="\n".join([*script, ""]))

    def root(self, name: str = "vc5") -> Path:
        """Return a directory for a daemon; its process of BFD is not root, and has to find nothing there."""
        directory = self.directory / "roots" / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def close(self) -> None:
        remove_lab(self.name)
        if self._owner is not None:
            self._owner.close()


class Bird(Standing):
    """BIRD with nothing but BFD."""

    def __init__(self, scene: Scene, interval: str = "300 ms") -> None:
        self.space = scene.spaces["bird"]
        self.directory = scene.directory / "bird"
        self._interval = interval
        self._process: subprocess.Popen[str] | None = None

    def stand(self) -> None:
        self.directory.mkdir()
        timing = f"interval {self._interval}; idle tx interval 1 s; multiplier 3;"
        (self.directory / "bird.conf").write_text(
            f"""
log "{self.directory}/bird.log" all;
router id 10.9.1.2;
timeformat protocol iso long us;
protocol device {{ scan time 1; }}
protocol bfd {{
  interface "eth0" {{ {timing} }};
  multihop {{ {timing} }};
  neighbor 10.9.1.1 dev "eth0";
  neighbor fd09:1::1 dev "eth0";
  neighbor fe80::11 dev "eth0";
  neighbor 10.9.99.1 local 10.9.99.2 multihop;
  neighbor fd09:99::1 local fd09:99::2 multihop;
}}
"""
        )
        files = ("-c", f"{self.directory}/bird.conf", "-s", f"{self.directory}/ctl", "-P", f"{self.directory}/pid")
        self._process = self.space.spawn(BIRD, "-f", *files)
        wait_for("bird to answer", lambda: (self.directory / "ctl").exists() and self.states())

    def states(self) -> dict[str, str]:
        """What its table says of each of our addresses: admindown, down, init, up."""
        text = run("/usr/sbin/birdc", "-s", f"{self.directory}/ctl", "show", "bfd", "sessions")
        rows = re.findall(r"^([0-9a-f.:]+) +\S+ +(\w+)", text, re.M)
        return {address: state.lower() for address, state in rows}

    def since(self) -> dict[str, float]:
        """Since when each is so; it tells another microsecond each time."""
        text = run("/usr/sbin/birdc", "-s", f"{self.directory}/ctl", "show", "bfd", "sessions")
        rows = re.findall(r"^([0-9a-f.:]+) +\S+ +\w+ +(\S+ \S+) ", text, re.M)
        return {address: datetime.fromisoformat(stamp).timestamp() for address, stamp in rows}

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Bfdd(Standing):
    """FRR with nothing but zebra and bfdd."""

    def __init__(self, scene: Scene) -> None:
        self.space = scene.spaces["frr"]
        self.directory = scene.directory / "frr"
        self._processes: list[subprocess.Popen[str]] = []

    def stand(self) -> None:
        self.directory.mkdir()
        timing = [
            "  detect-multiplier 3",
            "  receive-interval 300",
            "  transmit-interval 300",
            "  no shutdown",
            " exit",
        ]
        peers = ["peer 10.9.2.1 local-address 10.9.2.3 interface eth0"]
        peers += ["peer fd09:2::1 local-address fd09:2::3 interface eth0"]
        peers += ["peer 10.9.98.1 multihop local-address 10.9.98.3"]
        peers += ["peer fd09:98::1 multihop local-address fd09:98::3"]
        lines = ["log stdout", "bfd", *(line for peer in peers for line in (f" {peer}", *timing)), "exit", ""]
        (self.directory / "bfdd.conf").write_text("\n".join(lines))
        (self.directory / "zebra.conf").write_text("log stdout\n")
        # They insist on a user of their own.
        for path in (self.directory, *self.directory.glob("*.conf")):
            shutil.chown(path, "frr", "frr")
        for name, more in (("zebra", ()), ("bfdd", ("--bfdctl", f"{self.directory}/bfdctl.sock"))):
            files = ("-f", f"{self.directory}/{name}.conf", "-i", f"{self.directory}/{name}.pid", "-P", "0")
            sockets = ("-z", f"{self.directory}/zebra.sock", "--vty_socket", str(self.directory))
            with (self.directory / f"{name}.said").open("w") as said:
                self._processes.append(
                    self.space.spawn(str(FRR / name), *files, *sockets, *more, stdout=said, stderr=said)
                )
            wait_for(f"{name} to be ready", (self.directory / f"{name}.vty").exists)
            if name == "zebra":
                # Without zebra bfdd would wait for ten seconds before it looks again.
                wait_for("zebra to listen", (self.directory / "zebra.sock").exists)
        wait_for("bfdd's peers", lambda: len(self.states()) == len(peers))

    def peers(self) -> dict[str, dict[str, Any]]:
        """What its table says of each of our addresses."""
        text = run("/usr/bin/vtysh", "--vty_socket", str(self.directory), "-d", "bfdd", "-c", "show bfd peers json")
        return {one["peer"]: one for one in json.loads(text)}

    def states(self) -> dict[str, str]:
        """The states alone: shutdown, down, init, up."""
        return {address: one["status"] for address, one in self.peers().items()}

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


class Daemon(Standing):
    """The daemon's side, in a process that can be killed; and what it started."""

    def __init__(self, scene: Scene, root: Path | None = None, version: str = __version__) -> None:
        self.scene = scene
        self.root = root or scene.root()
        self.version = version
        self.changes: list[dict[str, Any]] = []
        self._process: subprocess.Popen[str] | None = None
        self._rest = b""

    def stand(self) -> None:
        """Start."""
        with (self.scene.directory / "stderr").open("a") as errors:
            self._process = self.scene.ours.spawn(
                *("/usr/bin/python3", "-m", "tests.netns.bfd_daemon", str(self.root), self.version),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                environment={"PYTHONPATH": str(REPOSITORY)},
            )

    def say(self, **wish: Any) -> None:
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()

    def follow(self, rows: tuple[Row, ...], grace: float = 60.0) -> None:
        self.say(follow=rows, grace=grace)

    def ask(self) -> dict[str, Any]:
        """Return what the client knows now."""
        self.say(ask=1)
        return self._until("states")

    def stop(self, farewell: bool) -> None:
        """End in an orderly way."""
        self.say(stop=farewell)
        self._until("stopped")
        self.close()

    def kill9(self) -> None:
        """Kill it; the process of BFD is left alone."""
        self.close()

    def heard(self, peer: str, state: str) -> dict[str, Any] | None:
        """Return the last change if it is that one's to that state."""
        self._drain(0.0)
        mine = [one for one in self.changes if one["changed"][0] == peer]
        return mine[-1] if mine and mine[-1]["changed"][1] == state else None

    @property
    def whys(self) -> set[str]:
        """All reasons that were given so far."""
        self._drain(0.0)
        return {one["changed"][3] for one in self.changes}

    def up(self, rows: tuple[Row, ...]) -> bool:
        """Whether all of these are up."""
        return all(self.heard(row[0], "up") for row in rows)

    @property
    def running(self) -> bool:
        """Whether it has neither been stopped nor killed."""
        return self._process is not None

    @property
    def errors(self) -> str:
        """What all daemons of the scene wrote to their standard error."""
        return (self.scene.directory / "stderr").read_text()

    @property
    def bfd(self) -> int:
        """The process id of the process of BFD."""
        return int(wait_for("the process of BFD", lambda: self.ask()["hello"].get("pid")))

    def _until(self, key: str) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for one in self._drain(0.1):
                if key in one:
                    return one
        raise LabError(f"the daemon does not answer: {self.errors}")

    def _drain(self, seconds: float) -> list[dict[str, Any]]:
        assert self._process
        assert self._process.stdout
        found: list[dict[str, Any]] = []
        number = self._process.stdout.fileno()
        while select.select([number], [], [], 0.0 if found else seconds)[0]:
            data = os.read(number, 1 << 16)
            if not data:
                break
            *lines, self._rest = (self._rest + data).split(b"\n")
            found += [json.loads(line) for line in lines]
        self.changes += [one for one in found if "changed" in one]
        return found

    def close(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process = None


def processes(root: Path) -> list[int]:
    """Return the processes of BFD of this root."""
    return bfd_processes(paths.root(str(root)))


def missing() -> str:
    """Return why tests with routers have to be skipped; empty if they need not."""
    lacking = [program for program in PROGRAMS if not Path(program).exists()]
    return f"there is no {', '.join(lacking)}: install bird2 and frr" if lacking else ""
