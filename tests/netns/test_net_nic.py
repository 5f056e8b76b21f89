"""What drivers say, and the switching of VLAN stripping, at real interfaces."""

from __future__ import annotations

import json

import pytest

from appliance.errors import HostError
from appliance.net import nic
from appliance.net.nic import Feature, Nic
from tests.netns.watch_scene import Scene

pytestmark = pytest.mark.root


def shown(scene: Scene, feature: str) -> str:
    """Return what ethtool says of a feature: `on`, `off [fixed]`."""
    lines = dict(line.strip().split(": ", 1) for line in scene.balancer.run("ethtool", "-k", "eth0").splitlines()[1:])
    return lines[feature]


def test_a_driver_is_described_as_ethtool_does(scene: Scene) -> None:
    scene.balancer.run("ip", "link", "add", "eth0", "numrxqueues", "3", "numtxqueues", "2", "type", "veth")
    scene.balancer.run("ethtool", "-L", "eth0", "rx", "2", "tx", "1")
    scene.balancer.run("ip", "link", "add", "bridge0", "type", "bridge")
    found = scene.balancer.call(lambda: [nic.read(name) for name in ("eth0", "lo", "bridge0")])
    assert found == [
        Nic("eth0", "veth", 2, 1, 3, 2, vlan_stripping=True),
        Nic("lo", "", vlan_stripping_fixed=True),
        Nic("bridge0", "bridge", vlan_stripping_fixed=True),
    ]
    assert (shown(scene, "large-receive-offload"), shown(scene, "rx-gro-hw")) == ("off [fixed]", "off [fixed]")


def test_vlan_stripping_is_switched_and_put_back(scene: Scene) -> None:
    scene.connect()
    everything = scene.balancer.run("ethtool", "-k", "eth0")

    def switch(on: bool) -> bool:
        return scene.balancer.call(lambda: nic.switch("eth0", Feature.VLAN_STRIPPING, on))

    for on, before in ((False, True), (False, False), (True, False), (True, True), (False, True)):
        assert switch(on) is before
        assert shown(scene, "rx-vlan-offload") == ("on" if on else "off")
        assert scene.balancer.call(lambda: nic.read("eth0")).vlan_stripping is on
    switch(True)
    assert scene.balancer.run("ethtool", "-k", "eth0") == everything


@pytest.mark.parametrize(
    ("name", "feature", "words"),
    [
        ("missing", Feature.VLAN_STRIPPING, ["missing", "No such device", "`ip link`"]),
        ("a-name-that-is-too-long", Feature.VLAN_STRIPPING, ["a-name-that-is-too-long", "No such device"]),
        ("eth0", Feature.LRO, ["eth0", "keeps rx-lro off", "`ethtool -k eth0`"]),
        ("lo", Feature.VLAN_STRIPPING, ["lo", "keeps rx-vlan-hw-parse off"]),
    ],
)
def test_what_cannot_be_switched_is_told(scene: Scene, name: str, feature: Feature, words: list[str]) -> None:
    scene.connect()
    with pytest.raises(HostError) as caught:
        scene.balancer.call(lambda: nic.switch(name, feature, True))
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_missing_interface_has_no_description(scene: Scene) -> None:
    with pytest.raises(HostError, match="cannot read the driver of interface missing: No such device"):
        scene.balancer.call(lambda: nic.read("missing"))


def test_every_interface_of_this_machine_can_be_described(scene: Scene) -> None:
    scene.connect()
    for link in json.loads(scene.balancer.run("ip", "-j", "link")):
        assert scene.balancer.call(lambda name=link["ifname"]: nic.read(name)).name == link["ifname"]  # type: ignore[misc]
