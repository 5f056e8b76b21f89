"""The tree names no machine it was written on and no host that is not argued for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.house import tree

# A developer's places. The pattern is written so that it does not match this file.
MACHINE = re.compile(r"(?<![\w.~-])/(?:work|opt|home|root|Users)/[\w.-]+|[.]pyenv\b")

# What may stand behind :// in a tracked file, and why.
HOSTS = {
    "localhost": "the machine itself",
    "example.com": "RFC 2606, documentation",
    "example.net": "RFC 2606, documentation",
    "example.org": "RFC 2606, documentation",
    "www.gnu.org": "the licence",
    "www.rfc-editor.org": "the law that comments cite",
    "docs.kernel.org": "the law that comments cite",
    "git.kernel.org": "the law that comments cite",
    "www.iana.org": "the law that comments cite",
    "json-schema.org": "the name of the dialect of our schema",
    "adaptivecards.io": "the name of the form of a card for Teams",
    "keepachangelog.com": "the form of the change log",
    "vega.github.io": "the name of the dialect of a chart",
    "www.w3.org": "the name of the dialect of a picture",
    "www.debian.org": "the name of the form of a copyright file",
    "semver.org": "the form of the version",
    "hooks.slack.com": "where every webhook of Slack is, in the example of a setting",
    "logic.azure.com": "where every webhook of Teams is, in the example of a setting",
}
URL = re.compile(r"\w+://(?:[^\s/@]*@)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+\.[A-Za-z0-9._-]*[A-Za-z0-9]|localhost)")
ADDRESS = re.compile(r"\[.*\]|[0-9.]+")


def machine_paths(text: str, parent: str) -> list[str]:
    """Return the machine paths in `text`; `parent` is the directory that this checkout lies in."""
    found = MACHINE.findall(text)
    # A checkout directly below / or below the temporary directory has a parent that every text may name.
    if parent.count("/") > 1 and not parent.startswith("/tmp") and parent + "/" in text:
        found.append(parent)
    return found


def foreign_hosts(text: str) -> list[str]:
    """Return the hosts of URLs in `text` that are neither addresses nor argued for in HOSTS."""
    hosts = (host.lower() for host in URL.findall(text))
    return [
        host
        for host in hosts
        if not ADDRESS.fullmatch(host) and not any(host == known or host.endswith("." + known) for known in HOSTS)
    ]


def readable() -> list[tuple[Path, str]]:
    """Return every tracked text file with its text."""
    found = []
    for file in tree.files():
        data = file.read_bytes()
        if b"\0" not in data:
            found.append((file.relative_to(tree.ROOT), data.decode("utf-8", "replace")))
    return found


def test_no_machine_paths() -> None:
    parent = str(tree.ROOT.parent)
    found = {str(name): paths for name, text in readable() if (paths := machine_paths(text, parent))}
    assert found == {}


def test_no_foreign_hosts() -> None:
    assert {str(name): hosts for name, text in readable() if (hosts := foreign_hosts(text))} == {}


PLANTED_PATHS = [("see /%s/thing", ("work", "opt", "home", "root")), ("~/.%s/bin", ("pyenv",))]


@pytest.mark.parametrize("text", [form % word for form, words in PLANTED_PATHS for word in words])
def test_a_machine_path_is_found(text: str) -> None:
    assert machine_paths(text, "/srv/build")


def test_the_parent_of_the_checkout_is_found() -> None:
    assert machine_paths("open /srv/build/tree/x", "/srv/build") == ["/srv/build"]
    assert machine_paths("a /var/lib/vc5 and /etc/vc5, ../opt/x", "/srv/build") == []


@pytest.mark.parametrize(
    ("url", "foreign"),
    [
        ("https" + "://registry.invalid/simple", ["registry.invalid"]),
        ("http" + "://user:word@mirror.invalid:8080/x", ["mirror.invalid"]),
        ("https://www.rfc-editor.org/rfc/rfc7130", []),
        ("http://127.0.0.1:9090/metrics http://[::1]:9090/ http://localhost:1", []),
        ("http://es.example.com:9200", []),
    ],
)
def test_a_foreign_host_is_found(url: str, foreign: list[str]) -> None:
    assert foreign_hosts(url) == foreign
