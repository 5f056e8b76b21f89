"""What becomes of routing's settings in the model: VIPs whose services say something, and the daemon on this host."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from appliance import config
from appliance.control import kept_config
from appliance.model_bgp import GRACEFUL_SHUTDOWN, Announce, Bgp, Community, Peer, VipRoutes

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "config"
LOOPBACK = ipaddress.IPv4Address("127.0.0.1")


def routing(text: str) -> Bgp:
    return config.load_text(text, "f").config.bgp


def golden(name: str) -> config.Loaded:
    return config.load_text((GOLDEN / f"{name}.yaml").read_text(), name)


def test_services_of_a_vip_speak_for_it() -> None:
    vips = golden("routing-services").config.bgp.vips
    said = vips[ipaddress.ip_address("203.0.113.10")]
    assert said == VipRoutes(
        Announce.DEMOTE,
        med=0,
        local_pref=100,
        communities=(Community((65000, 2)), Community((65535, 65281)), Community((65000, 1, 2))),
        prepend=16,
        next_hop_4=ipaddress.IPv4Address("10.1.10.6"),
        next_hop_6=ipaddress.IPv6Address("2001:db8:10::6"),
    )
    assert vips[ipaddress.ip_address("2001:db8:5::10")] == said
    assert vips[ipaddress.ip_address("203.0.113.12")] == VipRoutes(Announce.NO)
    assert ipaddress.ip_address("203.0.113.11") not in vips


def test_a_next_hop_of_a_service_makes_peers_take_ipv6() -> None:
    assert all(peer.multiprotocol for peer in golden("routing-services").config.bgp.peers)
    [peer] = routing("bgp: {as_number: 65001, peers: [10.1.1.1]}").peers
    assert not peer.multiprotocol


def test_vips_that_say_the_same_share_one_object() -> None:
    """Policies tell them apart by identity (routing/policy.py)."""
    entry = "- {virtual: [203.0.113.1, 203.0.113.2], servers: [10.1.1.5], bgp: {med: 5}, policy: {http: }}"
    one, two = routing(f"interfaces: eth0\nservices:\n{entry}\n").vips.values()
    assert one is two


def test_the_router_daemon_on_this_host() -> None:
    """It is iBGP whatever else is there, and nothing that is meant for routers elsewhere concerns it."""
    text = """
address: 10.1.10.5
bgp:
  as_number: 65001
  remote_as: 65000
  hold_time: 30
  source_ip: {source}
  password: hush
  bfd: yes
  multihop: 2
  ttl_security: yes
  communities: no-export
  reject: 10.0.0.0/8
  loopback: yes
  peers: [10.1.10.252]
"""
    for source, next_hop in (("10.1.10.6", "10.1.10.6"), ("2001:db8::6", "10.1.10.5")):
        [router, daemon] = routing(text.replace("{source}", source)).peers
        assert (router.address, router.remote_as) == (ipaddress.ip_address("10.1.10.252"), 65000)
        assert daemon == Peer(
            LOOPBACK,
            65001,
            remote_as=65001,
            hold_time=4,
            next_hop_4=ipaddress.IPv4Address(next_hop),
            next_hop_6=ipaddress.IPv6Address("::1"),
            communities=(Community((65535, 65281)),),
            reject=(ipaddress.ip_network("10.0.0.0/8"),),
            router_id=LOOPBACK,
        )


def test_what_is_not_given_has_the_models_values() -> None:
    [peer] = routing("bgp: {as_number: 65001, peers: [10.1.1.1]}").peers
    assert peer == Peer(ipaddress.ip_address("10.1.1.1"), 65001)
    assert peer.demote_communities == (GRACEFUL_SHUTDOWN,)


def test_all_of_it_outlives_the_process() -> None:
    for name in ("routing", "routing-services", "loopback"):
        loaded = golden(name).config
        assert kept_config.config(kept_config.as_json(loaded)) == loaded
