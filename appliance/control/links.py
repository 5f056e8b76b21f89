"""Keeps the program on every configured interface.

Called again and again (`settle`), it compares what is attached with what should be, and attaches where that differs: an
interface that came, or came back with another number, or lost its program. What is missing or refused is no reason to
end: the other interfaces work on, and its turn comes again.

Attaching resets many NICs for a second or more. So with `attach_delay` only one interface at a time gets a new link,
and the next one not before so many seconds are over; the bond that they are members of then always has one that works.
Putting the next program into a link touches no NIC and waits for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from appliance.control.stripping import Stripping
from appliance.dataplane.sync import DataPlane
from appliance.errors import HostError, Vc5Error
from appliance.model import Config, EventKind, Host, Interface, Mode, XdpMode

RETRY = 5.0
"""Seconds until an interface that refused the program is asked again."""


class Standing(Enum):
    """How an interface and the program stand."""

    NEW = auto()
    """Nothing has been tried yet."""
    ATTACHED = auto()
    LOST = auto()
    MISSING = auto()
    REFUSED = auto()


@dataclass
class _Port:
    """What is known of one configured interface. `due` is when to try again, monotonic seconds."""

    standing: Standing = Standing.NEW
    trouble: str = ""
    due: float = 0.0


@dataclass(frozen=True)
class Notice:
    """Something that an operator should read."""

    kind: EventKind
    message: str


class Links:
    """The program's links to the configured interfaces. Times are monotonic seconds."""

    def __init__(self, data: DataPlane) -> None:
        self._data = data
        self.stripping = Stripping()
        self._ports: dict[str, _Port] = {}
        self._next = 0.0
        self._notices: list[Notice] = []
        self.away = False
        """Whether the program is to be on no interface, because the node is drained."""
        self.waiting = False
        """Whether an interface waits for its turn; `settle` is then to be called more often."""

    def come_back(self) -> None:
        """Be away no more; every interface waits for its turn until `settle` has seen to it."""
        self.away, self.waiting = False, True

    def notices(self) -> list[Notice]:
        """Return what has happened since this was last asked."""
        told, self._notices = self._notices, []
        return told

    def troubles(self) -> list[str]:
        """Return what is wrong now, a sentence for each interface that does not work."""
        return [f"{name}: {port.trouble}" for name, port in self._ports.items() if port.trouble]

    def settle(self, config: Config, host: Host, now: float, *, strict: bool = False) -> None:
        """Attach where it is missing, detach where it should not be.

        With `strict`, for what an operator waits for, an interface that refuses the program raises KernelError; else it
        is a notice, and tried again later. One that was in trouble before is that also with `strict`: it shall not keep
        an operator from changing something else. Interfaces done before stay attached.
        """
        names = () if self.away else config.interfaces
        self._ports = {name: self._ports.get(name, _Port()) for name in names}
        self.waiting = False
        for interface in self._in_need(config, host):
            port = self._ports[interface.name]
            if self._data.attachments.holds(interface.name, interface.index, config.xdp):
                self._attach(interface, config, port, strict)
            elif now < self._next:
                self.waiting = True
                if port.standing in (Standing.NEW, Standing.MISSING):
                    port.trouble = "waits for its turn to get the program (attach_delay)"
            elif strict or now >= port.due:
                self._attach(interface, config, port, strict)
                self._next, port.due = now + config.attach_delay, now + RETRY
        self._data.keep_only({interface.name for interface in _found(config, host) if interface.name in names})
        self.stripping.put_back(names if config.mode is Mode.VLAN else ())

    def _in_need(self, config: Config, host: Host) -> list[Interface]:
        """The interfaces that are to get the program, in the order of the configuration.

        What was lost is noted, and let go of before anything is attached: where two interfaces exchanged their names,
        each would be in the other's way.
        """
        wanting = []
        found = {interface.name: interface for interface in _found(config, host)}
        for name, port in self._ports.items():
            interface = found.get(name)
            if interface is None:
                self._missing(name, port)
                continue
            attachments = self._data.attachments
            why = attachments.lost(name, interface.index)
            if why:
                attachments.detach(name)
            if why and port.standing is Standing.ATTACHED:
                self._note(EventKind.ALARM, f"{name}: the program is lost: {why}")
                port.standing, port.trouble, port.due = Standing.LOST, f"the program is lost: {why}", 0.0
            if port.standing is not Standing.ATTACHED or not attachments.holds(name, interface.index, config.xdp):
                wanting.append(interface)
        return wanting

    def _missing(self, name: str, port: _Port) -> None:
        if port.standing is not Standing.MISSING:
            port.standing, port.trouble = Standing.MISSING, "the interface does not exist"
            self._note(EventKind.ALARM, f"{name}: the interface does not exist; it gets the program when it comes")
        port.due = 0.0
        self.stripping.forget(name)

    def _attach(self, interface: Interface, config: Config, port: _Port, strict: bool) -> None:
        before = port.standing
        try:
            if config.mode is Mode.VLAN:
                self.stripping.off(interface.name)
            mode = self._data.attach_one(interface, config.xdp)
        except Vc5Error as error:
            if strict and before in (Standing.NEW, Standing.ATTACHED):
                raise
            if port.trouble != str(error):
                self._note(EventKind.ALARM, f"{interface.name}: the program cannot be attached: {error}")
            port.standing, port.trouble = Standing.REFUSED, str(error)
            return
        port.standing, port.trouble = Standing.ATTACHED, ""
        if before not in (Standing.NEW, Standing.ATTACHED):
            self._note(EventKind.DAEMON, f"{interface.name}: the program is attached again, {mode}")
        elif config.attach_delay:
            self._note(EventKind.DAEMON, f"{interface.name}: the program is attached, {mode}")

    def renew(self, config: Config, host: Host, name: str, now: float) -> XdpMode:
        """Detach from an interface and attach anew, for a NIC that lost its program without the kernel knowing.

        Returns the mode that it got. Raises HostError where the interface is not configured or does not exist,
        KernelError where the driver refuses; that is tried again later.
        """
        if name not in config.interfaces:
            known = ", ".join(config.interfaces) or "none"
            raise HostError(f"{name!r} is not a configured interface; `interfaces` has {known}")
        if self.away:
            raise HostError("this node is drained and detached; `vc5 undrain --all` brings the program back")
        interface = next((one for one in _found(config, host) if one.name == name), None)
        if interface is None:
            raise HostError(f"interface {name} does not exist now; it gets the program by itself when it comes")
        if name in self._data.attachments.links:
            self._data.attachments.detach(name)
        port = self._ports.setdefault(name, _Port())
        port.standing, port.trouble, port.due = Standing.LOST, "an operator asked to attach anew", now + RETRY
        if config.mode is Mode.VLAN:
            self.stripping.off(name)
        mode = self._data.attach_one(interface, config.xdp)
        port.standing, port.trouble = Standing.ATTACHED, ""
        self._next = now + config.attach_delay
        return mode

    def _note(self, kind: EventKind, message: str) -> None:
        self._notices.append(Notice(kind, message))


def _found(config: Config, host: Host) -> list[Interface]:
    return [interface for interface in host.interfaces if interface.name in config.interfaces]
