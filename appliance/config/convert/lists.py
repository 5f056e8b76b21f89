"""Services of the dialects that have a list of them: 2021 with `addr port real`, 2022 and 2023 with `policy`."""

from __future__ import annotations

from dataclasses import replace

from appliance.config.addresses import VirtualAddress, VirtualKind
from appliance.config.compose import MAX_NODES
from appliance.config.convert.checks import OldCheck, policy_of, read_checks
from appliance.config.convert.document import Block, Entry, Item, Items
from appliance.config.convert.options import read_options
from appliance.config.convert.policies import read_defaults, read_policy
from appliance.config.convert.servers import ServerList, read_servers
from appliance.config.convert.source import Job, Old, each, refusal
from appliance.config.kinds import Place
from appliance.config.nodes import Mapping, Node, Scalar, describe, join, quote
from appliance.config.policy import PORT
from appliance.config.setting import LIST_NAME

OLDEST = ("addr", "port", "real")
"""Keys that only services of 2021 have."""


MAX_PORTS = 1024
"""Ports of a service of 2021; each gets all of its checks."""


class Services:
    """The services of a file, and the lists that they name."""

    def __init__(self, old: Old, job: Job) -> None:
        self._job = job
        self._groups: dict[str, Node] = {}
        self.lists = Block()
        self.policies = Block()
        self._tags: set[str] = set()
        self._policies: set[str] = set()
        self._expanded = 0
        self.services = Items()
        self._read_lists(old)
        self._read_policies(old)
        services = old.take("services")
        if services is None:
            return
        if isinstance(services, Scalar):
            self.services.tail.append(job.lost(services, "services", f"must be a list, not {describe(services)}"))
            return
        for node, path in each(services, "services"):
            if isinstance(node, Mapping):
                self._service(Old(node, path, job))
            else:
                self.services.tail.append(job.lost(node, path, f"a service is a map, not {describe(node)}"))

    def _read_lists(self, old: Old) -> None:
        for name in ("reals", "servers"):
            node = old.take(name)
            if node is None:
                continue
            if not isinstance(node, Mapping):
                self.lists.tail.append(
                    self._job.lost(node, name, f"must be a map from names to lists, not {describe(node)}")
                )
                continue
            for key, value in node.entries:
                where = join(name, key.text)
                if key.text in self._tags:
                    self.lists.tail.append(self._job.lost(value, where, f"a list {quote(key.text)} is there already"))
                    continue
                why, hint = refusal(LIST_NAME, key, where)
                if name == "reals":
                    self._groups[key.text] = value
                if why:
                    # A group of 2021 may have any name; its servers are written where it is used.
                    if name == "servers":
                        self.lists.tail.append(self._job.lost(value, where, why, hint))
                    continue
                self._tags.add(key.text)
                self.lists.add(key.text, read_servers(value, where, self._job).items())

    def _read_policies(self, old: Old) -> None:
        node = old.take("policy")
        if node is None:
            return
        if not isinstance(node, Mapping):
            self.policies.tail.append(self._job.lost(node, "policy", f"must be a map, not {describe(node)}"))
            return
        for key, value in node.entries:
            where = join("policy", key.text)
            why, hint = refusal(LIST_NAME, key, where)
            if why or not isinstance(value, Mapping):
                reason = why or f"a policy is a map, not {describe(value)}"
                self.policies.tail.append(self._job.lost(value, where, reason, hint))
                continue
            self._policies.add(key.text)
            self.policies.add(key.text, read_policy(value, where, self._job))

    def _service(self, old: Old) -> None:
        job = self._job
        block = Block()
        virtual = _virtual(old, job)
        options = read_options(old, Place.SERVICE, job)
        oldest = any(key in old for key in OLDEST)
        servers = self._groups_of(old) if oldest else self._servers_of(old)
        policy = self._ports(old) if oldest else self._policy_of(old, options)
        missing = [
            name
            for name, value in (("virtual", virtual), ("servers", servers), ("policy", policy))
            if value is None or (isinstance(value.value, Block) and not value.value.entries)
        ]
        if missing or virtual is None or servers is None or policy is None:
            reason = f"a service without {' and '.join(missing)}"
            self.services.tail.append(job.lost(old.node, old.path, reason))
            for entry in (virtual, servers, policy):
                if entry is not None:
                    self.services.tail.extend([*entry.notes, *_tail(entry.value)])
            return
        block.entries = [
            *(entry for entry in options.entries if entry.key in ("name", "description")),
            virtual,
            servers,
            *(entry for entry in options.entries if entry.key not in ("name", "description")),
            policy,
        ]
        block.tail = [*options.tail, *old.rest("in a service")]
        self.services.items.append(Item(block))

    def _groups_of(self, old: Old) -> Entry | None:
        """Return the servers of 2021: the union of the groups that `real` names."""
        node = old.take("real")
        if node is None:
            return None
        union = ServerList()
        names = []
        for item, where in each(node, old.where("real")):
            name = item.text if isinstance(item, Scalar) else ""
            group = self._groups.get(name)
            if group is None:
                union.notes.append(self._job.lost(item, where, f"`reals` has no group {describe(item)}"))
                continue
            names.append((name, group))
        if len(names) == 1 and names[0][0] in self._tags and not union.notes:
            return Entry("servers", names[0][0])
        quiet = self._job.quiet()
        for name, group in names:
            self._expanded += group.size
            if self._expanded > MAX_NODES:
                union.notes.append(self._job.lost(node, old.where("real"), "the groups are too large to be joined"))
                break
            # The list itself has told what is wrong with it, unless its name kept it from being written.
            read_servers(group, join("reals", name), quiet if name in self._tags else self._job, union)
        text = f"the servers of {' and '.join(name for name, _ in names)}" if names else ""
        return Entry("servers", union.items(), [text] if text else [])

    def _servers_of(self, old: Old) -> Entry | None:
        node = old.take("servers")
        if node is None:
            return None
        path = old.where("servers")
        if isinstance(node, Scalar):
            if node.text in self._tags:
                return Entry("servers", node.text)
            notes = [self._job.lost(node, path, f"there is no list {quote(node.text)} under `servers`")]
            return Entry("servers", Items(tail=notes))
        return Entry("servers", read_servers(node, path, self._job).items())

    def _ports(self, old: Old) -> Entry | None:
        """Return the policy of 2021: every port with all checks, whose own port is the first by default."""
        job = self._job
        ports: dict[int, None] = {}
        policy = Block()
        node = old.take("port")
        for item, where in each(node, old.where("port")) if node is not None else ():
            why, hint = refusal(PORT, item, where)
            if why:
                policy.tail.append(job.lost(item, where, why, hint))
            elif len(ports) == MAX_PORTS:
                policy.tail.append(job.lost(item, where, f"more than {MAX_PORTS:,} ports"))
                break
            elif isinstance(item, Scalar):
                ports[int(item.text)] = None
        checks: tuple[OldCheck, ...] = ()
        at = old.take("checks")
        if at is not None:
            checks, notes = read_checks(at, old.where("checks"), job, None, False)
            policy.tail.extend(notes)
        first = next(iter(ports), 0)
        for port in ports:
            # Without a port of its own a check goes to the first one, whichever port it is made for.
            mine = tuple(
                replace(check, port=None if (check.port or first) == port else check.port or first) for check in checks
            )
            key, settings = policy_of(port, False, mine)
            policy.add(key, settings_value(settings))
        return Entry("policy", policy)

    def _policy_of(self, old: Old, options: Block) -> Entry | None:
        node = old.take("policy")
        path = old.where("policy")
        tunnel = options.entry("tunnel-type")
        read_defaults(old, options, self._job)
        if node is None:
            note = self._job.guessed(old.node, old.path, "a service without a policy serves http and https")
            return Entry("policy", Block([Entry("http", None), Entry("https", None)]), [note])
        if isinstance(node, Scalar):
            if node.text in self._policies:
                return Entry("policy", node.text)
            return Entry("policy", Block(tail=[self._job.lost(node, path, f"there is no policy {quote(node.text)}")]))
        if not isinstance(node, Mapping):
            return Entry("policy", Block(tail=[self._job.lost(node, path, f"must be a map, not {describe(node)}")]))
        return Entry("policy", read_policy(node, path, self._job, str(tunnel.value) if tunnel else ""))


