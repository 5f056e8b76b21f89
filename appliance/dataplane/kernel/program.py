"""Programs: verified, described, and run on single frames."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

from appliance.dataplane.kernel import libbpf
from appliance.dataplane.kernel.btf import function_info, functions_btf
from appliance.dataplane.kernel.descriptor import Descriptor, check, fdinfo
from appliance.errors import VerifierError

_LOG_BYTES = 16 << 20
_HEADROOM = 512
"""More than the 256 bytes by which XDP lets a frame grow."""
_INSTRUCTION = 8


class Verdict(IntEnum):
    """What an XDP program answers: `enum xdp_action` of linux/bpf.h."""

    ABORTED = 0
    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4

    @classmethod
    def _missing_(cls, value: object) -> Verdict:
        """Take any other number for ABORTED, as the kernel does."""
        return cls.ABORTED


@dataclass(frozen=True)
class ProgramInfo:
    """What the kernel says of a program. Lengths are bytes; `load_time` is ns since boot; `tag` hashes the code."""

    id: int
    name: str
    tag: str
    map_ids: tuple[int, ...]
    jited_length: int
    xlated_length: int
    load_time: int


@dataclass(frozen=True)
class RunStatistics:
    """How often a program ran and for how long; counted while the sysctl kernel.bpf_stats_enabled is 1."""

    runs: int
    nanoseconds: int


@dataclass(frozen=True)
class TestRun:
    """What one test run gave: the verdict, the frame afterwards, the mean time of one repetition in ns."""

    __test__: ClassVar[bool] = False

    verdict: Verdict
    frame: bytes
    ns: int


class Program(Descriptor):
    """A loaded XDP program."""

    kind = "prog"

    @classmethod
    def load(
        cls,
        name: str,
        code: bytes,
        *,
        frags: bool = False,
        license: str = "GPL",  # noqa: A002
        functions: Mapping[str, int] | None = None,
    ) -> Self:
        """Give code with its maps already in it (`spec.relocate`) to the verifier.

        `frags` declares that the program can be handed frames in several buffers (an MTU above one page). `functions`
        says at which instruction each function begins; needed only for code with subprograms that make tail calls. The
        name is cut to 15 characters. Raises VerifierError with the verifier's log, KernelError for any other refusal.
        """
        opts = libbpf.ProgLoadOpts(
            sz=ctypes.sizeof(libbpf.ProgLoadOpts),
            expected_attach_type=libbpf.BPF_XDP,
            prog_flags=libbpf.BPF_F_XDP_HAS_FRAGS if frags else 0,
        )

        def attempt() -> int:
            short = name[: libbpf.NAME_LENGTH - 1].encode()
            arguments = (short, license.encode(), code, len(code) // _INSTRUCTION, ctypes.byref(opts))
            return int(libbpf.library().bpf_prog_load(libbpf.BPF_PROG_TYPE_XDP, *arguments))

        with _described(opts, functions or {}):
            fd = attempt()
            if fd < 0:
                # The verifier writes its log only when asked, and asking slows every load: ask when something is wrong.
                log = ctypes.create_string_buffer(_LOG_BYTES)
                opts.log_buf, opts.log_size, opts.log_level = ctypes.addressof(log), len(log), 1
                fd = attempt()
                if fd < 0 and log.value.strip():
                    raise VerifierError(name, log.value.decode("utf-8", "replace"))
        return cls(check(fd, "load", f"program {name}"), f"program {name}")

    def info(self) -> ProgramInfo:
        """Ask the kernel what this program is."""
        count = libbpf.ProgInfo()
        self._info(count)
        ids = (ctypes.c_uint32 * count.nr_map_ids)()
        raw = libbpf.ProgInfo(nr_map_ids=count.nr_map_ids, map_ids=ctypes.addressof(ids) if count.nr_map_ids else 0)
        self._info(raw)
        return ProgramInfo(
            id=raw.id,
            name=raw.name.decode("ascii", "replace"),
            tag=bytes(raw.tag).hex(),
            map_ids=tuple(ids),
            jited_length=raw.jited_prog_len,
            xlated_length=raw.xlated_prog_len,
            load_time=raw.load_time,
        )

    def test_run(
        self, frame: bytes, *, repeat: int = 1, ingress_ifindex: int | None = None, rx_queue: int = 0
    ) -> TestRun:
        """Run the program on one frame (BPF_PROG_TEST_RUN), without any interface seeing it.

        Each repetition gets the frame that the one before left behind. Without `ingress_ifindex` the frame comes in on
        the loopback interface of this network namespace. Raises KernelError: EINVAL for a frame below 14 bytes or above
        what one page holds, ENODEV for an interface that is not in this namespace.
        """
        before = ctypes.create_string_buffer(frame, len(frame))
        after = ctypes.create_string_buffer(len(frame) + _HEADROOM)
        opts = libbpf.TestRunOpts(
            sz=ctypes.sizeof(libbpf.TestRunOpts),
            data_in=ctypes.addressof(before),
            data_out=ctypes.addressof(after),
            data_size_in=len(before),
            data_size_out=len(after),
            repeat=repeat,
        )
        if ingress_ifindex is not None:
            context = libbpf.XdpContext(data_end=len(frame), ingress_ifindex=ingress_ifindex, rx_queue_index=rx_queue)
            opts.ctx_in, opts.ctx_size_in = ctypes.addressof(context), ctypes.sizeof(context)
        hints = {
            errno.EINVAL: f"{len(frame)} bytes; a frame has 14 to about 3,500, and receive queue {rx_queue} must exist",
            errno.ENODEV: f"interface {ingress_ifindex} is not in this network namespace",
        }
        result = libbpf.library().bpf_prog_test_run_opts(self.fd, ctypes.byref(opts))
        check(result, "test-run", self.label, hints)
        return TestRun(Verdict(opts.retval), after.raw[: opts.data_size_out], opts.duration)

    def run_statistics(self) -> RunStatistics:
        """Return how often the program ran since it was loaded."""
        fields = fdinfo(self.fd)
        return RunStatistics(int(fields.get("run_cnt", "0")), int(fields.get("run_time_ns", "0")))


@contextmanager
def _described(opts: libbpf.ProgLoadOpts, functions: Mapping[str, int]) -> Iterator[None]:
    """Have BTF that names the functions at hand while a program is loaded; the program keeps it from then on."""
    if not functions:
        yield
        return
    blob = functions_btf(list(functions))
    fd = check(libbpf.library().bpf_btf_load(blob, len(blob), None), "load", "BTF of a program's functions")
    try:
        info = function_info(list(functions.values()))
        buffer = ctypes.create_string_buffer(info, len(info))
        opts.prog_btf_fd, opts.func_info = fd, ctypes.addressof(buffer)
        opts.func_info_cnt, opts.func_info_rec_size = len(functions), len(info) // len(functions)
        yield
    finally:
        os.close(fd)
