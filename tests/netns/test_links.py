"""The program on interfaces that come, go and lose it: `Links` against a real kernel, step by step, time given.

here (scratch)                   far (scratch)
one  <-------- veth ---------->  one
two  <-------- veth ---------->  two
six  <-------- veth ---------->  six
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from appliance.control.links import RETRY, Links
from appliance.dataplane.kernel import xdp_status
from appliance.dataplane.shape import Shape
from appliance.dataplane.sync import DataPlane
from appliance.errors import HostError, KernelError, NotSupported
from appliance.model import Config, EventKind, Host, Mode, XdpMode
from appliance.net import nic
from appliance.net.watch import HostWatch
from appliance.paths import BPFFS
from tests.lab.bpffs import ensure_bpffs
from tests.lab.namespace import Namespace
from tests.lab.xdp_pass import XdpPass

pytestmark = pytest.mark.root

T = TypeVar("T")
NAMES = ("one", "two", "six")
ALARM, DAEMON = EventKind.ALARM, EventKind.DAEMON
SMALL = Shape(cpus=2, services=256, destinations=512, slots=1 << 12, sets=4)


class Scene:
    """A data plane in a namespace with three interfaces; `settle` at a second of one's choice."""

    def __init__(self, here: Namespace, far: Namespace, pins: Path, cache: Path) -> None:
        self.here, self.far = here, far
        self.data = DataPlane(pins, cache, 2)
        self.data.install(self.data.prepare(SMALL))
        self.links = Links(self.data)
        self.config = Config(NAMES, xdp=XdpMode.NATIVE)

    def make(self, name: str) -> None:
        self.here.run("ip", "link", "add", name, "type", "veth", "peer", name, "netns", self.far.name)

    def host(self) -> Host:
        def look() -> Host:
            watch = HostWatch(self.config.interfaces, lambda: None)
            try:
                return watch.snapshot()
            finally:
                watch.close()

        return self.here.call(look)

    def settle(self, now: float, strict: bool = False) -> list[str]:
        """Let the links be looked after; return what was noted: `alarm NAME: ...`."""
        host = self.host()
        self.here.call(lambda: self.links.settle(self.config, host, now, strict=strict))
        return self.noted()

    def noted(self) -> list[str]:
        return [f"{notice.kind} {notice.message}" for notice in self.links.notices()]

    def stripping(self) -> list[str]:
        """Return the interfaces that strip VLAN tags."""
        return [name for name in NAMES if self.here.call(lambda name=name: nic.read(name)).vlan_stripping]  # type: ignore[misc]

    def attached(self) -> dict[str, str]:
        """Return the mode of the program on each interface that has ours."""
        main = self.data.generation.main_id() if self.data.generation else 0

        def look() -> dict[str, str]:
            found = {}
            for interface in self.host().interfaces:
                status = xdp_status(interface.index)
                if status is not None and status.program_id == main:
                    found[interface.name] = str(status.mode)
            return found

        return self.here.call(look)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for compiled programs, so that one is compiled once."""
    return tmp_path_factory.mktemp("programs")


@pytest.fixture
def scene(programs: Path) -> Iterator[Scene]:
    ensure_bpffs()
    spaces = [Namespace(f"links-{name}") for name in ("here", "far", "away")]
    for space in spaces:
        subprocess.run(["ip", "netns", "delete", space.name], capture_output=True)
        subprocess.run(["ip", "netns", "add", space.name], check=True)
    pins = BPFFS / "vc5-test-links"
    made = Scene(spaces[0], spaces[1], pins, programs)
    try:
        for name in NAMES:
            made.make(name)
        yield made
    finally:
        made.here.call(made.data.remove)
        shutil.rmtree(pins, ignore_errors=True)
        for space in spaces:
            subprocess.run(["ip", "netns", "delete", space.name], check=True)


ALL = dict.fromkeys(NAMES, "native")


def _recreate(scene: Scene) -> None:
    scene.here.run("ip", "link", "delete", "one")
    scene.make("one")


def _recreate_with_the_same_index(scene: Scene) -> None:
    index = next(str(one.index) for one in scene.host().interfaces if one.name == "one")
    scene.here.run("ip", "link", "set", "one", "netns", "links-away")
    scene.here.run(
        *("ip", "link", "add", "one", "index", index, "type", "veth", "peer", "name", "other"),
        *("netns", "links-far"),
    )


def _move_and_return(scene: Scene) -> None:
    scene.here.run("ip", "link", "set", "one", "netns", "links-away")
    Namespace("links-away").run("ip", "link", "set", "one", "netns", "links-here")


def _detach(scene: Scene) -> None:
    scene.data.attachments.links["one"].link.detach()


def _rename_another_to_it(scene: Scene) -> None:
    for before, after in (("one", "old"), ("six", "one"), ("old", "six")):
        scene.here.run("ip", "link", "set", before, "name", after)


# What happens behind the daemon's back, and what it notes then; in the end all have the program again.
LOSSES: dict[str, tuple[Callable[[Scene], None], list[str]]] = {
    "nothing": (lambda scene: None, []),
    "made anew": (_recreate, ["alarm one: the program is lost: the interface was made anew", "daemon one:"]),
    "made anew with the old number": (_recreate_with_the_same_index, ["alarm one: the program is lost", "daemon one:"]),
    "gone to another namespace and back": (_move_and_return, []),
    "detached": (_detach, ["alarm one: the program is lost: somebody detached it", "daemon one:"]),
    "names exchanged": (
        _rename_another_to_it,
        [
            "alarm one: the program is lost: it went with interface number",
            "alarm six: the program is lost: it went with interface number",
            "daemon one: the program is attached again, native",
            "daemon six: the program is attached again, native",
        ],
    ),
}


@pytest.mark.parametrize(("strike", "expected"), LOSSES.values(), ids=LOSSES)
def test_a_lost_program_comes_back(scene: Scene, strike: Callable[[Scene], None], expected: list[str]) -> None:
    assert scene.settle(100, strict=True) == []
    assert scene.attached() == ALL
    strike(scene)
    noted = scene.settle(101)
    assert len(noted) == len(expected), noted
    assert all(text.startswith(start) for text, start in zip(noted, expected, strict=True)), noted
    assert scene.attached() == ALL
    assert scene.links.troubles() == []
    assert scene.settle(102) == []


def test_only_those_that_lost_it_are_touched(scene: Scene) -> None:
    scene.settle(100, strict=True)
    before = {name: attached.link.info().id for name, attached in scene.data.attachments.links.items()}
    _recreate(scene)
    scene.settle(101)
    after = {name: attached.link.info().id for name, attached in scene.data.attachments.links.items()}
    assert {name for name in NAMES if before[name] != after[name]} == {"one"}


def test_a_missing_interface_is_an_alarm_until_it_comes(scene: Scene) -> None:
    scene.here.run("ip", "link", "delete", "two")
    assert scene.settle(100, strict=True) == [
        "alarm two: the interface does not exist; it gets the program when it comes"
    ]
    assert scene.links.troubles() == ["two: the interface does not exist"]
    assert scene.attached() == {"one": "native", "six": "native"}
    assert scene.settle(101) == []
    scene.make("two")
    assert scene.settle(102) == ["daemon two: the program is attached again, native"]
    assert scene.attached() == ALL
    assert scene.links.troubles() == []


def test_one_that_goes_for_good_leaves_no_link(scene: Scene) -> None:
    scene.settle(100, strict=True)
    scene.here.run("ip", "link", "set", "one", "netns", "links-away")
    assert scene.settle(101) == ["alarm one: the interface does not exist; it gets the program when it comes"]
    assert "one" not in scene.data.attachments.links
    assert "prog/xdp" not in Namespace("links-away").run("ip", "-d", "link", "show", "one")
    scene.config = Config(("two",), xdp=XdpMode.NATIVE)
    assert scene.settle(102, strict=True) == []
    assert scene.attached() == {"two": "native"}
    assert scene.links.troubles() == []


def test_with_a_delay_one_after_the_other(scene: Scene) -> None:
    scene.config = Config(NAMES, xdp=XdpMode.NATIVE, attach_delay=30)
    scene.settle(100, strict=True)
    assert (scene.attached(), scene.links.waiting) == ({"one": "native"}, True)
    assert scene.links.troubles() == [
        f"{name}: waits for its turn to get the program (attach_delay)" for name in ("two", "six")
    ]
    scene.settle(129.9)
    assert list(scene.attached()) == ["one"]
    assert scene.settle(130) == ["daemon two: the program is attached, native"]
    scene.settle(159.9)
    assert list(scene.attached()) == ["one", "two"]
    assert scene.settle(160) == ["daemon six: the program is attached, native"]
    assert (scene.attached(), scene.links.waiting, scene.links.troubles()) == (ALL, False, [])
    # One that lost it waits for nothing, unless another was attached just now.
    _detach(scene)
    assert len(scene.settle(190)) == 2
    scene.data.attachments.links["two"].link.detach()
    scene.settle(191)
    assert (list(scene.attached()), scene.links.waiting) == (["one", "six"], True)
    scene.settle(220)
    assert scene.attached() == ALL


def test_with_a_delay_a_swap_waits_for_nothing(scene: Scene) -> None:
    scene.settle(100, strict=True)
    scene.config = Config(NAMES, xdp=XdpMode.NATIVE, attach_delay=30)
    before = {name: attached.link.info().id for name, attached in scene.data.attachments.links.items()}
    other = Shape(cpus=2, services=512, destinations=512, slots=1 << 12, sets=4)
    assert scene.here.call(lambda: scene.data.install(scene.data.prepare(other)))
    scene.settle(101, strict=True)
    # A daemon that has just started knows its links only from their pins.
    scene.links = Links(scene.data)
    scene.settle(102, strict=True)
    assert scene.attached() == ALL
    assert before == {name: attached.link.info().id for name, attached in scene.data.attachments.links.items()}


def test_one_that_refuses_is_asked_again_and_the_others_work(scene: Scene) -> None:
    scene.settle(100, strict=True)
    scene.here.run("ip", "link", "delete", "one")
    scene.settle(101)
    scene.make("one")
    XdpPass(scene.here, "one").close()
    [alarm] = scene.settle(102)
    assert alarm.startswith("alarm one: the program cannot be attached: ")
    assert "(lab_pass) of another owner" in alarm
    assert scene.attached() == {"two": "native", "six": "native"}
    assert scene.settle(103, strict=True) == [], "what is known is no reason to refuse a reload"
    scene.here.run("ip", "link", "set", "one", "xdp", "off")
    assert scene.settle(103 + RETRY / 2) == []
    assert scene.settle(103 + RETRY) == ["daemon one: the program is attached again, native"]
    assert scene.links.troubles() == []


def test_what_an_operator_waits_for_is_an_error_at_once(scene: Scene) -> None:
    scene.here.run("ip", "link", "add", "bare", "type", "bridge")
    scene.config = Config(("one", "bare"), xdp=XdpMode.NATIVE)
    with pytest.raises(NotSupported, match="native XDP on bare"):
        scene.settle(100, strict=True)
    assert scene.settle(101)[0].startswith("alarm bare: the program cannot be attached: ")
    scene.config = Config(("one", "bare"))
    scene.settle(102, strict=True)
    assert scene.attached() == {"one": "native", "bare": "generic"}


def test_attached_anew_on_request(scene: Scene) -> None:
    scene.settle(100, strict=True)
    before = scene.data.attachments.links["two"].link.info().id

    def renew(name: str) -> XdpMode:
        host = scene.host()
        return scene.here.call(lambda: scene.links.renew(scene.config, host, name, 101.0))

    assert renew("two") is XdpMode.NATIVE
    assert scene.data.attachments.links["two"].link.info().id != before
    assert scene.attached() == ALL
    with pytest.raises(HostError, match="'ten' is not a configured interface; `interfaces` has one, two, six"):
        renew("ten")
    scene.here.run("ip", "link", "delete", "six")
    with pytest.raises(HostError, match="interface six does not exist now"):
        renew("six")
    scene.data.attachments.links["one"].link.detach()
    XdpPass(scene.here, "one").close()
    with pytest.raises(KernelError, match="of another owner"):
        renew("one")
    scene.here.run("ip", "link", "set", "one", "xdp", "off")
    assert "daemon one: the program is attached again, native" in scene.settle(101 + RETRY)


def test_vlan_stripping_is_off_on_a_trunk_and_put_back(scene: Scene) -> None:
    trunk = Config(NAMES, xdp=XdpMode.NATIVE, mode=Mode.VLAN)
    scene.here.run("ethtool", "-K", "six", "rxvlan", "off")
    assert scene.stripping() == ["one", "two"]
    scene.config = trunk
    scene.settle(100, strict=True)
    assert (scene.stripping(), scene.links.stripping.names) == ([], {"one", "two"})
    # An interface that comes anew has its own settings; one that leaves the configuration gets its former ones.
    _recreate(scene)
    scene.settle(101)
    assert scene.stripping() == []
    scene.config = Config(("one", "six"), xdp=XdpMode.NATIVE, mode=Mode.VLAN)
    scene.settle(102, strict=True)
    assert scene.stripping() == ["two"]
    # The next process knows it from the state file, and a change of the mode puts back what is left.
    saved, scene.links = scene.links.stripping.snapshot(), Links(scene.data)
    assert saved == ["one"]
    scene.links.stripping.restore(saved)
    scene.settle(103, strict=True)
    assert scene.stripping() == ["two"]
    scene.here.call(scene.links.stripping.put_back)
    assert (scene.stripping(), scene.links.stripping.names) == (["one", "two"], set())
    for garbage in (None, 7, {"a": 1}, [1, None, ["x"]]):
        scene.links.stripping.restore(garbage)
    assert scene.links.stripping.names == set()
