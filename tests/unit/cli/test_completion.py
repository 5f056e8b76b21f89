"""What shells offer after `vc5 ...`: words of the table and names of the daemon, in a real bash, zsh and fish."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import paths
from appliance.cli.arguments import Names
from appliance.cli.completion import FILES, offers, told
from appliance.cli.main import main
from appliance.cli.verbs import VERBS
from appliance.control.socket import Request
from appliance.dataplane.enums import DROPS
from appliance.paths import Root
from tests.unit.cli.samples import BODY
from tests.unit.control.running import running
from tests.unit.house.tree import ROOT
from tests.unit.routing.samples import ROUTING

SERVICE = "203.0.113.10:443/tcp"
SERVICES = [row["service"] for row in BODY["services"]]
PEERS = [str(peer.address) for peer in ROUTING.peers]
BACKENDS = [row["address"] for row in BODY["services"][0]["backends"]]


def known(kind: Names, service: str) -> Iterable[str]:
    """As the daemon of the sample."""
    return told({**BODY, "bgp": ROUTING.as_json()}, kind, service)


HEALTH = ["freeze", "thaw"]
SIX = [one for one in SERVICES if one.startswith("[")]
# what is typed (the last word is being typed), what is offered
TABLE: list[tuple[str, list[str]]] = [
    ("", [verb.name for verb in VERBS]),
    ("re", ["render", "reload", "reexec", "reattach"]),
    ("dance ", []),
    ("dance x", []),
    ("-", ["--version", "--root"]),
    ("--root ", [FILES]),
    ("--root /x dra", ["drain"]),
    ("--version dra", ["drain"]),
    ("check ", [FILES]),
    ("check a.yaml ", []),
    ("drops --reason ", [str(reason) for reason in DROPS]),
    ("drops --reason no", ["no-backend", "no-interface", "no-room"]),
    ("drops --pcap ", [FILES]),
    ("drain ", SERVICES),
    ("drain [", SIX),
    (f"drain {SERVICE} ", BACKENDS),
    (f"drain --json {SERVICE} ", BACKENDS),
    ("drain 203.0.113.99:1/tcp ", []),
    (f"drain {SERVICE} {BACKENDS[0]} ", []),
    ("drain --", ["--all", "--wait", "--no-wait", "--deadline", "--json", "--root"]),
    ("undrain --a", ["--all"]),
    ("health ", HEALTH),
    ("block ", ["add", "remove", "list"]),
    ("block add 192.0.2.0/24 ", []),
    ("block add --", ["--for", "--note", "--force", "--json", "--root"]),
    ("block add --for 1h --fo", ["--force"]),
    ("reload --max-disruption ", []),
    ("log --service ", SERVICES),
    (f"log --service {SERVICE} --backend ", BACKENDS),
    (
        "log --",
        [
            "--follow",
            "--service",
            "--backend",
            "--peer",
            "--since",
            "--until",
            "--outcome",
            "--probes",
            "--events",
            "--kind",
            *("--json", "--root"),
        ],
    ),
    (
        "log --probes --",
        ["--follow", "--service", "--backend", "--peer", "--since", "--until", "--outcome", "--json", "--root"],
    ),
    ("log -n 5 --follow --events --s", ["--service", "--since"]),
    ("reattach ", ["eth0", "eth1"]),
    ("balance ", ["eth0", "eth1"]),
    ("balance eth0 192.0.2.1 10.1.1.5 ", []),
    ("convert --interface eth0 --inter", ["--interface"]),
    ("convert --resolve --re", []),
    ("plan --against ", [FILES]),
    ("completion ", ["bash", "zsh", "fish"]),
    ("status ", SERVICES),
    ("status --", ["--all", "--json", "--root"]),
    ("top --interval ", []),
    ("log --peer ", PEERS),
    ("log --kind b", ["backend", "bgp", "bfd"]),
    ("bgp ", ["capture", *PEERS]),
    ("bgp c", ["capture"]),
    ("bgp capture ", PEERS),
    ("bgp --", ["--routes", "--pcap", "--seconds", "--json", "--root"]),
    ("bgp capture --pcap ", [FILES]),
]


@pytest.mark.parametrize(("line", "expected"), TABLE, ids=[row[0] or "nothing" for row in TABLE])
def test_offers(line: str, expected: list[str]) -> None:
    assert [value for value, _ in offers(VERBS, line.split(" "), known)] == expected


@pytest.mark.parametrize(
    "status", [None, [], {}, {"services": 7}, {"services": [7, {}], "interfaces": [{"name": None}]}]
)
@pytest.mark.parametrize("kind", [Names.SERVICE, Names.BACKEND, Names.INTERFACE, Names.PEER])
def test_a_status_of_another_version_names_nobody(status: Any, kind: Names) -> None:
    assert told(status, kind, "") == []


def test_every_verb_can_be_completed() -> None:
    for verb in VERBS:
        for words in ([verb.name, ""], [verb.name, "-"], [verb.name, "x", ""]):
            assert all(value for value, _ in offers(VERBS, words, known))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """Return a root that the commands of the test find through VC5_ROOT."""
    monkeypatch.setenv("VC5_ROOT", str(tmp_path))
    return paths.root(str(tmp_path))


async def status(_: Request) -> Any:
    """Answer with the sample."""
    return BODY


@pytest.fixture
def daemon(root: Root) -> Iterator[None]:
    with running(root.control_socket, {"status": status}):
        yield


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """Return a directory with the command in it."""
    directory = tmp_path / "commands"
    directory.mkdir()
    file = directory / "vc5"
    file.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m appliance "$@"\n')
    file.chmod(0o755)
    return directory


BASH = """
eval "$(vc5 completion bash)"
complete -p vc5
COMP_LINE=$1 COMP_POINT=${#1}
_vc5 vc5
printf '%s\\n' "${COMPREPLY[@]}"
"""
# Readline has its words end at colons, so only what comes after the last one is to be inserted.
IN_BASH = {
    "vc5 dra": ["drain"],
    "vc5 drain 203.0.113.10:4": ["443/tcp"],
    "vc5 drain 203.0.113.10:443/tcp 10.1.10.1": [one for one in BACKENDS if one.startswith("10.1.10.1")],
    "vc5 block add --f": ["--for", "--force"],
    "vc5 drain nothing": [""],
    "vc5 check ": [""],
}


def shell(program: list[str], command: Path) -> list[str]:
    """Run a shell that finds the command; return its lines."""
    environment = {**os.environ, "PATH": f"{command}:{os.environ['PATH']}"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("line", IN_BASH)
def test_in_bash(line: str, command: Path) -> None:
    found = shell(["bash", "--norc", "-c", BASH, "bash", line], command)
    assert found == ["complete -F _vc5 vc5", *IN_BASH[line]]


ZSH = """
compdef() { print -r -- "$@" }
compadd() { print -rl -- $values }
_files() { print -r -- files }
eval "$(vc5 completion zsh)"
words=(vc5 "$@") CURRENT=$(( $# + 1 ))
_vc5
"""
IN_ZSH = {
    ("dra",): ["drain"],
    ("drain", "203.0.113.10:4"): [SERVICE],
    ("block", "add", "--f"): ["--for", "--force"],
    ("check", ""): ["files"],
    ("drain", "nothing"): [],
}


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("words", IN_ZSH, ids=" ".join)
def test_in_zsh(words: tuple[str, ...], command: Path) -> None:
    assert shell(["zsh", "-f", "-c", ZSH, "zsh", *words], command) == ["_vc5 vc5", *IN_ZSH[words]]


IN_FISH = {
    "vc5 dra": ["drain"],
    "vc5 drain 203.0.113.10:4": [SERVICE],
    f"vc5 drain {SERVICE} 10.1.10.1": [one for one in BACKENDS if one.startswith("10.1.10.1")],
    "vc5 drain [2001": SIX,
    "vc5 block add --f": ["--for", "--force"],
    "vc5 --root {root} reattach ": ["eth0", "eth1"],
    "vc5 drain nothing": [],
    "vc5 completion ": ["bash", "zsh", "fish"],
    "vc5 check {place}/fi": ["{place}/file.yaml"],
    "vc5 check ": ["file.yaml", "other"],
}


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("line", IN_FISH)
def test_in_fish(line: str, command: Path, tmp_path: Path) -> None:
    """As the shell itself does it, `complete -C` being its Tab key for scripts; it sorts what it offers by itself."""
    place = tmp_path / "place"
    place.mkdir()
    for name in ("file.yaml", "other"):
        (place / name).touch()
    typed = line.format(place=place, root=tmp_path)
    program = f"cd {place}; vc5 completion fish | source; complete -C '{typed}'"
    # Without a home of its own it would write a history into the user's.
    found = shell(["env", f"HOME={tmp_path}", "fish", "--no-config", "-c", program], command)
    wanted = [one.format(place=place) for one in IN_FISH[line]]
    assert sorted(one.split("\t")[0] for one in found) == sorted(wanted)


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_fish_shows_what_words_mean(command: Path, tmp_path: Path) -> None:
    program = "vc5 completion fish | source; complete -C 'vc5 undra'"
    [found] = shell(["env", f"HOME={tmp_path}", "fish", "--no-config", "-c", program], command)
    assert found.split("\t") == ["undrain", next(verb.help for verb in VERBS if verb.name == "undrain")]


def test_without_a_daemon_there_are_no_names(root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash", "=drain", "="]) == 0
    assert main(["completion", "bash", "=--root", "=/nowhere", "=drain", "="]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("daemon")
def test_the_root_that_is_typed_counts(
    root: Root, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = os.environ["VC5_ROOT"]
    monkeypatch.setenv("VC5_ROOT", "/nowhere")
    assert main(["completion", "bash", "=--root", f"={directory}", "=reattach", "="]) == 0
    assert capsys.readouterr().out == "eth0\neth1\n"


def test_in_json(root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash", "=dra", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["drain"]
    assert main(["completion", "zsh", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"].startswith("#compdef vc5\n")
