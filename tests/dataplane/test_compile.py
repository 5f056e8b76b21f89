"""The compile child: real bcc, no privilege, and nothing of it reaches its parent but a result or an error."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.child.code import handed_over
from appliance.dataplane import compile as compiler
from appliance.dataplane.compile import compile_text
from appliance.dataplane.kernel import Map, Program, Verdict
from appliance.dataplane.render import FUNCTIONS, render
from appliance.dataplane.shape import Shape
from appliance.dataplane.spec import BPF_F_MMAPABLE, MapKind, MapSpec, references, relocate
from appliance.errors import CompileError
from appliance.paths import TEMPLATES
from tests.lab.apart import CAPABILITIES, USER, as_user

TEXT = """
#include <linux/if_ether.h>
#line 1 "main.c.j2"
struct area { u64 seen; u64 odd[3]; };
int vc5_main(struct xdp_md *ctx)
{
    struct area *area = (struct area *)bpf_pseudo_fd(2, 1);
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = data;
    if ((void *)(eth + 1) > end) return XDP_DROP;
    area->seen++;
    if (eth->h_proto == bpf_htons(ETH_P_IP)) bpf_tail_call_(bpf_pseudo_fd(1, 2), ctx, 0);
    return XDP_PASS;
}
int vc5_rare(struct xdp_md *ctx) { return XDP_TX; }
"""


@pytest.mark.root
def test_compiled_code_runs() -> None:
    compiled = compile_text(TEXT, ["vc5_main", "vc5_rare"])
    assert compiled.warnings == ""
    assert references(compiled.code["vc5_main"]) == {1, 2}
    assert references(compiled.code["vc5_rare"]) == set()
    with (
        Map.create(MapSpec("area", MapKind.ARRAY, 4, 32, 1, BPF_F_MMAPABLE)) as area,
        Map.create(MapSpec("programs", MapKind.PROG_ARRAY, 4, 4, 1)) as programs,
        Program.load("vc5_main", relocate(compiled.code["vc5_main"], {1: area.fd, 2: programs.fd})) as main,
        Program.load("vc5_rare", compiled.code["vc5_rare"]) as rare,
    ):
        programs.update(bytes(4), rare.fd.to_bytes(4, sys.byteorder))
        assert main.test_run(bytes(60)).verdict is Verdict.PASS
        assert main.test_run(bytes(12) + b"\x08\0" + bytes(46)).verdict is Verdict.TX
        assert area.memory().cast("Q")[0] == 2


@pytest.mark.parametrize("tunnels", [(), ("ipip4",), ("fou6", "gue4"), ("dscp",)], ids="-".join)
def test_the_compiler_has_nothing_to_say_of_ours(tunnels: tuple[str, ...]) -> None:
    """Shapes with little in them: what is there for other shapes must not lie about unused."""
    assert compile_text(render(Shape(tunnels=tunnels), TEMPLATES), FUNCTIONS).warnings == ""


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for temporary files that the unprivileged child can enter, and nobody else uses."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)


def test_nothing_reaches_the_parent(capfd: pytest.CaptureFixture[str], public: Path) -> None:
    directory = os.getcwd()
    descriptors = len(os.listdir("/proc/self/fd"))
    compile_text(TEXT, ["vc5_main"])
    with pytest.raises(CompileError):
        compile_text("int vc5_main(", ["vc5_main"])
    assert capfd.readouterr() == ("", "")
    assert os.getcwd() == directory
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert "bcc" not in sys.modules
    assert not list(public.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("area->seen++", "area->sean++", "main.c.j2:8:11: error: no member named 'sean'"),
        ("area->seen++", "missing(area)", "main.c.j2:8:5: error: implicit declaration of function 'missing'"),
        ("bpf_pseudo_fd(2, 1)", "3; int *p = 5", "main.c.j2:4:"),
        ("return XDP_TX;", "", "main.c.j2:12:37"),
        ("#include <linux/if_ether.h>", "#include <linux/nothing.h>", "'linux/nothing.h' file not found"),
        ("#include <linux/if_ether.h>", '_Static_assert(sizeof(u64) == 7, "eight");', "eight"),
        ("vc5_rare", "vc5_other", "no function vc5_rare that is not static"),
        (TEXT, "", "no function vc5_main that is not static"),
        (TEXT, "\xff{", "compiler refused the program text"),
        ("area->seen++;", "area->seen++;\0", "NUL in line 11"),
    ],
)
def test_errors_name_the_template_line(old: str, new: str, says: str) -> None:
    with pytest.raises(CompileError) as caught:
        compile_text(TEXT.replace(old, new), ["vc5_main", "vc5_rare"])
    assert says in str(caught.value)
    assert "Traceback" not in caught.value.log


def test_warnings_are_kept() -> None:
    compiled = compile_text(TEXT.replace("area->seen++", "int idle"), ["vc5_main"])
    assert "main.c.j2:8:9: warning: unused variable 'idle'" in compiled.warnings


def test_a_compiler_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(CompileError, match=r"stopped after 0\.01 seconds"):
        compile_text(TEXT, ["vc5_main"], timeout=0.01)


def test_missing_headers_name_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "INCLUDE", tmp_path)
    with pytest.raises(CompileError, match="install the package linux-libc-dev"):
        compile_text(TEXT, ["vc5_main"])


def test_headers_may_lie_outside_a_multiarch_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "INCLUDE", tmp_path)
    for header in ("asm/types.h", "linux/if_ether.h"):
        (tmp_path / header).parent.mkdir()
        (tmp_path / header).touch()
    assert compiler._include_directories() == [tmp_path]


@pytest.fixture
def false_bcc(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that stands in the way of bcc, where the unprivileged child can read it."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        monkeypatch.setenv("PYTHONPATH", directory)
        yield Path(directory, "bcc.py")


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("raise ImportError('No module named bcc')", "install the package python3-bpfcc"),
        ("import os; os.kill(os.getpid(), 9)", "ended without an answer (signal 9)"),
        ("import os; os._exit(3)", "ended without an answer (exit status 3)"),
        ("import sys\ndef BPF(**_): print('noise'); sys.exit(1)", "compiler refused the program text\nnoise"),
        ("import os\ndef BPF(**_): os.chdir('/'); os.abort()", "ended without an answer (signal 6)"),
        ("bytearray(8 << 30)", "ended without an answer (exit status 1)"),
    ],
)
def test_whatever_bcc_does_is_an_error_with_words(false_bcc: Path, module: str, says: str) -> None:
    false_bcc.write_text(module)
    with pytest.raises(CompileError) as caught:
        compile_text(TEXT, ["vc5_main"])
    assert says in str(caught.value)


@pytest.mark.parametrize("wrapper", [(), as_user(USER, CAPABILITIES)], ids=["root", "vc5"])
@pytest.mark.root
def test_the_child_has_no_rights(wrapper: tuple[str, ...]) -> None:
    script = (
        "from appliance.dataplane.compile_child import _drop_privileges\n"
        "_drop_privileges(60)\n"
        "print(open('/proc/self/status').read())"
    )
    with handed_over() as (path, descriptors):  # a checkout may be for root alone
        status = subprocess.run(
            [*wrapper, "/usr/bin/python3", "-c", script],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
            env={"PYTHONPATH": path, "PATH": os.defpath},
            pass_fds=descriptors,
        ).stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(fields[capabilities], 16) == 0, capabilities
    assert "0" not in fields["Uid"].split()
    assert fields["Groups"].strip() == "" or os.geteuid() != 0
