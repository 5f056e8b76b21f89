"""What a network interface's driver does that a program at its entrance must know of, and the stripping of VLAN tags.

A driver that strips the tag in hardware hides it from XDP, which then sees an untagged frame; so it is switched off
while the program is on a trunk, and back afterwards. The features are those of `ethtool -k`, read and set by name with
ETHTOOL_GFEATURES and ETHTOOL_SFEATURES (linux/ethtool.h), in the network namespace of the calling thread.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from enum import StrEnum

from appliance.errors import HostError
from appliance.net import ethtool

_GDRVINFO, _GSTRINGS, _GSSET_INFO, _GFEATURES, _SFEATURES, _GCHANNELS = 0x03, 0x1B, 0x37, 0x3A, 0x3B, 0x3C
_FEATURES = 4  # ETH_SS_FEATURES
_NAME = 32  # ETH_GSTRING_LEN

_DRIVER = struct.Struct("=I32s32s32s32s32s12sIIIII")  # struct ethtool_drvinfo
_SET_SIZE = struct.Struct("=IIQI")  # struct ethtool_sset_info with one length
_STRINGS = struct.Struct("=III")  # struct ethtool_gstrings without the strings
_ARRAY = struct.Struct("=II")  # struct ethtool_gfeatures, struct ethtool_sfeatures: command, number of blocks
_HAS = struct.Struct("=IIII")  # struct ethtool_get_features_block: available, requested, active, never changed
_SET = struct.Struct("=II")  # struct ethtool_set_features_block: valid, requested
_CHANNELS = struct.Struct("=9I")  # struct ethtool_channels: command; rx, tx, other, combined at most, and now


class Feature(StrEnum):
    """A feature by the kernel's name (netdev_features_strings in net/ethtool/common.c)."""

    VLAN_STRIPPING = "rx-vlan-hw-parse"
    LRO = "rx-lro"
    GRO_HW = "rx-gro-hw"


@dataclass(frozen=True)
class Nic:
    """An interface as its driver describes it.

    `driver` is empty where there is none, as of `lo`. Queues are those in use and those that there could be, combined
    ones counted as both; 0 where the driver does not say. `vlan_stripping`: 802.1Q tags are taken off before XDP sees
    the frame, and `vlan_stripping_fixed`: the driver does not let that be changed. `lro` and `gro_hw`: received
    segments are joined in hardware.
    """

    name: str
    driver: str
    rx_queues: int = 0
    tx_queues: int = 0
    most_rx_queues: int = 0
    most_tx_queues: int = 0
    vlan_stripping: bool = False
    vlan_stripping_fixed: bool = False
    lro: bool = False
    gro_hw: bool = False


@dataclass(frozen=True)
class _State:
    """A feature: which bit it is, whether it is on, whether it may be switched."""

    bit: int
    on: bool
    switchable: bool


def driver_of(interface: str) -> str:
    """Return the name of an interface's driver, empty where there is none; raises HostError without the interface."""
    driver = _offered("read the driver of", interface, _DRIVER.pack(_GDRVINFO, *[b""] * 6, 0, 0, 0, 0, 0))
    return _DRIVER.unpack(driver)[1].partition(b"\0")[0].decode(errors="replace") if driver else ""


def read(interface: str) -> Nic:
    """Return what the driver says; no privilege is needed. Raises HostError if there is no such interface."""
    name = driver_of(interface)
    rx_most, tx_most, both_most, rx, tx, both = _channels(interface)
    features = _features(interface)
    stripping = features.get(Feature.VLAN_STRIPPING)
    lro, gro_hw = features.get(Feature.LRO), features.get(Feature.GRO_HW)
    return Nic(
        interface,
        name,
        rx_queues=rx + both,
        tx_queues=tx + both,
        most_rx_queues=rx_most + both_most,
        most_tx_queues=tx_most + both_most,
        vlan_stripping=stripping is not None and stripping.on,
        vlan_stripping_fixed=stripping is None or not stripping.switchable,
        lro=lro is not None and lro.on,
        gro_hw=gro_hw is not None and gro_hw.on,
    )


