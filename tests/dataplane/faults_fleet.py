"""Mistakes to plant where the program of a fleet tells which flows it remembers; see tests.dataplane.faults."""

from __future__ import annotations

from tests.dataplane.faults import Fault

FLEET_FAULTS = (
    Fault("flows that go nowhere else not remembered", "all = 1;", "all = 0;"),
    Fault("candidate told as confirmed", "VC5_NEWS_FLAG_CANDIDATE | opened)", "opened)"),
    Fault(
        "new flow told as an older one",
        "place, now, VC5_NEWS_FLAG_OPENED, expiry",
        "place, now, 0, expiry",
    ),
    Fault("older flow told as a new one", "place, was, 0, expiry", "place, was, VC5_NEWS_FLAG_OPENED, expiry"),
    Fault("confirmation not told", "(way & VC5_CANDIDATE || vc5_was", "(vc5_was"),
    Fault("every refreshed flow told", "(way & VC5_CANDIDATE || vc5_was", "(1 || vc5_was"),
    Fault(
        "end of a long silence not told", "(way & VC5_CANDIDATE || vc5_was_silent(way, fresh))", "way & VC5_CANDIDATE"
    ),
    Fault("shorter life told", " && longer < VC5_HALF_TIME", ""),
    Fault("candidates told again", "if (!(fresh & VC5_CANDIDATE) && (way", "if ((way"),
    Fault("number inside the service told", ".destination = service->destinations + index,", ".destination = index,"),
    Fault("no slot told", "\t\t.slot = slot,\n", ""),
    Fault("expiry told modulo the clock", ".expiry = expiry,", ".expiry = expiry & VC5_EXPIRY_MASK,"),
    Fault("tag told for the name", ".name = name,", ".name = name & ((1ULL << VC5_TAG_BITS) - 1),"),
    Fault(
        "owner of a new flow not stored",
        "\tvc5_own(first, place, service->destinations + index);\n\tvc5_tell",
        "\tvc5_tell",
    ),
    Fault("unknown connections counted a second early", "age > vc5_settings->idle", "age >= vc5_settings->idle"),
    Fault("first connections counted a second early", "age > VC5_SETTLING", "age >= VC5_SETTLING"),
    Fault("RST counted as unknown", "if (!udp && !(flags & VC5_TCP_RST)) {", "if (!udp) {"),
    Fault("UDP counted as unknown", "if (!udp && !(flags & VC5_TCP_RST)) {", "if (!(flags & VC5_TCP_RST)) {"),
)
ROOM_FAULTS = (
    Fault(
        "candidates fill the ring",
        "vc5_ask_news(vc5_news, BPF_RB_AVAIL_DATA) > VC5_NEWS_ROOM / 2",
        "0",
    ),
    Fault("confirmed flows have no room kept", "flags & VC5_NEWS_FLAG_CANDIDATE && vc5_ask", "vc5_ask"),
    Fault(
        "what was not told is not counted",
        "sizeof(news), 0))\n\t\tvc5_count(VC5_REASON_UNTOLD);",
        "sizeof(news), 0))\n\t\t;",
    ),
)
"""Those show only once nobody has taken news for long."""
