"""The answer of `vc5 explain` for people, in the order in which the program decides. Pure.

What an older daemon does not tell is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.control.blocks import block_story
from appliance.dataplane.enums import REASON_TEXT, Reason
from appliance.dataplane.reading import words, written

Answer = Mapping[str, Any]

WHAT_BECOMES = re.compile(": (dropped|passed)( to the host| on| or passed as `unknown_port` says)?$")
"""What the texts of reasons say of a packet's end, which the verdict says."""
FRAME_SHOWN = 128
"""How much of a frame is shown, bytes: enough for the headers."""
ANSWERED = frozenset({Reason.ECHO, Reason.RESET, Reason.TOO_BIG})
"""What leaves is another packet than came."""
NEXT: dict[Reason, str] = {
    Reason.NOT_VIP: "`vc5 status --all` lists the VIPs; if this should be one, it is missing from the configuration",
    Reason.TAGGED: "a trunk needs `vlans` in the configuration; otherwise, see what the switch port is set to",
    Reason.UNTAGGED: "`mixed_tags: yes`, if packets without tags are expected; else, what the switch port is set to",
    Reason.UNKNOWN_PORT: "a service on that port, in the configuration; or `unknown_port`, which says drop or pass",
    Reason.ICMP_ERROR: "the flow may have ended, or be another balancer's",
    Reason.ECHO_VIP_DOWN: "`vc5 status VIP` tells what its services lack",
    Reason.FRAGMENT: "who sends fragments, and whether the first one took another way",
    Reason.TTL: "a routing loop, or a traceroute",
    Reason.NO_BACKEND: "`vc5 status SERVICE` tells how each backend is; `vc5 log --events` what happened to it",
    Reason.DEAD: "`vc5 status SERVICE`; with `on_dead: reset` clients hear of it, with `reselect` they go elsewhere",
    Reason.RESET: "`vc5 status SERVICE`; the client is told, and its next connection goes elsewhere",
    Reason.UNRESOLVED: "`vc5 status SERVICE` tells what is missing; then `ip neighbour` and the cable",
    Reason.NO_INTERFACE: "`vc5 status` shows the interfaces; `ip link` what became of this one",
    Reason.NO_ROOM: "`vc5 doctor` tells what the driver can do",
    Reason.TOO_BIG: "`vc5 doctor` tells which MSS backends should ask for (`advmss`)",
    Reason.TOO_BIG_LIMITED: "`vc5 doctor` tells which MSS backends should ask for (`advmss`)",
    Reason.NO_ROUTE: "`ip route get CLIENT from VIP iif IFACE`, and net.ipv4.ip_forward",
    Reason.BLOCKED: "`vc5 block list`; `vc5 block remove PREFIX` lets it in again, unless the configuration blocks it",
    Reason.INCOMPLETE: "the daemon's log (`journalctl -u vc5`); `vc5 reload` loads both programs anew",
}
"""Where to look next, for what an operator may want otherwise."""


def story(answer: Answer) -> list[str]:
    """Return the lines; some are long."""
    reason = Reason[str(answer["reason"]).upper().replace("-", "_")]
    lines = [f"verdict   {answer['verdict']}: {WHAT_BECOMES.sub('', REASON_TEXT[reason])} ({answer['reason']})"]
    for name, text in _told(answer, reason):
        lines.append(f"{name:<9} {text}")
    return lines


def _told(answer: Answer, reason: Reason) -> Iterator[tuple[str, str]]:
    before = _octets(answer.get("input"))
    after = _octets(answer["frame"])
    if before:
        arrives = f", arriving on {answer['arrives']}" if answer.get("arrives") else ""
        yield "packet", f"{words(before)}; {len(before)} bytes{arrives}"
    if answer.get("blocked"):
        yield "source", block_story(answer["blocked"])
    yield from _service(answer, reason)
    if answer.get("slot") is not None and reason is not Reason.BLOCKED:
        yield "slot", _slot(answer)
        if flow := _flow(answer, reason):
            yield "flow", flow
    if answer.get("backend"):
        yield "backend", f"{answer['backend']}{_because(answer, reason)}{_standing(answer)}"
    elif reason is Reason.NO_BACKEND and isinstance(answer.get("states"), Mapping):
        yield "backend", f"none takes new flows: {_states(answer['states'])}"
    if answer["verdict"] in ("tx", "redirect"):
        if reason in ANSWERED:
            yield "answer", words(after)
        elif before and (changes := written(before, after)):
            yield "written", "; ".join(changes)
        tag = f" in VLAN {answer['vlan']}" if answer.get("vlan") is not None else ""
        leaves = answer.get("interface") or "the way to the prober"
        yield "leaves", f"{leaves}{tag} towards {after[:6].hex(':')}"
    elif answer["verdict"] == "pass":
        changed = "" if not before or before == after else f", with {'; '.join(written(before, after)) or 'changes'}"
        yield "goes to", f"the host's own network stack{changed or ', as it came'}"
    elif answer["verdict"] == "drop":
        yield "ends", "here: nothing is sent, and nobody is told"
    if reason in NEXT:
        yield "look at", NEXT[reason].replace("SERVICE", str(answer.get("service") or "SERVICE"))
    shown = after[:FRAME_SHOWN].hex()
    yield "frame", shown if len(after) <= FRAME_SHOWN else f"{shown} ... ({len(after):,} bytes; --json has all of them)"


