"""What the daemon and the process of BFD say to each other: JSON, one message on a line, ASCII. Pure.

daemon -> process   {"wanted": [[PEER, MULTIHOP, SOURCE, INTERVAL, MULTIPLIER], ...], "grace": SECONDS}
                    all sessions that there are to be; who is not named is ended. Intervals are microseconds, SOURCE is
                    null where the route decides; for so long the sessions outlive the daemon that goes without a word
                    {"become": PATH}
                    execute the program that is installed now; its modules are found at PATH, or, where PATH is empty,
                    in the archive whose descriptor comes with the message
                    {"farewell": true}
                    end all sessions, and then yourself
process -> daemon   {"hello": {"protocol": 1, "version": VERSION, "pid": PID, "gap": SECONDS}}
                    to whoever connects, and again after becoming another program, for which nothing was done for so
                    long
                    {"changed": {...}}
                    one session, at once when its state has changed
                    {"sessions": [{...}, ...], "drops": {REASON: PACKETS, ...}}
                    all of them, after `wanted` and each second; `drops` counts what belonged to no session as well
                    {"trouble": TEXT}
                    something that an operator should know; empty: it is over

Times are seconds of CLOCK_MONOTONIC, which all processes of a machine share. The daemon does not trust the process,
which reads bytes from the network: everything is checked here, and ValueError says what is wrong.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from appliance.routing.bfd.packet import DROPS, Diagnostic, Drop, State, diagnostic_words

if TYPE_CHECKING:
    from appliance.model_address import Address

PROTOCOL = 1
MAX_MESSAGE = 4 << 20
"""Bytes on a line, at most."""
MAX_SESSIONS = 4096
MAX_TEXT = 500
MAX_GRACE = 86400.0
GRACE = 120.0
"""Seconds, where the daemon has not said otherwise."""
_COUNT = 1 << 53


class BfdSession(NamedTuple):
    """One session that is wanted. A link-local peer has its interface as a zone (`fe80::1%eth0`)."""

    peer: Address
    interval: float = 0.3
    """Seconds between packets, in either direction; 0.001..4294."""
    multiplier: int = 3
    """How many packets in a row have to be missing: 1..255."""
    multihop: bool = False
    """Whether it is one of RFC 5883 (UDP port 4784), whose packets may come from any distance."""
    source: Address | None = None
    """Our address; None: as the route to the peer says."""


class Wanted(NamedTuple):
    """All sessions that the daemon wants, and for how many seconds they outlive it."""

    sessions: tuple[BfdSession, ...]
    grace: float


class Become(NamedTuple):
    """Execute the installed program; empty: from the archive that came along."""

    path: str


class Farewell(NamedTuple):
    """End everything."""


class Hello(NamedTuple):
    """Who is at the other end."""

    protocol: int
    version: str
    pid: int
    gap: float = 0.0
    """Seconds for which nothing was done, while this program took the place of another; 0: it has not."""


class SessionState(NamedTuple):
    """How one session is. Times are seconds, points of time those of CLOCK_MONOTONIC."""

    peer: Address
    multihop: bool = False
    state: State = State.DOWN
    remote_state: State = State.DOWN
    diagnostic: int = 0
    """Why the state is what it is (RFC 5880 section 4.1)."""
    remote_diagnostic: int = 0
    why: str = ""
    """The same in words."""
    since: float = 0.0
    """When the state was entered."""
    interval: float = 0.0
    """Between our packets, before jitter, as agreed; 0: none are sent."""
    detection: float = 0.0
    """Of silence, until the path counts as broken; 0: the peer has not been heard."""
    packets_in: int = 0
    packets_out: int = 0
    unsent: int = 0
    """Packets that the kernel did not take."""
    drops: Mapping[str, int] = MappingProxyType({})
    """Packets from this peer's address that were not used, by reason (`packet.DROPS`)."""
    trouble: str = ""
    """What keeps us from sending; empty if nothing does."""
    discriminator: int = 0
    remote_discriminator: int = 0
    port: int = 0
    """Our source port."""
    remote_independent: bool = False
    """Whether the peer says that its forwarding does not hang on its control plane (the C bit)."""

    @property
    def bad(self) -> int:
        """Packets from this peer's address that were not used."""
        return sum(self.drops.values())

    @property
    def diagnostic_words(self) -> str:
        return diagnostic_words(self.diagnostic)

    @property
    def remote_diagnostic_words(self) -> str:
        return diagnostic_words(self.remote_diagnostic)

    @property
    def broken(self) -> bool:
        """Whether the path is to be taken for broken: a session that was up went down, and nobody wanted it to.

        RFC 5882 sections 3.2 and 4.2: neither a session that has never been up nor a peer that is administratively down
        says anything about the path.
        """
        wanted = self.remote_state is State.ADMIN_DOWN
        return (
            self.state is State.DOWN
            and self.diagnostic in (Diagnostic.SILENCE, Diagnostic.NEIGHBOUR_DOWN)
            and not wanted
        )


