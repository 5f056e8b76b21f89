"""What the tests of `vc5 doctor` share: a daemon with services of both families, and what the doctor says of it."""

from __future__ import annotations

import json
from typing import Any

from tests.lab.backend import Server
from tests.lab.daemon import Daemon
from tests.lab.namespace import Namespace
from tests.lab.patience import wait_for
from tests.lab.site import Site
from tests.netns.scenario_site import VIPS

PATIENCE = 15.0


def configuration(site: Site, *way: str, port: str = "80/tcp", check: str = "{type: http, path: /alive}") -> str:
    """Return a file with a service for the VIP of each family; `way` are lines of YAML for both."""
    lines = ["interfaces: [eth0]", "xdp: native", "interval: 200ms", "timeout: 400ms", "rise: 1", "fall: 2"]
    lines += ["services:"]
    for version, vip in VIPS.items():
        lines += [f"  - virtual: '{vip}'", f"    servers: [{site.servers(version)}]", *(f"    {line}" for line in way)]
        lines += [f"    policy: {{{port}: {{checks: [{check}]}}}}"]
    return "\n".join([*lines, ""])


def healths(daemon: Daemon) -> dict[str, str]:
    """What the checks say of each backend, by its address; one that is the same for both VIPs."""
    return {row["address"]: row["health"] for service in daemon.status()["services"] for row in service["backends"]}


def wait_health(daemon: Daemon, site: Site, name: str, health: str) -> None:
    """Wait until the checks say so of a backend in both families."""
    wanted = {str(site.address(name, version)) for version in VIPS}

    def look() -> bool:
        found = healths(daemon)
        return {found[address] for address in wanted} == {health}

    wait_for(f"{name} to be {health}", look, PATIENCE)


def told(daemon: Daemon, *options: str) -> dict[str, list[dict[str, Any]]]:
    """What the doctor says of backends, by their name; those of which it says nothing are left out."""
    done = daemon.vc5("doctor", str(daemon.configuration_file), "--json", *options)
    assert "Traceback" not in done.stderr, done.stderr
    found: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    problems = any(one["severity"] == "problem" for each in found.values() for one in each)
    assert done.returncode == int(problems)
    return {name: each for name, each in found.items() if " of " in name and each}


def only(daemon: Daemon, site: Site, name: str, *options: str) -> dict[int, dict[str, Any]]:
    """The one finding of a backend in each family; of nobody else there may be any."""
    found = told(daemon, *options)
    families = {}
    for version in VIPS:
        address = str(site.address(name, version))
        [key] = [key for key in found if key.startswith(f"{address} of ")]
        [families[version]] = found.pop(key)
    assert found == {}
    return families


def rules(host: Namespace, *lines: str, hook: str = "input", priority: int = 0) -> None:
    """Put these rules into a chain of the host's, for both families."""
    chain = [f"type filter hook {hook} priority {priority}", *lines]
    host.run("nft", "-f", "-", text="\n".join(["table inet doctor {", "chain one {", *chain, "}", "}", ""]))


def no_rules(host: Namespace) -> None:
    """Take them away."""
    host.run("nft", "delete", "table", "inet", "doctor")


def restart(site: Site, name: str, server: Server = Server.NGINX) -> None:
    """Start a server again, and wait until it listens."""
    site.backends[name].start_servers(site.content, server)
    site.backends[name].wait_ready()