def _octets(text: object) -> bytes:
    try:
        return bytes.fromhex(str(text or ""))
    except ValueError:
        return b""


def _service(answer: Answer, reason: Reason) -> Iterator[tuple[str, str]]:
    if answer.get("service"):
        name = f", {answer['name']}" if answer.get("name") else ""
        yield "service", f"{answer['service']}{name}"
    elif reason is Reason.UNKNOWN_PORT and answer.get("of_vip"):
        more = f" and {answer['of_vip_more']} more" if answer.get("of_vip_more") else ""
        yield "service", f"none: this VIP has {', '.join(answer['of_vip'])}{more}"
    elif reason is Reason.NOT_VIP:
        yield "service", "none has this address"


def _slot(answer: Answer) -> str:
    of = f" of {answer['slots']:,}" if isinstance(answer.get("slots"), int) else ""
    at = f"{answer['slot']:,}{of}"
    if not answer["tracked"]:
        return f"{at}, settled: its answer holds for all flows, and none has to be remembered"
    if answer.get("remembers_all"):
        return f"{at}, tracked: with this service every flow is remembered"
    return f"{at}, tracked: its answer has changed, so flows from before are told from new ones"


def _flow(answer: Answer, reason: Reason) -> str:
    """What is known of the packet's flow, where its slot asks for that."""
    if not answer["tracked"]:
        return ""
    decided = set(answer.get("decisions") or ())
    remembered, now = answer.get("remembered"), answer.get("now")
    kept = "; from then on it is remembered" if str(Reason.REMEMBERED) in decided else ""
    if str(Reason.REFUSED) in decided:
        kept = "; its set in the flow table is full, so it is not remembered"
    if str(Reason.TRACKED_HIT) in decided:
        elsewhere = f", though new flows go to {now}" if now and now != answer.get("backend") else ""
        return f"remembered at {remembered}: it stays there{elsewhere}"
    if str(Reason.TRACKED_OLD) in decided:
        before = _or_none(answer, "was")
        return f"not remembered, and not new: it began before the change, when the slot's answer was {before}{kept}"
    if str(Reason.TRACKED_NEW) in decided:
        return f"new: it goes where new flows of the slot go{kept}"
    if reason in (Reason.DEAD, Reason.RESET):
        return f"established, and its backend {remembered or _or_none(answer, 'was')} is dead"
    if answer.get("backend") and answer["backend"] == now:
        lost = remembered or _or_none(answer, "was")
        return f"established, and its backend {lost} is dead: it gets another one (`on_dead: reselect`)"
    return f"remembered at {remembered}" if remembered else "not remembered"


def _or_none(answer: Answer, name: str) -> str:
    return str(answer.get(name) or "no backend")


def _because(answer: Answer, reason: Reason) -> str:
    """Why this backend and no other."""
    if answer.get("slot") is None:
        return ", because the flow that it belongs to is there" if reason is Reason.FORWARD else ""
    backend, decided = answer["backend"], set(answer.get("decisions") or ())
    if not answer["tracked"]:
        return ", because it is the slot's answer" if backend == answer.get("now") else ""
    if str(Reason.TRACKED_HIT) in decided:
        return ", because its flow is remembered there"
    if str(Reason.TRACKED_OLD) in decided:
        return ", because it was the slot's answer before the change"
    return ", because it is the slot's answer for new flows" if backend == answer.get("now") else ""


STATES = {
    "available": "taking new flows",
    "draining": "draining: only the flows it has",
    "dead": "dead",
    "none": "without a verdict yet",
}


def _states(states: Mapping[str, int]) -> str:
    """How many backends are how."""
    return ", ".join(f"{number} {STATES.get(name, name)}" for name, number in states.items()) or "there is none"


def _standing(answer: Answer) -> str:
    """How the backend is, where that is not the usual, and how many of the service's take new flows."""
    state, states = str(answer.get("standing") or "available"), answer.get("states")
    parts = [STATES.get(state, state)] if state != "available" else []
    parts += [str(answer["kept"])] if answer.get("kept") else []
    if isinstance(states, Mapping) and answer.get("service"):
        parts.append(f"{states.get('available', 0)} of {sum(states.values())} backends take new flows")
    return f" ({'; '.join(parts)})" if parts else ""