class Change(NamedTuple):
    """A session has just come into this state."""

    session: SessionState


class Sessions(NamedTuple):
    """All sessions as they are, and all packets that were not used, by reason."""

    sessions: tuple[SessionState, ...]
    drops: Mapping[str, int]


class Trouble(NamedTuple):
    """What an operator should know."""

    text: str


ToProcess = Wanted | Become | Farewell
FromProcess = Hello | Change | Sessions | Trouble


def line(content: Mapping[str, Any]) -> bytes:
    """Return a message as it goes over the socket."""
    return json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n"


def encode_wanted(sessions: Iterable[BfdSession], grace: float) -> bytes:
    """Return the message of the daemon that says what it wants."""
    rows = [
        [
            str(one.peer),
            one.multihop,
            None if one.source is None else str(one.source),
            round(one.interval * 1e6),
            one.multiplier,
        ]
        for one in sessions
    ]
    return line({"wanted": rows, "grace": grace})


def decode_to_process(text: bytes) -> ToProcess:
    """Read a message of the daemon. Raises ValueError."""
    content = _object(text)
    if "wanted" in content:
        rows = content["wanted"]
        if not isinstance(rows, list) or len(rows) > MAX_SESSIONS:
            raise ValueError(f"wanted: is no list of at most {MAX_SESSIONS} sessions")
        grace = _number(content.get("grace", GRACE), "grace", MAX_GRACE)
        return Wanted(tuple(_wanted(row) for row in rows), grace)
    if "become" in content:
        return Become(_text(content["become"], "become"))
    if "farewell" in content:
        return Farewell()
    raise ValueError(f"no message of the daemon: {str(content)[:80]}")


def decode_from_process(text: bytes) -> FromProcess:
    """Read a message of the process. Raises ValueError."""
    content = _object(text)
    if "hello" in content:
        hello = content["hello"]
        if not isinstance(hello, dict):
            raise ValueError("hello: is no object")
        return Hello(
            _integer(hello.get("protocol"), "protocol", 1 << 16),
            _text(hello.get("version"), "version"),
            _integer(hello.get("pid"), "pid", 1 << 31),
            _number(hello.get("gap", 0), "gap", _COUNT),
        )
    if "changed" in content:
        return Change(_session(content["changed"]))
    if "sessions" in content:
        rows = content["sessions"]
        if not isinstance(rows, list) or len(rows) > MAX_SESSIONS:
            raise ValueError(f"sessions: is no list of at most {MAX_SESSIONS}")
        return Sessions(tuple(_session(row) for row in rows), _drops(content.get("drops")))
    if "trouble" in content:
        return Trouble(_text(content["trouble"], "trouble"))
    raise ValueError(f"no message of the process: {str(content)[:80]}")


