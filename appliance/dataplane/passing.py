"""The smallest program: it lets every frame pass. It makes the far end of the probe veth take redirected frames.

Where the daemon may not enter the probe namespace, whoever makes the namespace leaves this program there. It needs no
map, no table and no compiler, and it is attached without a link, so that nothing has to be kept for it.
"""

from __future__ import annotations

import struct

from appliance.dataplane.kernel import Program, Verdict, leave_xdp, xdp_status
from appliance.model import XdpMode

# struct bpf_insn of linux/bpf.h: operation, registers, offset, immediate; in the machine's byte order.
_INSTRUCTION = struct.Struct("=BBhi")
_MOVE = 0xB7  # BPF_ALU64 | BPF_MOV | BPF_K, to register 0
_EXIT = 0x95  # BPF_JMP | BPF_EXIT
CODE = _INSTRUCTION.pack(_MOVE, 0, 0, Verdict.PASS) + _INSTRUCTION.pack(_EXIT, 0, 0, 0)


def pass_all(ifindex: int) -> None:
    """Have an interface of this network namespace run the program, unless it runs one natively already.

    Raises KernelError.
    """
    present = xdp_status(ifindex)
    if present is not None and present.mode is XdpMode.NATIVE:
        return
    with Program.load("vc5_pass", CODE) as program:
        leave_xdp(program, ifindex)
