"""Links between programs and interfaces, pinned so that they outlive the daemon; unless they are to end with it.

A link is made once; later generations of the program are put into it by an atomic update that never touches the NIC.
A link can lose its interface all the same: that is deleted, moved to another network namespace or renamed, or somebody
detaches the link (`bpftool link detach`). The link then outlives what it held, so what it says is held against what
the interface says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.dataplane.kernel import Link, Program, xdp_status
from appliance.errors import ForeignProgram, KernelError
from appliance.model import Interface, XdpMode


@dataclass
class Attached:
    """A program on an interface; `mode` is what it really got."""

    interface: str
    index: int
    mode: XdpMode
    link: Link
    pin: Path | None


class Attachments:
    """All links of one instance, by the name of the interface, or of an end of the probe veth."""

    def __init__(self, directory: Path | None) -> None:
        """Pin links in `directory`; without one they end with this process."""
        self._directory = directory
        self.links: dict[str, Attached] = {}

    def adopt(self, *, look: bool = False) -> None:
        """Open the pins of an earlier process; those whose interface is gone are removed, but by one who only looks."""
        if self._directory is None or not self._directory.is_dir():
            return
        for pin in sorted(self._directory.iterdir()):
            link = Link.open(pin)
            info = link.info()
            status = xdp_status(info.ifindex) if info.ifindex else None
            if not info.ifindex:
                link.close()
                if not look:
                    pin.unlink(missing_ok=True)
                continue
            self.links[pin.name] = Attached(pin.name, info.ifindex, status.mode if status else XdpMode.AUTO, link, pin)

    def program_ids(self) -> set[int]:
        """The kernel's numbers of the programs that the links run."""
        return {attached.link.info().program_id for attached in self.links.values()}

    def lost(self, name: str, index: int) -> str:
        """Why the program is not on the interface of this name and index any more; empty while it is, or never was.

        To be asked in the network namespace of the interface.
        """
        present = self.links.get(name)
        if present is None:
            return ""
        held = present.link.info()
        if held.ifindex == 0:
            return "the interface was made anew" if index != present.index else "somebody detached it"
        if held.ifindex != index:
            return f"it went with interface number {held.ifindex}, which had this name"
        status = xdp_status(index)
        if status is None or status.program_id != held.program_id:
            return "the interface does not run it"
        return ""

    def holds(self, name: str, index: int, mode: XdpMode) -> bool:
        """Whether there is a link that the next program can be put into, in this mode."""
        present = self.links.get(name)
        return present is not None and mode in (XdpMode.AUTO, present.mode) and not self.lost(name, index)

    def attach(
        self,
        name: str,
        index: int,
        program: Program,
        mode: XdpMode,
        inside: Callable[[Callable[[], None]], None] | None = None,
    ) -> Attached:
        """Put a program on an interface, or into the link that is there.

        `inside` runs a function in the network namespace where the interface is. Raises ForeignProgram or KernelError,
        which says what the driver has against it.
        """
        present = self.links.get(name)
        if present is not None:
            if self.holds(name, index, mode):
                present.link.update(program)
                return present
            self.detach(name)
        pin = None
        if self._directory is not None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            pin = self._directory / name
        made: list[tuple[Link, XdpMode]] = []

        def make() -> None:
            link, real = _make(name, index, program, mode)
            try:
                if pin is not None:
                    link.pin(pin)
            except BaseException:
                link.close()
                raise
            made.append((link, real))

        if inside is None:
            make()
        else:
            inside(make)
        link, real = made[0]
        attached = Attached(name, index, real, link, pin)
        self.links[name] = attached
        return attached

    def detach(self, name: str) -> None:
        """Take the program off an interface."""
        attached = self.links.pop(name)
        if attached.pin is not None:
            attached.pin.unlink(missing_ok=True)
        if attached.link.info().ifindex:
            attached.link.detach()
        attached.link.close()

    def detach_all(self) -> None:
        """Take everything off."""
        for name in list(self.links):
            self.detach(name)
        if self._directory is not None and self._directory.is_dir():
            self._directory.rmdir()

    def close(self) -> None:
        """Let go of the descriptors; pinned links stay."""
        for attached in self.links.values():
            attached.link.close()
        self.links.clear()


def _make(name: str, index: int, program: Program, mode: XdpMode) -> tuple[Link, XdpMode]:
    if mode is XdpMode.GENERIC:
        return Link.attach_xdp(program, index, XdpMode.GENERIC), XdpMode.GENERIC
    try:
        return Link.attach_xdp(program, index, XdpMode.NATIVE), XdpMode.NATIVE
    except ForeignProgram:
        raise
    except KernelError:
        if mode is XdpMode.NATIVE:
            raise
    return Link.attach_xdp(program, index, XdpMode.GENERIC), XdpMode.GENERIC


def configured(names: tuple[str, ...], found: tuple[Interface, ...]) -> tuple[list[Interface], list[str]]:
    """Split the configured interfaces into those that exist and the names of those that do not."""
    by_name = {interface.name: interface for interface in found}
    return [by_name[name] for name in names if name in by_name], [name for name in names if name not in by_name]
