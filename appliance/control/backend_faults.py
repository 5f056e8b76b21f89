"""Why a backend does not do what it should, from what was seen of it, and what mends it. Pure.

Every finding is about one backend of one service, and rests on evidence (health/evidence.py) and on what the daemon
knows: the first cause that explains what was seen is told, for the others follow from it.
"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.control import decapsulation
from appliance.control.nic import Finding, Severity
from appliance.control.segments import HEADERS
from appliance.control.subjects import Subject
from appliance.health.evidence import Evidence, Reply
from appliance.health.quoted import Refusal
from appliance.model import Address, Forward, Protocol

ON = "on {backend}: "
"""Where a command is to be run that is not for the balancer."""
_LENGTHS = {4: 32, 6: 128}


def findings(subject: Subject, seen: Evidence | None) -> tuple[Finding, ...]:
    """Everything to say of a backend; without evidence, what the daemon knows."""
    found = tuple(_all(subject, seen))
    order = list(Severity)
    return tuple(sorted(found, key=lambda one: order.index(one.severity)))


def _all(subject: Subject, seen: Evidence | None) -> Iterator[Finding]:
    for why, remedy in subject.troubles:
        yield Finding(Severity.PROBLEM, "there is no way to it", why, remedy)
    if not subject.resolved:
        if not subject.troubles:
            yield _unresolved(subject)
        return
    silent = seen is None or bool(seen.trouble)
    if silent:
        if subject.health not in ("up", "unknown"):
            yield _by_check(subject, seen)
        return
    assert seen is not None
    cause = next(_causes(subject, seen), None)
    if cause is not None:
        yield cause
    elif subject.health not in ("up", "unknown"):
        yield _by_check(subject, seen)
    yield from _sizes(subject, seen)


def _unresolved(subject: Subject) -> Finding:
    hop = subject.next_hop or subject.backend
    who = "the gateway to it" if hop != subject.backend else "this backend"
    return Finding(
        Severity.PROBLEM,
        f"neighbour unresolved: nobody answers for {hop} on {subject.interface}",
        f"the balancer asks for the MAC address of {who} and gets no answer: that host is off, elsewhere, or has "
        "another address",
        f"on {hop}: ip address show, ip link set IFACE up; then here: ping -c 1 -I {subject.interface} {hop}, "
        f"ip neighbour show {hop}",
    )


def _by_check(subject: Subject, seen: Evidence | None) -> Finding:
    """Nothing was found but what its check says."""
    said = subject.diagnostic or "no result"
    if subject.health == "wrong" or (seen is not None and seen.vip is Reply.ACCEPTED):
        return Finding(
            Severity.PROBLEM,
            f"it answers, and its check fails: {said}",
            "packets get there and back, so it is for the service itself",
            _on(
                subject,
                f"read the log of what serves port {subject.arrival} (here: vc5 log --backend {subject.backend})",
            ),
        )
    why = "how it fails was not looked into"
    remedy = "run vc5 doctor as root, which can see answers that go astray"
    if seen is not None and seen.trouble:
        why, remedy = f"nothing could be sent to it: {seen.trouble}", "vc5 status; journalctl -u vc5"
    return Finding(Severity.PROBLEM, f"its check fails: {said}", why, remedy)


def _causes(subject: Subject, seen: Evidence) -> Iterator[Finding]:
    """What explains that the VIP is not answered, likeliest first."""
    if seen.vip is Reply.ACCEPTED:
        return
    if seen.stray is not None:
        yield _wrong_source(subject, seen.stray)
    if seen.outer in (Refusal.PROTOCOL, Refusal.PORT):
        yield _not_decapsulated(subject, seen.outer, seen.outer_by)
    elif seen.outer is not None:
        yield _refused_on_the_way(subject, seen.outer, seen.outer_by)
    if seen.vip is Reply.RESET:
        yield _reset(subject, seen)
    # An error about the own address tells as much: a host sends few of them, and it may have been the one.
    if seen.vip is Reply.UNREACHABLE or (seen.vip_echo and seen.own is Reply.UNREACHABLE):
        yield _unreachable(subject, seen.vip_refusal or seen.own_refusal)
    if subject.protocol is Protocol.UDP and not subject.ask and seen.vip_echo:
        return  # nobody says what it would answer
    yield _silent(subject, seen)


def _wrong_source(subject: Subject, stray: Address) -> Finding:
    if stray == subject.vip:
        return Finding(
            Severity.PROBLEM,
            "its answers come in past the program",
            f"they have the right source, {stray}, but arrive on an interface of this host that is not in `interfaces`",
            "name that interface in `interfaces` (bond members: all of them); vc5 reload",
        )
    what = f"reply with wrong source: {stray} answers in place of {subject.vip}"
    if subject.tunnel == "dscp":
        rule = f"ip dscp {subject.code}" if subject.vip.version == 4 else f"ip6 dscp {subject.code}"
        family = "ip" if subject.vip.version == 4 else "ip6"
        return Finding(
            Severity.PROBLEM,
            what,
            "it takes the packets for its own: it does not turn the DSCP code back into the VIP",
            _on(
                subject,
                "nft add table inet vc5; nft add chain inet vc5 from_balancer '{ type filter hook prerouting priority "
                f"raw; }}'; nft add rule inet vc5 from_balancer {rule} notrack {family} daddr set {subject.vip}",
            ),
        )
    return Finding(
        Severity.PROBLEM,
        what,
        "clients drop such answers: something there rewrites the source (NAT), or the service answers by itself from "
        "an address that is not the one it was asked at",
        _on(
            subject,
            f"nft list ruleset | grep -E 'snat|masquerade', and exempt what has the source {subject.vip}; "
            f"or have the service bind to {subject.vip}",
        ),
    )


def _not_decapsulated(subject: Subject, refusal: Refusal, by: Address | None) -> Finding:
    said = f"{by or subject.backend} says: {refusal}"
    return Finding(
        Severity.PROBLEM,
        f"tunnel not decapsulated: it knows nothing of {subject.tunnel}",
        f"{said}, about the outer packet",
        _on(subject, decapsulation.commands(subject)),
    )


def _refused_on_the_way(subject: Subject, refusal: Refusal, by: Address | None) -> Finding:
    return Finding(
        Severity.PROBLEM,
        f"the tunnel's packets are refused: {refusal}",
        f"{by} says so" if by else "so says the network",
        f"on {by or 'the way'}: let {decapsulation.outer_name(subject)} to {subject.backend} pass; "
        f"here: ip route get {subject.backend}",
    )


def _reset(subject: Subject, seen: Evidence) -> Finding:
    what = f"RST from the VIP: port {subject.arrival} is refused"
    if seen.own is Reply.ACCEPTED and subject.forward is Forward.DSR:
        return Finding(
            Severity.PROBLEM,
            what,
            f"the service listens on {subject.backend} alone, or a firewall rejects what comes for the VIP",
            _on(
                subject,
                f"have it listen on {_host(subject.vip)}:{subject.arrival} or on all addresses (ss -ltn 'sport = "
                f":{subject.arrival}' shows where it does); nft list ruleset | grep reject",
            ),
        )
    return Finding(
        Severity.PROBLEM,
        what,
        "nothing listens there, or a firewall rejects it with a reset; the VIP itself is there",
        _on(
            subject,
            f"ss -ltn 'sport = :{subject.arrival}' (nothing shown: start the service); nft list ruleset | grep reject",
        ),
    )


def _unreachable(subject: Subject, refusal: Refusal | None) -> Finding:
    if refusal is Refusal.PORT and subject.protocol is Protocol.UDP:
        return Finding(
            Severity.PROBLEM,
            f"nothing listens on UDP port {subject.arrival} of the VIP",
            f"it says: {refusal}",
            _on(
                subject,
                f"ss -lun 'sport = :{subject.arrival}' (nothing shown: start the service; another address than "
                f"{subject.vip} or all: have it bind to that)",
            ),
        )
    return Finding(
        Severity.PROBLEM,
        f"the VIP is answered with ICMP: {refusal or 'unreachable'}",
        "a firewall rejects it, there or on the way",
        _on(
            subject,
            f"nft list ruleset | grep reject, and accept {subject.protocol} port {subject.arrival} to {subject.vip}",
        ),
    )


def _silent(subject: Subject, seen: Evidence) -> Finding:
    if seen.vip_echo:
        return Finding(
            Severity.PROBLEM,
            f"port {subject.arrival} of the VIP is silent, although the VIP answers echo requests",
            "a firewall there drops it, or the service's queue of connections is full",
            _on(
                subject,
                f"nft list ruleset | grep drop; ss -ltn 'sport = :{subject.arrival}' (Recv-Q at Send-Q: the queue is "
                "full); nstat -az TcpExtListenDrops",
            ),
        )
    if seen.own is Reply.SILENCE and not seen.own_echo:
        return _gone(subject)
    answers = f"{subject.backend} itself answers"
    if subject.forward is Forward.NAT:
        return Finding(
            Severity.PROBLEM,
            f"port {subject.arrival} is silent for what the program sends",
            f"{answers} this host, so a firewall drops the rest, there or on the way",
            _on(subject, f"nft list ruleset | grep drop, and accept {subject.protocol} port {subject.arrival}"),
        )
    present = f"ip address add {subject.vip}/{_LENGTHS[subject.vip.version]} dev lo"
    if subject.tunnel and subject.tunnel != "dscp":
        outer = decapsulation.outer_name(subject)
        return Finding(
            Severity.PROBLEM,
            f"tunnel not decapsulated, or VIP missing on the loopback: nothing comes back through {subject.tunnel}",
            f"{answers}, so the host is there; what arrives in {outer} is lost without a word",
            _on(subject, f"{decapsulation.commands(subject)}; {present}; let {outer} pass its firewall"),
        )
    return Finding(
        Severity.PROBLEM,
        f"VIP missing on its loopback: nothing answers for {subject.vip}",
        f"{answers}, but neither answer nor RST comes from the VIP: it is not its own there, or a firewall drops it",
        _on(
            subject,
            f"{present} (ip address show to {subject.vip} shows whether it is there); nft list ruleset | grep drop",
        ),
    )


def _gone(subject: Subject) -> Finding:
    hop = subject.next_hop or subject.backend
    return Finding(
        Severity.PROBLEM,
        "it answers nothing at all",
        f"neither the VIP nor {subject.backend} itself, although the MAC address of {hop} is known",
        f"ping -c 1 {subject.backend}; ip neighbour show {hop}; then the host itself, and any firewall before it",
    )


def _sizes(subject: Subject, seen: Evidence) -> Iterator[Finding]:
    """Packets that are too long for the way. Where none with data was answered, nothing can be told."""
    if not seen.narrow and not 0 < seen.passed < seen.full:
        return
    if seen.passed == seen.full and seen.full:
        return
    fits = seen.passed or max(0, seen.narrow - subject.grows)
    segment = fits - HEADERS[subject.vip.version]
    told = "nobody tells why (no ICMP came back)"
    if seen.narrow:
        told = f"{seen.narrow_by or 'a router'} tells an MTU of {seen.narrow}"
    inside = f", in packets of {fits + subject.grows} bytes with the outer header" if subject.grows else ""
    yield Finding(
        Severity.PROBLEM,
        f"path MTU too small: {seen.full} bytes do not arrive, {fits} do",
        f"connections open and then hang; {told}{inside}",
        f"on the way to {subject.backend} (its own interface, too): ip link set IFACE mtu {seen.full + subject.grows}; "
        f"or on {subject.backend}: ip -{subject.vip.version} route change default via GATEWAY advmss {segment}",
    )


def _on(subject: Subject, command: str) -> str:
    return ON.format(backend=subject.backend) + command


def _host(address: Address) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


def not_examined(why: str) -> Finding:
    """What is said where nobody looked at the backends."""
    return Finding(
        Severity.NOTE,
        "backends were not looked at",
        why,
        "sudo vc5 doctor" if "as root" in why else "see the reason; vc5 status tells what the checks say",
    )
