// Words of the program, made of its tables (python3 -m tests.unit.web.words): never change them here.

export const REASONS = {
  "forward": "forwarded to a backend",
  "not-ip": "neither IPv4 nor IPv6: passed to the host",
  "not-vip": "the destination is not a VIP: passed to the host",
  "tagged": "a VLAN tag where none is expected: passed to the host",
  "qinq": "a VLAN tag behind another, or a service tag: passed to the host",
  "vip-source": "from a VIP, but the answer to no probe: passed to the host",
  "unknown-port": "the VIP has no service on this port: dropped or passed as `unknown_port` says",
  "protocol": "neither TCP, UDP nor ICMP, to a VIP: dropped",
  "icmp-type": "an ICMP type that is not for a VIP: dropped",
  "icmp-error": "an ICMP error for a VIP, about a packet of no flow of ours: dropped",
  "echo": "an ICMP echo request to a VIP: answered",
  "echo-vip-down": "an ICMP echo request to a VIP that is down: dropped",
  "fragment": "a fragment of a datagram whose first fragment was not seen, or of neither TCP nor UDP: dropped",
  "malformed": "header or length fields contradict the frame: dropped",
  "ttl": "the time to live ran out: dropped",
  "no-backend": "no backend is available: dropped",
  "dead": "the flow's backend is dead and `on_dead` is `drop`, or there is nothing to answer: dropped",
  "reset": "the flow's backend is dead and `on_dead` is `reset`: answered with RST",
  "unresolved": "the backend's MAC address is not known: dropped",
  "probe-answer": "the answer to a probe: sent to the prober",
  "probe-sent": "a probe: sent to its backend",
  "probe-refused": "a packet of the prober that is no probe, or for no backend: dropped",
  "incomplete": "the second program is missing: dropped",
  "untagged": "no VLAN tag, or one that only tells a priority, where tags are expected: passed to the host",
  "neighbour": "neighbour discovery for a VIP: passed to the host",
  "no-interface": "the interface that leads to the backend is gone: dropped",
  "no-room": "the driver leaves no room for a longer header: dropped",
  "too-big": "longer than the way to the backend allows: answered with ICMP, or ICMPv6, \"too big\"",
  "too-big-limited": "likewise, but over the limit of answers, or nothing that may be answered: dropped",
  "return": "the answer of a backend behind NAT: sent to the client",
  "no-route": "the answer of a backend behind NAT, and no way to the client that the program knows: passed on",
  "blocked": "to a VIP, from a source that is blocked: dropped",
  "tracked-hit": "in a tracked slot: a remembered flow",
  "tracked-new": "in a tracked slot: a new flow",
  "tracked-old": "in a tracked slot: a flow older than the change",
  "remembered": "a flow was remembered",
  "refused": "a flow could not be remembered: its set is full of living flows",
  "fragment-followed": "a later fragment followed the first one of its datagram",
  "untold": "a flow was remembered, and there was no room to tell the rest of the fleet",
  "tracked-unknown": "in a tracked slot: a connection that should be remembered, and is not known here"
};
export const CAUSES = {
  "router": "routers send flows by other nodes than before",
  "refused": "there was no room to remember flows",
  "restart": "the daemon or the program was started anew",
  "pool": "backends came or went",
  "idle": "nothing had happened: silent for longer than is remembered, or no connection"
};
export const SEVERITIES = [
  "emergency",
  "alert",
  "critical",
  "error",
  "warning",
  "notice",
  "informational",
  "debug"
];
export const KINDS = [
  "backend",
  "service",
  "vip",
  "interface",
  "bgp",
  "bfd",
  "fleet",
  "daemon",
  "reload",
  "operator",
  "alarm"
];
