"""Maps, programs and links as objects: the one door to the kernel's BPF, through libbpf.

Each object owns one descriptor and closes it at the end of its `with` block, on `close`, or when it is collected. An
errno never leaves unnamed: what fails raises KernelError or one of its kinds, with the operation and the object in it.
Pins need nothing but permission on the file; finding objects by their id needs CAP_SYS_ADMIN and is only used to name
a stranger's program where that happens to be allowed.
"""

from appliance.dataplane.kernel.descriptor import is_bpffs
from appliance.dataplane.kernel.link import Link, LinkInfo, XdpStatus, leave_xdp, xdp_status
from appliance.dataplane.kernel.map import Map, MapInfo, fence
from appliance.dataplane.kernel.program import Program, ProgramInfo, RunStatistics, TestRun, Verdict
from appliance.dataplane.kernel.ring import Ring

__all__ = [
    "Link",
    "LinkInfo",
    "Map",
    "MapInfo",
    "Program",
    "ProgramInfo",
    "Ring",
    "RunStatistics",
    "TestRun",
    "Verdict",
    "XdpStatus",
    "fence",
    "is_bpffs",
    "leave_xdp",
    "xdp_status",
]
