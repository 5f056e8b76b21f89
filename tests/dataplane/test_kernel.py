"""The kernel door, against the real kernel: maps, programs written by hand, links on a veth of the test's own."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.dataplane.kernel import Link, Map, Program, Verdict, fence, is_bpffs, libbpf, xdp_status
from appliance.dataplane.spec import BPF_F_MMAPABLE, MapKind, MapSpec, relocate
from appliance.errors import ForeignProgram, KernelError, NotSupported, VerifierError
from appliance.model import XdpMode

pytestmark = pytest.mark.root

CLONE_NEWNET = 0x40000000
HASH = MapSpec("vc5_hash", MapKind.HASH, 4, 8, 4)
AREA = MapSpec("vc5_area", MapKind.ARRAY, 4, 12, 3, BPF_F_MMAPABLE)
FRAME = bytes(range(60))


def op(opcode: int, register: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    """One instruction in the byte order of this machine."""
    registers = source << 4 | register if sys.byteorder == "little" else register << 4 | source
    return struct.pack("=BBhi", opcode, registers, offset, immediate)


EXIT = op(0x95)


def answer(verdict: int) -> bytes:
    """r0 = verdict; exit"""
    return op(0xB7, 0, immediate=verdict) + EXIT


# r2 = data; r3 = data_end; if r2 + 14 > r3 goto drop; *(u8 *)r2 = 0xff; return TX; drop: return DROP
STAMP = (
    op(0x61, 2, 1, 0)
    + op(0x61, 3, 1, 4)
    + op(0xBF, 4, 2)
    + op(0x07, 4, immediate=14)
    + op(0x2D, 4, 3, 3)
    + op(0x72, 2, immediate=0xFF)
    + answer(Verdict.TX)
    + answer(Verdict.DROP)
)
# r1 = address of the value of map 9; *(u64 *)(r1 + 8) = 42; return PASS
STORE = op(0x18, 1, 2, immediate=9) + op(0) + op(0xB7, 2, immediate=42) + op(0x7B, 1, 2, 16) + answer(Verdict.PASS)


def arrives_on(ifindex: int) -> bytes:
    """return ctx->ingress_ifindex == ifindex && ctx->rx_queue_index == 0 ? TX : DROP"""
    head = op(0x61, 2, 1, 12) + op(0x61, 3, 1, 16)
    return head + op(0x55, 2, offset=3, immediate=ifindex) + op(0x55, 3, offset=2) + answer(3) + answer(1)


def count() -> int:
    return len(os.listdir("/proc/self/fd"))


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True)


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    """A BPF file system of the test's own."""
    directory = tmp_path / "bpf"
    directory.mkdir()
    if subprocess.run(["mount", "-t", "bpf", "vc5-test", directory], capture_output=True, check=False).returncode:
        pytest.skip("mounting a bpffs needs CAP_SYS_ADMIN")
    yield directory
    subprocess.run(["umount", directory], check=True)