def encode_session(state: SessionState) -> dict[str, Any]:
    """Return a session as it stands in a message."""
    return {
        "peer": str(state.peer),
        "multihop": state.multihop,
        "states": [state.state, state.remote_state],
        "diagnostics": [state.diagnostic, state.remote_diagnostic],
        "why": state.why,
        "since": state.since,
        "interval": state.interval,
        "detection": state.detection,
        "packets": [state.packets_in, state.packets_out, state.unsent],
        "drops": dict(state.drops),
        "trouble": state.trouble,
        "discriminators": [state.discriminator, state.remote_discriminator],
        "port": state.port,
        "independent": state.remote_independent,
    }


def _session(content: object) -> SessionState:
    if not isinstance(content, dict):
        raise ValueError("a session: is no object")
    states = _integers(content.get("states"), "states", 2, 3)
    diagnostics = _integers(content.get("diagnostics"), "diagnostics", 2, 31)
    packets = _integers(content.get("packets"), "packets", 3, _COUNT)
    discriminators = _integers(content.get("discriminators"), "discriminators", 2, 0xFFFFFFFF)
    return SessionState(
        peer=_address(content.get("peer"), "peer"),
        multihop=_boolean(content.get("multihop"), "multihop"),
        state=State(states[0]),
        remote_state=State(states[1]),
        diagnostic=diagnostics[0],
        remote_diagnostic=diagnostics[1],
        why=_text(content.get("why"), "why"),
        since=_number(content.get("since"), "since", _COUNT),
        interval=_number(content.get("interval"), "interval", _COUNT),
        detection=_number(content.get("detection"), "detection", _COUNT),
        packets_in=packets[0],
        packets_out=packets[1],
        unsent=packets[2],
        drops=_drops(content.get("drops")),
        trouble=_text(content.get("trouble"), "trouble"),
        discriminator=discriminators[0],
        remote_discriminator=discriminators[1],
        port=_integer(content.get("port"), "port", 65535),
        remote_independent=_boolean(content.get("independent"), "independent"),
    )


def _wanted(row: object) -> BfdSession:
    if not isinstance(row, list) or len(row) != 5:
        raise ValueError("wanted: a session is a list of five values")
    peer, multihop, source, interval, multiplier = row
    session = BfdSession(
        peer=_address(peer, "peer"),
        interval=_integer(interval, "interval", 0xFFFFFFFF, least=1000) / 1e6,
        multiplier=_integer(multiplier, "multiplier", 255, least=1),
        multihop=_boolean(multihop, "multihop"),
        source=None if source is None else _address(source, "source"),
    )
    if session.source is not None and session.source.version != session.peer.version:
        raise ValueError(f"{session.peer}: the source {session.source} is of another family")
    return session


def _object(text: bytes) -> dict[str, Any]:
    if len(text) > MAX_MESSAGE:
        raise ValueError(f"more than {MAX_MESSAGE} bytes in a message")
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("no object")
    return content


def _address(value: object, name: str) -> Address:
    if not isinstance(value, str) or len(value) > 100:
        raise ValueError(f"{name}: is no address")
    return ipaddress.ip_address(value)


def _boolean(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name}: is neither true nor false")
    return value


def _integer(value: object, name: str, most: int, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name}: is no whole number from {least} to {most}")
    return value


def _integers(value: object, name: str, count: int, most: int) -> list[int]:
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"{name}: are not {count} numbers")
    return [_integer(one, name, most) for one in value]


def _number(value: object, name: str, most: float) -> float:
    # Not a number is not at most anything.
    if type(value) not in (int, float) or not 0 <= value <= most:  # type: ignore[operator]
        raise ValueError(f"{name}: is no number from 0 to {most:g}")
    return float(value)  # type: ignore[arg-type]


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise ValueError(f"{name}: is no text of one line")
    return value


def _drops(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        raise ValueError("drops: is no object")
    return {Drop(name): _integer(count, name, _COUNT) for name, count in value.items() if name in DROPS}