def settings_value(settings: dict[str, object]) -> object:
    """Return the settings of a policy's key as they are written: nothing, or a map with its checks one a line."""
    if not settings:
        return None
    block = Block()
    for key, value in settings.items():
        block.add(
            key, Items([Item(check) for check in value]) if key == "checks" and isinstance(value, list) else value
        )
    return block


def _virtual(old: Old, job: Job) -> Entry | None:
    """Return the VIPs, under whatever name they stand."""
    seen: dict[object, Item] = {}
    notes = []
    for name in ("virtual", "address", "addr"):
        node = old.take(name)
        for item, where in each(node, old.where(name)) if node is not None else ():
            why, hint = refusal(VirtualKind(), item, where)
            if why:
                notes.append(job.lost(item, where, why, hint))
                continue
            assert isinstance(item, Scalar)
            vip: VirtualAddress = VirtualKind().parse(item.text)
            mark = "" if vip.enabled else "*"
            note = [] if vip.enabled else [job.guessed(item, where, DISABLED)]
            seen[vip.address] = Item(f"{vip.address}{mark}", note)
    if not seen:
        return Entry("virtual", Block(tail=notes)) if notes else None
    items = list(seen.values())
    if len(items) == 1:
        return Entry("virtual", items[0].value, [*items[0].notes, *notes])
    return Entry("virtual", Items(items, notes))


DISABLED = "the VIP is disabled, as its * says; the former daemon did not heed the mark"


def _tail(value: object) -> list[str]:
    return value.tail if isinstance(value, Block | Items) else []