@pytest.fixture
def veth() -> Iterator[int]:
    """The index of veth `va` (peer `vb`), both up, in a network namespace of the test's own, which the test is in."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as home:
        if libc.unshare(CLONE_NEWNET):
            pytest.skip("a network namespace needs CAP_SYS_ADMIN")
        try:
            ip("link add name va type veth peer name vb")
            ip("link set va up")
            ip("link set vb up")
            yield socket.if_nametoindex("va")
        finally:
            assert libc.setns(home.fileno(), CLONE_NEWNET) == 0


def test_hash_map_elements() -> None:
    with Map.create(HASH) as table:
        one, two = b"\0\0\0\1", b"\0\0\0\2"
        assert table.lookup(one) is None
        table.update(one, b"eight by")
        table.update(two, bytes(8))
        table.update(one, b"te value")
        assert table.lookup(one) == b"te value"
        assert sorted(table.keys()) == [one, two]
        assert table.delete(one) is True
        assert table.delete(one) is False
        assert list(table.keys()) == [two]


@pytest.mark.parametrize("kind", [MapKind.HASH, MapKind.ARRAY, MapKind.PERCPU_ARRAY, MapKind.LRU_HASH, MapKind.DEVMAP])
def test_a_map_knows_its_specification(kind: MapKind) -> None:
    spec = MapSpec("vc5_kind", kind, 4, 4, 8)
    with Map.create(spec) as table:
        found = table.spec()
        # The kernel sets flags of its own on a devmap.
        assert found.same_layout(MapSpec("any", kind, 4, 4, 8, found.flags))
        assert found.name == "vc5_kind"
        assert table.info().id > 0


def test_per_cpu_values_are_padded_and_repeated() -> None:
    with Map.create(MapSpec("vc5_cpu", MapKind.PERCPU_ARRAY, 4, 12, 2)) as table:
        value = table.lookup(bytes(4))
        assert value is not None
        assert len(value) % 16 == 0
        table.update(bytes(4), bytes(range(16)) * (len(value) // 16))
        assert table.lookup(bytes(4)) == bytes(range(16)) * (len(value) // 16)


def test_memory_is_the_map() -> None:
    with Map.create(AREA) as table:
        view = table.memory()
        assert (view.format, view.nbytes, view.readonly) == ("B", 48, False)
        view[16:28] = b"twelve bytes"
        fence()
        assert table.lookup(struct.pack("=I", 1)) == b"twelve bytes"
        table.update(struct.pack("=I", 2), b"other twelve")
    assert bytes(view[32:44]) == b"other twelve", "the mapping outlives the descriptor"


def test_a_pin_is_the_same_object(bpffs: Path) -> None:
    with Map.create(AREA) as table:
        table.pin(bpffs / "area")
        with Map.open(bpffs / "area") as again:
            assert again.info() == table.info()
            again.memory()[0] = 7
            assert table.lookup(bytes(4)) == b"\7" + bytes(11)
    with Program.load("vc5_main", answer(2)) as program:
        program.pin(bpffs / "prog")
        with Program.open(bpffs / "prog") as twin:
            assert twin.info() == program.info()


@pytest.mark.parametrize(
    ("act", "error", "says"),
    [
        (lambda d: Map.open(d / "absent"), errno.ENOENT, "open pin .*absent"),
        (lambda d: Map.open(d / "prog"), errno.EINVAL, "it is no map"),
        (lambda d: Program.open(d / "map"), errno.EINVAL, "it is no prog"),
        (lambda d: Link.open(d / "map"), errno.EINVAL, "it is no link"),
        (lambda d: Map.open(d / "map").pin(d / "prog"), errno.EEXIST, "pin map .* at .*prog"),
        (lambda d: Map.open(d / "map").pin("/tmp/vc5-not-bpffs"), None, "no mounted bpffs"),
        (lambda d: Map.open(d / "map").pin(d / "missing" / "map"), errno.ENOENT, "missing"),
        (lambda d: Map.open(d / "map").memory(), errno.EINVAL, "BPF_F_MMAPABLE"),
        (lambda d: Map.open(d / "map").lookup(b"12345"), errno.EINVAL, "key has 5 bytes, not 4"),
        (lambda d: Map.open(d / "map").update(b"1234", b""), errno.EINVAL, "value has 0 bytes, not 8"),
        (lambda d: fill(Map.open(d / "map")), errno.E2BIG, "it is full"),
        (lambda d: Map.create(MapSpec("x", MapKind.ARRAY, 8, 8, 1)), errno.EINVAL, "create map x"),
        (lambda d: closed(Map.open(d / "map")).fd, errno.EBADF, "it is closed"),
        (lambda d: Program.load("empty", b""), None, "load program empty"),
        (lambda d: Program.load("x", answer(1)).test_run(bytes(13)), errno.EINVAL, "13 bytes; a frame has 14"),
        (lambda d: Program.load("x", answer(1)).test_run(FRAME, ingress_ifindex=9999), errno.ENODEV, "interface 9999"),
        (lambda d: Link.attach_xdp(Program.load("x", answer(2)), 9999, XdpMode.GENERIC), None, "interface 9999"),
    ],
)
def test_errors_say_what_and_leak_nothing(
    bpffs: Path, act: Callable[[Path], object], error: int | None, says: str
) -> None:
    with Map.create(HASH) as table, Program.load("vc5_main", answer(2)) as program:
        table.pin(bpffs / "map")
        program.pin(bpffs / "prog")
    before = count()
    with pytest.raises(KernelError, match=says) as caught:
        act(bpffs)
    if error is not None:
        assert caught.value.errno == error
    caught.value.__traceback__ = None
    del caught
    assert count() == before


def fill(table: Map) -> None:
    for number in range(5):
        table.update(struct.pack("=I", number), bytes(8))


def closed(table: Map) -> Map:
    table.close()
    table.close()
    return table


def test_a_program_reaches_a_map_by_address() -> None:
    with Map.create(MapSpec("vc5_one", MapKind.ARRAY, 4, 32, 1, BPF_F_MMAPABLE)) as table:
        view = table.memory().cast("Q")
        with Program.load("vc5_store", relocate(STORE, {9: table.fd})) as program:
            assert program.test_run(FRAME).verdict is Verdict.PASS
            assert view.tolist() == [0, 0, 42, 0]
            info = program.info()
            assert (info.name, info.map_ids) == ("vc5_store", (table.info().id,))
            assert info.xlated_length == len(STORE)
            assert len(info.tag) == 16


def test_programs_meet_through_a_program_array() -> None:
    # r2 = map 1; r3 = 0; tail call; return DROP
    call = op(0x18, 2, 1, immediate=1) + op(0) + op(0xB7, 3) + op(0x85, immediate=12) + answer(Verdict.DROP)
    with (
        Map.create(MapSpec("vc5_progs", MapKind.PROG_ARRAY, 4, 4, 1)) as table,
        Program.load("main", relocate(call, {1: table.fd})) as main,
        Program.load("rare", answer(Verdict.TX), frags=False) as rare,
    ):
        assert main.test_run(FRAME).verdict is Verdict.DROP
        table.update(bytes(4), struct.pack("=I", rare.fd))
        assert main.test_run(FRAME).verdict is Verdict.TX
        assert table.lookup(bytes(4)) == struct.pack("=I", rare.info().id)


@pytest.mark.parametrize(
    ("code", "verdict", "after"),
    [
        *((answer(verdict), verdict, FRAME) for verdict in Verdict),
        (answer(77), Verdict.ABORTED, FRAME),
        (STAMP, Verdict.TX, b"\xff" + FRAME[1:]),
    ],
)
def test_a_test_run_gives_verdict_and_frame(code: bytes, verdict: Verdict, after: bytes) -> None:
    with Program.load("vc5_test", code) as program:
        run = program.test_run(FRAME)
        assert (run.verdict, run.frame) == (verdict, after)
        assert program.test_run(FRAME, repeat=100).verdict == verdict


def test_a_test_run_arrives_on_the_interface_it_is_told(veth: int) -> None:
    with Program.load("vc5_where", arrives_on(veth)) as program:
        assert program.test_run(FRAME, ingress_ifindex=veth).verdict is Verdict.TX
        assert program.test_run(FRAME, ingress_ifindex=socket.if_nametoindex("vb")).verdict is Verdict.DROP
        assert program.test_run(FRAME).verdict is Verdict.DROP
        with pytest.raises(KernelError, match="receive queue 500 must exist"):
            program.test_run(FRAME, ingress_ifindex=veth, rx_queue=500)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (EXIT, "R0 !read_ok"),
        (op(0x61, 2, 1, 0) + op(0x71, 0, 2) + EXIT, "invalid access to packet"),
        (op(0xB7) + op(0x05, offset=-2), "infinite loop|back-edge|unreachable"),
    ],
)
def test_the_verifier_speaks(code: bytes, says: str) -> None:
    before = count()
    with pytest.raises(VerifierError, match=r"refused program vc5_wrong: .") as caught:
        Program.load("vc5_wrong", code)
    assert re.search(says, caught.value.log)
    assert len(caught.value.log.splitlines()) > 1
    assert count() == before


def test_without_rights_the_error_says_which() -> None:
    script = (
        "import os; from appliance.dataplane.kernel import Map; from appliance.dataplane.spec import MapSpec, MapKind\n"
        "from appliance.errors import KernelError\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "try: Map.create(MapSpec('m', MapKind.HASH, 4, 4, 1))\n"
        "except KernelError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    if not done.stdout:
        pytest.skip("this kernel lets anybody make maps (kernel.unprivileged_bpf_disabled is 0)")
    assert "create map m: Operation not permitted [EPERM] (needs root, or CAP_BPF" in done.stdout


@pytest.mark.parametrize("mode", [XdpMode.NATIVE, XdpMode.GENERIC])
def test_attach_swap_pin_and_detach(veth: int, bpffs: Path, mode: XdpMode) -> None:
    assert xdp_status(veth) is None
    assert xdp_status(9999) is None
    with Program.load("first", answer(2)) as first, Program.load("second", answer(2)) as second:
        with Link.attach_xdp(first, veth, mode) as link:
            status = xdp_status(veth)
            assert status is not None
            assert (status.mode, status.program_id) == (mode, first.info().id)
            link.pin(bpffs / "link")
        with Link.open(bpffs / "link") as link:
            link.update(second)
            assert (link.info().program_id, link.info().ifindex) == (second.info().id, veth)
            status = xdp_status(veth)
            assert status is not None
            assert status.program_id == second.info().id
            link.detach()
            assert xdp_status(veth) is None
            assert link.info().ifindex == 0
            with pytest.raises(KernelError, match="the interface is gone"):
                link.update(first)
        with Link.attach_xdp(first, veth, mode):
            pass
        assert xdp_status(veth) is None, "an unpinned link ends with its last descriptor"


@pytest.mark.parametrize("theirs", [XdpMode.NATIVE, XdpMode.GENERIC, "netlink"])
@pytest.mark.parametrize("ours", [XdpMode.NATIVE, XdpMode.GENERIC])
def test_a_strangers_program_is_named_and_left_alone(veth: int, theirs: XdpMode | str, ours: XdpMode) -> None:
    with Program.load("stranger", answer(2)) as stranger, Program.load("ours", answer(2)) as program:
        link = None
        if isinstance(theirs, XdpMode):
            link = Link.attach_xdp(stranger, veth, theirs)
        else:
            assert libbpf.library().bpf_xdp_attach(veth, stranger.fd, libbpf.XDP_FLAGS_DRV_MODE, None) == 0
        before = count()
        with pytest.raises(ForeignProgram, match=rf"XDP program {stranger.info().id} \(stranger\)") as caught:
            Link.attach_xdp(program, veth, ours)
        assert "ip link set dev va xdp off" in str(caught.value)
        assert count() == before
        status = xdp_status(veth)
        assert status is not None
        assert status.program_id == stranger.info().id
        if link:
            link.close()


def test_mode_auto_is_the_callers_choice(veth: int) -> None:
    with Program.load("vc5", answer(2)) as program, pytest.raises(ValueError, match="native or generic"):
        Link.attach_xdp(program, veth, XdpMode.AUTO)


def test_no_native_xdp_is_not_supported(veth: int) -> None:
    with Program.load("vc5", answer(2)) as program, pytest.raises(NotSupported, match="native XDP on lo"):
        Link.attach_xdp(program, socket.if_nametoindex("lo"), XdpMode.NATIVE)


def test_large_frames_need_a_program_that_takes_fragments(veth: int) -> None:
    ip("link set va mtu 9000")
    ip("link set vb mtu 9000")
    with Program.load("small", answer(2)) as small, pytest.raises(KernelError, match="MTU"):
        Link.attach_xdp(small, veth, XdpMode.NATIVE)
    with Program.load("large", answer(2), frags=True) as large, Link.attach_xdp(large, veth, XdpMode.NATIVE) as link:
        assert link.info().program_id == large.info().id


def test_run_statistics_are_read() -> None:
    sysctl = Path("/proc/sys/kernel/bpf_stats_enabled")
    before = sysctl.read_text()
    with Program.load("vc5", answer(2)) as program:
        assert program.run_statistics().runs == 0
        try:
            sysctl.write_text("1")
        except OSError:
            pytest.skip("switching statistics on needs CAP_SYS_ADMIN")
        try:
            program.test_run(FRAME, repeat=50)
        finally:
            sysctl.write_text(before)
        assert program.run_statistics().runs == 50


def test_bpffs_is_told_from_other_file_systems(bpffs: Path, tmp_path: Path) -> None:
    (bpffs / "below").mkdir()
    assert is_bpffs(bpffs)
    assert is_bpffs(bpffs / "below")
    assert not is_bpffs(tmp_path)
    assert not is_bpffs(tmp_path / "absent")
