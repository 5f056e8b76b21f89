"""What routers are told beside the plain route: how routes of a last resort look, and what services say of theirs."""

from __future__ import annotations

from appliance.config.addresses import HostAddress
from appliance.config.kinds import Choice, Integer, ListOf, Place, Section
from appliance.config.routing import CommunityKind
from appliance.config.setting import BGP, GROUP, SERVICE, Setting
from appliance.model_bgp import LARGEST_MED, MAX_PREPEND, Announce

PEERS = (BGP, GROUP)
ROUTES = Place.ROUTES

METRIC = Integer(0, LARGEST_MED)
COMMUNITIES = ListOf(CommunityKind(), "a community or a list of them", one=True, at_most=64, null_is_empty=True)

ROUTE_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "announce",
        (SERVICE,),
        Choice({str(how): how for how in (Announce.YES, Announce.DEMOTE, Announce.NO)}),
        "How the VIPs are announced while they are up: as usual (yes), as a last resort, so that routers prefer other "
        "nodes (demote), or not at all (no). One service of a VIP says it for all of them.",
        "demote",
        "yes",
    ),
    Setting(
        "bgp",
        (SERVICE,),
        Section(ROUTES, "a map of settings", null_is_empty=True),
        "The attributes of the VIPs' routes, where they are not to be those of the peers. One service of a VIP says it "
        "for all of them.",
        "{med: 50, communities: ['65000:10']}",
    ),
    Setting(
        "prepend",
        PEERS,
        Integer(0, MAX_PREPEND),
        "How many times more than once `as_number` stands in the AS path, so that routers prefer other paths; over "
        "eBGP only.",
        "2",
        "0",
    ),
    Setting(
        "on_vip_down",
        PEERS,
        Choice({"withdraw": False, "demote": True}),
        "What becomes of the route to a VIP that goes down: it is withdrawn, or announced as a last resort. What the "
        "configuration does not want announced is withdrawn either way.",
        "demote",
        "withdraw",
    ),
    Setting(
        "demote_med",
        PEERS,
        METRIC,
        "The multi-exit discriminator of routes that are a last resort; 0: that of others. Over iBGP their local "
        "preference is 0 besides.",
        "1000",
        str(LARGEST_MED),
    ),
    Setting(
        "demote_communities",
        PEERS,
        COMMUNITIES,
        "The communities that such routes have besides. Absent: graceful-shutdown, which asks routers to prefer any "
        "other route (RFC 8326).",
        "[graceful-shutdown, '65000:99']",
    ),
    Setting(
        "last_communities",
        PEERS,
        COMMUNITIES,
        "The communities of routes that are kept although their VIP is down and no other node announces it "
        "(`last_announcer: keep`), besides those of a last resort. Absent: none.",
        "['65000:666']",
    ),
    Setting(
        "med",
        (ROUTES,),
        METRIC,
        "The multi-exit discriminator, instead of the peers'; 0: none is sent.",
        "50",
    ),
    Setting(
        "local_pref",
        (ROUTES,),
        METRIC,
        "The local preference, over iBGP, instead of the peers'; 0 means the default.",
        "200",
    ),
    Setting(
        "communities",
        (ROUTES,),
        COMMUNITIES,
        "Communities in addition to the peers'.",
        "['65000:10', no-export]",
    ),
    Setting(
        "prepend",
        (ROUTES,),
        Integer(0, MAX_PREPEND),
        "How many times more than once `as_number` stands in the AS path, instead of the peers'; over eBGP only.",
        "2",
    ),
    Setting(
        "next_hop_4",
        (ROUTES,),
        HostAddress(4),
        "The next hop of routes to IPv4 VIPs, instead of the peers'.",
        "10.1.10.5",
    ),
    Setting(
        "next_hop_6",
        (ROUTES,),
        HostAddress(6),
        "The next hop of routes to IPv6 VIPs, instead of the peers'.",
        "2001:db8:10::5",
    ),
)
