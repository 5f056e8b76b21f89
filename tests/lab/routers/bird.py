"""BIRD 2."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from tests.lab.namespace import LabError
from tests.lab.routers.router import Router
from tests.lab.routers.terms import Announced, Learned, Neighbour, Prefix, Restarting, Session, Setup, prefix_of

RESTARTING: Final = {Restarting.OFF: "off", Restarting.HELPER: "aware", Restarting.FULL: "on"}
BFD_STATES: Final = {"AdminDown": "admindown", "Down": "down", "Init": "init", "Up": "up"}
STATES: Final = {"Passive": "active", "Down": "idle", "Close": "idle"}
"""Where its words are not those of RFC 4271."""

CAPABILITIES: Final = {
    "AF announced": "",  # a list, read apart
    "4-octet AS numbers": "four-octet-as",
    "Route refresh": "route-refresh",
    "Enhanced refresh": "enhanced-route-refresh",
    "Extended next hop": "extended-next-hop",
    "Graceful restart": "graceful-restart",
}


class Bird(Router):
    """BIRD, asked over its control socket."""

    name = "bird"
    programs = ("/usr/sbin/bird",)

    # ---- configuration

    @property
    def _control(self) -> Path:
        return self.directory / "bird.ctl"

    def write_configuration(self) -> None:
        (self.directory / "bird.conf").write_text(configuration(self.setup, self.directory))

    def commands(self) -> dict[str, Sequence[str]]:
        files = ("-c", f"{self.directory}/bird.conf", "-s", str(self._control), "-P", f"{self.directory}/bird.pid")
        # After the first start it takes over the routes that the kernel still has.
        again = ("-R",) if (self.directory / "bird.log").exists() else ()
        return {"bird": ("/usr/sbin/bird", "-f", *again, *files)}

    def answers(self) -> bool:
        try:
            return "Daemon is up and running" in self.ask("show status")
        except (OSError, EOFError):
            return False

    def reconfigure(self, setup: Setup) -> None:
        self.setup = setup
        self.write_configuration()
        answer = self.ask("configure")
        if "Reconfig" not in answer:
            raise LabError(f"bird refuses its configuration: {answer}")

    # ---- control

    def ask(self, command: str) -> str:
        """Return the answer to a command of birdc. Raises OSError, EOFError."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            control.connect(str(self._control))
            with control.makefile("r", encoding="utf-8") as answers:
                _answer(answers)  # its greeting
                control.sendall(f"{command}\n".encode())
                return _answer(answers)

    def refresh(self, address: str) -> None:
        self.ask(f"reload in {name_of(self.of(address))}")

    def shut(self, address: str, message: str) -> None:
        self.ask(f'disable {name_of(self.of(address))} "{message}"')

    def unshut(self, address: str) -> None:
        self.ask(f"enable {name_of(self.of(address))}")

    # ---- what it knows

    def _protocol(self, neighbour: Neighbour) -> str:
        return self.ask(f"show protocols all {name_of(neighbour)}")

    def neighbour(self, address: str) -> Session:
        own = self.of(address)
        text = self._protocol(own)
        state = re.search(r"BGP state: +(\w+)", text)
        if not text.strip():
            raise LabError(f"bird knows nothing of {address}: {text}")
        error = re.search(r"Last error: +(.*)", text)
        message = re.search(r"Message: +(.*)", text)
        hold = re.search(r"Hold timer: +[\d.]+/(\d+)", text)
        name = re.search(r"Neighbor ID: +(\S+)", text)
        # Its own answer differs in the last digits each time.
        ups = re.findall(rf"^(\S+ \S+) <\w+> {name_of(own)}: BGP session established", self.log, re.MULTILINE)
        established = state is not None and state[1] == "Established"
        return Session(
            state=STATES.get(state[1], state[1].lower()) if state else "idle",
            since=datetime.fromisoformat(ups[-1]).timestamp() if established and ups else 0.0,
            remote_id=name[1] if name else "",
            capabilities=_capabilities(text),
            hold_time=int(hold[1]) if hold else 0,
            ups=len(ups),
            updates=sum(int(count) for count in re.findall(r"Import (?:updates|withdraws): +(\d+)", text)),
            last_error=": ".join(each[1] for each in (error, message) if each),
        )

    def routes(self, family: int) -> dict[Prefix, list[Learned]]:
        found: dict[Prefix, list[Learned]] = {}
        names = {name_of(neighbour): neighbour for neighbour in self.setup.neighbours}
        restarting: dict[str, bool] = {}
        for prefix, name, best, lines in _routes_in(self.ask(f"show route all table master{family}")):
            if name not in names:
                continue
            if name not in restarting:
                restarting[name] = "Neighbor graceful restart active" in self._protocol(names[name])
            route = _learned(names[name].address, lines, best, restarting[name])
            found.setdefault(prefix_of(prefix), []).append(route)
        return found

    def bfd(self, address: str) -> str:
        row = re.search(rf"^{re.escape(str(ip_address(address)))} +\S+ +(\w+)", self.ask("show bfd sessions"), re.M)
        return BFD_STATES[row[1]] if row else ""


