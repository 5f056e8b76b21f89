"""Links: a program on an interface, kept there by the link; and who else is there."""

from __future__ import annotations

import ctypes
import errno
import socket
from dataclasses import dataclass
from typing import Self

from appliance.dataplane.kernel import libbpf
from appliance.dataplane.kernel.descriptor import Descriptor, check
from appliance.dataplane.kernel.program import Program
from appliance.errors import ForeignProgram, NotSupported
from appliance.model import XdpMode

_ATTACH_FLAGS = {XdpMode.NATIVE: libbpf.XDP_FLAGS_DRV_MODE, XdpMode.GENERIC: libbpf.XDP_FLAGS_SKB_MODE}


@dataclass(frozen=True)
class LinkInfo:
    """What the kernel says of an XDP link; `ifindex` is 0 once the interface is gone."""

    id: int
    program_id: int
    ifindex: int


@dataclass(frozen=True)
class XdpStatus:
    """The XDP program of an interface; an offloaded one counts as native."""

    mode: XdpMode
    program_id: int


class Link(Descriptor):
    """A program attached to an interface; whoever holds the link, or its pin, keeps the program there."""

    kind = "link"

    @classmethod
    def attach_xdp(cls, program: Program, ifindex: int, mode: XdpMode) -> Self:
        """Attach to an interface of this network namespace, mode NATIVE or GENERIC (choosing is the caller's business).

        Raises ForeignProgram where another program or link holds the interface, NotSupported where the driver has no
        native XDP, KernelError otherwise; ValueError for mode AUTO.
        """
        if mode not in _ATTACH_FLAGS:
            raise ValueError(f"attach in mode native or generic, not {mode}")
        interface = _interface(ifindex)
        opts = libbpf.LinkCreateOpts(sz=ctypes.sizeof(libbpf.LinkCreateOpts), flags=_ATTACH_FLAGS[mode])
        result = libbpf.library().bpf_link_create(program.fd, ifindex, libbpf.BPF_XDP, ctypes.byref(opts))
        if result in (-errno.EBUSY, -errno.EEXIST):
            status = xdp_status(ifindex)
            raise ForeignProgram(interface, _program_name(status.program_id) if status else "(gone meanwhile)")
        if result == -errno.EOPNOTSUPP and mode is XdpMode.NATIVE:
            raise NotSupported(f"native XDP on {interface}", "a driver with XDP, or `xdp: generic` or `auto`")
        hints = {
            errno.ENODEV: "no such interface in this network namespace",
            errno.EINVAL: "the driver refuses; often an MTU above one page, too many queues, or offloads in the way",
            errno.ERANGE: "the MTU, on a veth that of its other end, is more than one buffer takes; set that of this "
            "interface to the same, and the program is made for it",
        }
        target = f"{program.label} to {interface} ({mode})"
        return cls(check(result, "attach", target, hints), f"link on {interface}")

    def update(self, program: Program) -> None:
        """Put another program in the place of the present one, without a packet between them."""
        result = libbpf.library().bpf_link_update(self.fd, program.fd, None)
        check(result, "update", self.label, {errno.ENOLINK: "the interface is gone"})

    def info(self) -> LinkInfo:
        """Ask the kernel what this link holds together."""
        raw = libbpf.LinkInfo()
        self._info(raw)
        return LinkInfo(raw.id, raw.prog_id, raw.ifindex)

    def detach(self) -> None:
        """Take the program off the interface now, whoever else holds the link."""
        check(libbpf.library().bpf_link_detach(self.fd), "detach", self.label)


def xdp_status(ifindex: int) -> XdpStatus | None:
    """Return the XDP program of an interface of this network namespace, None where there is none, or no interface."""
    opts = libbpf.XdpQueryOpts(sz=ctypes.sizeof(libbpf.XdpQueryOpts))
    result = libbpf.library().bpf_xdp_query(ifindex, 0, ctypes.byref(opts))
    check(result, "query XDP of", _interface(ifindex))
    if native := opts.drv_prog_id or opts.hw_prog_id:
        return XdpStatus(XdpMode.NATIVE, native)
    return XdpStatus(XdpMode.GENERIC, opts.skb_prog_id) if opts.skb_prog_id else None


def leave_xdp(program: Program, ifindex: int) -> None:
    """Attach a program natively and without a link: it stays until the interface goes, and nobody needs to hold it.

    For an interface of this network namespace. Raises KernelError, EBUSY where a link holds the interface.
    """
    result = libbpf.library().bpf_xdp_attach(ifindex, program.fd, libbpf.XDP_FLAGS_DRV_MODE, None)
    check(result, "attach", f"{program.label} to {_interface(ifindex)}")


def _interface(ifindex: int) -> str:
    try:
        return socket.if_indextoname(ifindex)
    except OSError:
        return f"interface {ifindex}"


def _program_name(number: int) -> str:
    """Return `17 (name)`, or `17` where the kernel does not let us look."""
    fd = libbpf.library().bpf_prog_get_fd_by_id(number)
    if fd < 0:
        return str(number)
    with Program(fd, f"program {number}") as program:
        name = program.info().name
    return f"{number} ({name})" if name else str(number)
