"""The machine itself: commands, files, what it starts from, power cuts, and what QEMU leaves behind."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab.namespace import LabError
from tests.vm.machine import Saved, Vm

pytestmark = [pytest.mark.root, pytest.mark.vm, pytest.mark.slow]


def test_commands_and_files(vm: Vm) -> None:
    script = "cat; echo wrong >&2; exit 3"
    assert vm.execute("sh", "-c", script, text="given\n") == (3, "given\n", "wrong\n")
    assert vm.execute("sh", "-c", "kill -9 $$").status == 128 + 9
    with pytest.raises(LabError, match=r"exit status 3\ngiven\nwrong"):
        vm.run("sh", "-c", script, text="given\n")
    with pytest.raises(LabError, match="nowhere"):
        vm.run("nowhere")
    with pytest.raises(LabError, match=r"still running in the guest after 0\.2 s"):
        vm.run("sleep", "60", limit=0.2)
    data = bytes(range(256)) * 5000
    vm.put(data, "/srv/data")
    assert vm.get("/srv/data") == data
    with pytest.raises(LabError, match="No such file"):
        vm.get("/srv/none")
    assert abs(float(vm.run("date", "+%s.%N")) - time.time()) < 30


def test_debian_as_it_is_installed(vm: Vm) -> None:
    assert vm.run("systemctl", "is-system-running").strip() == "running"
    assert "cloud" in vm.run("uname", "-r")
    cards = [line.split()[0] for line in vm.run("ip", "-br", "link").splitlines()]
    assert cards == ["lo", "card0", "card1", "card2", "card3"]
    vm.run("modprobe", "--all", *("8021q", "bonding", "ipip", "sit", "ip6_tunnel", "ip_gre", "ip6_gre", "fou", "fou6"))
    assert vm.run("stat", "-f", "-c", "%T", "/sys/fs/bpf").strip() == "bpf_fs"


def test_restart_and_power_cut(vm: Vm) -> None:
    def boot() -> str:
        return vm.run("cat", "/proc/sys/kernel/random/boot_id")

    first = boot()
    vm.run("sh", "-c", "echo one >/srv/written; touch /run/forgotten")
    vm.reboot()
    second = boot()
    assert second != first
    assert vm.run("ls", "/srv/written", "/srv/vc5/README.md").split() == ["/srv/vc5/README.md", "/srv/written"]
    assert vm.execute("test", "-e", "/run/forgotten").status == 1
    vm.run("sh", "-c", "echo two >/srv/kept; sync; echo three >/srv/kept")
    vm.cut_power()
    assert boot() != second
    assert vm.get("/srv/kept") in (b"two\n", b"three\n", b""), "the file system has a journal, the file has not"


def test_machines_know_nothing_of_each_other(saved: Saved, tmp_path: Path) -> None:
    processes = []
    for name in ("one", "two"):
        directory = tmp_path / name
        directory.mkdir()
        with Vm.restore(saved, directory) as vm:
            processes.append(vm.process)
            assert vm.execute("test", "-e", "/srv/mine").status == 1
            vm.run("sh", "-c", "echo >/srv/mine; sync; echo the guest speaks >/dev/kmsg")
            assert "the guest speaks" in vm.told()
            vm.keep_logs(directory / "kept")
            assert "the guest speaks" in (directory / "kept" / "journal.txt").read_text()
        (directory / "disk.qcow2").unlink()
    assert [process for process in processes if Path(f"/proc/{process}").exists()] == []