def _answer(answers: Iterable[str]) -> str:
    """Read one answer: lines of a code and a dash, or a blank instead of the code; a code and a blank end it."""
    lines = []
    for line in answers:
        numbered = line[:4].isdigit()
        lines.append(line[5:] if numbered else line[1:])
        if numbered and line[4:5] != "-":
            return "".join(lines)
    raise EOFError("bird hung up")


def _capabilities(text: str) -> frozenset[str]:
    told = re.search(r"Neighbor capabilities\n((?: {6}.*\n)*)", text)
    found = set()
    block = told[1] if told else ""
    for label, word in CAPABILITIES.items():
        if word and re.search(rf"^ +{label}", block, re.MULTILINE):
            found.add(word)
    families = re.search(r"AF announced: *(.*)", block)
    found |= set(families[1].split()) if families else set()
    restart = re.search(r"^ {6}Graceful restart\n((?: {8}.*\n)*)", block, re.MULTILINE)
    kept = re.search(r"AF preserved: *\S", restart[1]) if restart else None
    return frozenset(found | ({"forwarding-kept"} if kept else set()))


def _routes_in(text: str) -> Iterator[tuple[str, str, bool, list[str]]]:
    """Yield prefix, protocol, whether it is the best, and the lines of attributes."""
    prefix, name, best = "", "", False
    lines: list[str] = []
    for line in text.splitlines():
        head = re.match(r"(\S*) +\S+ \[(\S+) [^\]]*\](.*)", line)
        if head and not line.startswith("\t"):
            if name:
                yield prefix, name, best, lines
            prefix, name, best, lines = head[1] or prefix, head[2], " * " in head[3], []
        else:
            lines.append(line.strip())
    if name:
        yield prefix, name, best, lines


def _learned(address: str, lines: list[str], best: bool, stale: bool) -> Learned:
    values = dict(re.findall(r"^(?:BGP\.)?([\w ]+): *(.*)$", "\n".join(lines), re.MULTILINE))

    def number(name: str) -> int | None:
        return int(values[name]) if name in values else None

    def pairs(name: str) -> frozenset[str]:
        rows = re.findall(r"\(([^)]*)\)", values.get(name, ""))
        return frozenset(":".join(part.strip() for part in row.split(",")) for row in rows)

    return Learned(
        neighbour=address,
        next_hop=values["next_hop"].split()[0],
        as_path=tuple(int(word) for word in values["as_path"].split()),
        med=number("med"),
        local_pref=number("local_pref"),
        communities=pairs("community"),
        large_communities=pairs("large_community"),
        best=best,
        stale=stale,
    )


# ---- its configuration