def switch(interface: str, feature: Feature, on: bool) -> bool:
    """Switch a feature and return how it was, so that it can be put back; quiet where it is so already.

    Needs CAP_NET_ADMIN. Raises HostError if there is no such interface, or if the driver keeps the feature as it is.
    """
    features = _features(interface)
    state = features.get(feature)
    if state is None and not on:
        return False  # a kernel without the feature has it off
    if state is not None and state.on is on:
        return on
    verb = f"switch {feature} {'on' if on else 'off'} on"
    if state is None or not state.switchable:
        raise HostError(_kept(interface, feature, on))
    blocks = bytearray(_SET.size * _blocks(1 + max(one.bit for one in features.values())))  # all, or it is EINVAL
    mask = 1 << state.bit % 32
    _SET.pack_into(blocks, state.bit // 32 * _SET.size, mask, mask if on else 0)
    _call(verb, interface, _ARRAY.pack(_SFEATURES, len(blocks) // _SET.size) + blocks)
    now = _features(interface).get(feature)
    if now is None or now.on is not on:
        raise HostError(_kept(interface, feature, on))
    return state.on


def _kept(interface: str, feature: Feature, on: bool) -> str:
    return (
        f"interface {interface}: its driver keeps {feature} {'off' if on else 'on'} (`ethtool -k {interface}` shows "
        "[fixed] or [requested]); use another NIC or driver for it, or another interface"
    )


def _features(interface: str) -> dict[str, _State]:
    """Return every feature by name."""
    info = _call("read the features of", interface, _SET_SIZE.pack(_GSSET_INFO, 0, 1 << _FEATURES, 0))
    _, _, known, count = _SET_SIZE.unpack(info)
    if not known:
        return {}
    strings = _call(
        "read the features of", interface, _STRINGS.pack(_GSTRINGS, _FEATURES, count) + bytes(_NAME * count)
    )
    size = _blocks(count)
    answer = _call("read the features of", interface, _ARRAY.pack(_GFEATURES, size) + bytes(_HAS.size * size))
    states: dict[str, _State] = {}
    for bit in range(count):
        start = _STRINGS.size + _NAME * bit
        name = strings[start : start + _NAME].partition(b"\0")[0].decode(errors="replace")
        available, _, active, never = _HAS.unpack_from(answer, _ARRAY.size + bit // 32 * _HAS.size)
        mask = 1 << bit % 32
        states[name] = _State(bit, bool(active & mask), bool(available & mask) and not never & mask)
    return states


def _blocks(features: int) -> int:
    return (features + 31) // 32


def _channels(interface: str) -> tuple[int, int, int, int, int, int]:
    """Return the numbers of receive, transmit and combined queues: at most, and now; zeros if the driver has none."""
    answer = _offered("read the queues of", interface, _CHANNELS.pack(_GCHANNELS, *[0] * 8))
    if answer is None:
        return (0, 0, 0, 0, 0, 0)
    _, rx_most, tx_most, _, both_most, rx, tx, _, both = _CHANNELS.unpack(answer)
    return (rx_most, tx_most, both_most, rx, tx, both)


def _call(verb: str, interface: str, command: bytes) -> bytes:
    try:
        return ethtool.call(interface, command)
    except OSError as error:
        raise _trouble(verb, interface, error) from error


def _offered(verb: str, interface: str, command: bytes) -> bytes | None:
    """Do the same, but return None where the driver does not offer it."""
    try:
        return ethtool.call(interface, command)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return None
        raise _trouble(verb, interface, error) from error


def _trouble(verb: str, interface: str, error: OSError) -> HostError:
    advice = {
        errno.ENODEV: "there is no such interface in this network namespace; `ip link` lists what there is",
        errno.EPERM: "needs CAP_NET_ADMIN; run vc5 as root, or give the service that capability",
        errno.EOPNOTSUPP: "its driver does not offer that; `ethtool -i` names the driver",
    }.get(error.errno or 0, "see the kernel's log (`dmesg`) for what its driver says")
    return HostError(f"cannot {verb} interface {interface}: {error.strerror or error} ({advice})")