def name_of(neighbour: Neighbour) -> str:
    """The protocol of a neighbour."""
    return "peer_" + re.sub(r"[^0-9a-f]", "_", str(ip_address(neighbour.address)))


def configuration(setup: Setup, directory: Path) -> str:
    """Return bird.conf."""
    merge = f"merge paths on limit {setup.multipath};" if setup.multipath > 1 else ""
    export = "import none; export none;" if setup.passes_on else "import none; export where source = RTS_BGP;"
    lines = [
        f'log "{directory}/bird.log" all;',
        f"router id {setup.router_id};",
        "timeformat protocol iso long us; timeformat log iso long us; timeformat route iso long us;",
        "protocol device { scan time 1; }",
        "protocol direct { ipv4; ipv6; }",
        f"protocol kernel kernel4 {{ {merge} ipv4 {{ {export} }}; }}",
        f"protocol kernel kernel6 {{ {merge} ipv6 {{ {export} }}; }}",
        "protocol bfd { }",
    ]
    for family in (4, 6):
        own = [_announced(route, setup) for route in setup.announced if route.version == family]
        lines += [f"protocol static announced{family} {{ ipv{family};", *own, "}"]
    lines += [_protocol(neighbour, setup) for neighbour in setup.neighbours]
    return "\n".join([*lines, ""])


def _announced(route: Announced, setup: Setup) -> str:
    attributes = [] if route.med is None else [f"bgp_med = {route.med};"]
    attributes += [] if route.local_pref is None else [f"bgp_local_pref = {route.local_pref};"]
    for kind, communities in (("bgp_community", route.plain), ("bgp_large_community", route.large)):
        attributes += [f"{kind}.add(({each.replace(':', ', ')}));" for each in communities]
    attributes += [f"bgp_path.prepend({setup.local_as});"] * route.prepended
    return f"  route {route.prefix} unreachable {{ {' '.join(attributes)} }};"


def _protocol(neighbour: Neighbour, setup: Setup) -> str:
    milliseconds = round(neighbour.bfd * 1000)
    bfd = (
        f"bfd {{ min rx interval {milliseconds} ms; min tx interval {milliseconds} ms; "
        f"multiplier {neighbour.bfd_multiplier}; {'graceful; ' if neighbour.bfd_graceful else ''}}};"
    )
    lines = [
        f"protocol bgp {name_of(neighbour)} {{",
        f"  local as {setup.local_as}; neighbor {neighbour.address} as {neighbour.remote_as};",
        f"  hold time {neighbour.hold_time}; keepalive time {max(1, neighbour.hold_time // 3)};",
        f"  connect delay time 1; connect retry time {neighbour.connect_retry}; error wait time 1, 2;",
        "  startup hold time 9; debug { states, routes, events };",
        f"  {f'multihop {neighbour.multihop}' if neighbour.multihop else 'direct'};",
        f"  graceful restart {RESTARTING[neighbour.restarting]}; graceful restart time {neighbour.restart_time};",
    ]
    lines += [f'  password "{neighbour.password}";'] if neighbour.password else []
    lines += ["  passive on;"] if neighbour.passive else []
    lines += ["  ttl security on;"] if neighbour.ttl_security else []
    lines += [f"  {bfd}"] if neighbour.bfd else []
    for family in neighbour.carried:
        med = "".join(
            f"if net = {route.prefix} then bgp_med = {route.med}; "
            for route in setup.announced
            if route.version == family and route.med is not None
        )
        extended = "extended next hop on; " if family == 4 and neighbour.ipv4_over_ipv6 else ""
        # What is not set on the way out is taken away from routes to another AS.
        others = " && source != RTS_BGP" if setup.passes_on else ""
        export = f'export filter {{ if proto != "announced{family}"{others} then reject; {med}accept; }};'
        lines.append(f"  ipv{family} {{ import all; {extended}{export} }};")
    return "\n".join([*lines, "}"])
