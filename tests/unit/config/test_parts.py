"""A configuration of several files: what is joined, what contradicts, and that every issue names its own file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import config
from appliance.config import Source
from appliance.config.compose import MAX_CHARACTERS, MAX_NODES
from appliance.config.file import MAX_PARTS
from appliance.errors import ConfigError
from tests.unit.config.test_fuzz import PIECES, PROFILE
from tests.unit.config.test_issues import service


def issues(*texts: str) -> list[str]:
    """Return what is found in files a, b, c ... that make one configuration."""
    try:
        found = config.load_texts(list(zip("abcdef", texts, strict=False))).warnings
    except ConfigError as error:
        found = error.issues
    return [str(issue) for issue in found]


JOINED = [
    ("maps", ("idle: 1m\n", "rise: 3\n"), "idle: 1m\nrise: 3\n"),
    ("the same value", ("idle: 1m\n", "idle: 1m\n"), "idle: 1m\n"),
    ("lists", ("interfaces: [eth0]\n", "interfaces: [eth1]\n"), "interfaces: [eth0, eth1]\n"),
    ("a list and one item", ("interfaces: eth0\n", "interfaces: [eth1]\n"), "interfaces: [eth0, eth1]\n"),
    ("nothing before", ("services:\nidle:\n", "services: []\nidle: 5\n"), "idle: 5\n"),
    ("nothing after", ("idle: 5\n", "idle:\n"), "idle: 5\n"),
    ("an empty file", ("idle: 5\n", "# nothing\n", ""), "idle: 5\n"),
    ("an empty first file", ("", "idle: 5\n"), "idle: 5\n"),
    ("anchors of their own", ("idle: &a 5\n", "rise: &a 3\nfall: *a\n"), "idle: 5\nrise: 3\nfall: 3\n"),
    (
        "maps in maps",
        ("interfaces: e\nbgp: {as_number: 65001, peers: [10.1.1.1]}\n", "bgp: {med: 5, peers: [10.1.1.2]}\n"),
        "interfaces: e\nbgp: {as_number: 65001, med: 5, peers: [10.1.1.1, 10.1.1.2]}\n",
    ),
    (
        "services by files",
        (
            "interfaces: [eth0]\nservers: {web: [10.1.1.1]}\n",
            "services: [{virtual: 203.0.113.1, servers: web, policy: {http: }}]\n",
            "services: [{virtual: 203.0.113.2, servers: web, policy: {http: }}]\nservers: {web: [10.1.1.2]}\n",
        ),
        (
            "interfaces: [eth0]\nservers: {web: [10.1.1.1, 10.1.1.2]}\nservices:\n"
            "- {virtual: 203.0.113.1, servers: web, policy: {http: }}\n"
            "- {virtual: 203.0.113.2, servers: web, policy: {http: }}\n"
        ),
    ),
    (
        "a policy with and without a map",
        (service(policy="web"), "policy: {web: {http: }}\n", "policy: {web: {http: {need: 0}}}\n"),
        service(policy="{http: {need: 0}}"),
    ),
]


@pytest.mark.parametrize(("texts", "whole"), [case[1:] for case in JOINED], ids=[case[0] for case in JOINED])
def test_joined(texts: tuple[str, ...], whole: str) -> None:
    parts = [(f"file-{number}", text) for number, text in enumerate(texts)]
    assert config.load_texts(parts).config == config.load_text(whole, "whole").config


BAD: list[tuple[str, tuple[str, ...], list[str]]] = [
    (
        "two values",
        ("rise: 3\nidle: 1m\n", "mode: simple\nidle: 2m\n"),
        ["b:2:7: idle: another value than at line 2, column 7 of a (keep one of them; only lists and maps add up)"],
    ),
    (
        "a map and a list",
        ("bgp: {as_number: 5}\n", "bgp: [10.1.1.1]\n"),
        [
            (
                "b:1:6: bgp: cannot be joined with what is at line 1, column 6 of a: only one of them is a map "
                "(write both in the same way)"
            )
        ],
    ),
    (
        "mistakes in each",
        ("intervall: 3\n", "rise: 0\n", "fall: 0\nrises: 1\n"),
        [
            "a:1:1: intervall: there is no setting 'intervall' at the top level (did you mean interval?)",
            "b:1:7: rise: must be a whole number from 1 to 100, not '0'",
            "c:1:7: fall: must be a whole number from 1 to 100, not '0'",
            "c:2:1: rises: there is no setting 'rises' at the top level (did you mean rise?)",
        ],
    ),
    (
        "not a map",
        ("idle: 5\n", "- idle\n"),
        ["b:1:1: must be a map of settings, not a list"],
    ),
    ("no YAML", ("unknown: 5\n", "a: [\n"), ["b:2:1: not valid YAML"]),
    (
        "a service twice",
        (service(), service(servers="[10.1.1.6]").replace("interfaces: [eth0]\n", "")),
        [
            (
                "b:2:12: services[1].virtual: 203.0.113.1:80/tcp is defined twice; the first is at line 3, column 12 "
                "of a (remove one of them)"
            )
        ],
    ),
    (
        "an interface twice",
        ("interfaces: [eth0]\n", "interfaces: [eth0]\n"),
        ["b:1:14: interfaces[1]: eth0 is given twice (keep one)"],
    ),
    (
        "nothing for a value",
        ("idle: 5\n", "rise:\n"),
        ["b:1:1: rise: must be a whole number from 1 to 100, not nothing"],
    ),
    ("warnings", ("defcon: 5\n", "defcon: 5\nwebroot: x\n"), ["a:1:1: warning: defcon", "b:2:1: warning: webroot"]),
]


@pytest.mark.parametrize(("texts", "expected"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_issues_of_parts(texts: tuple[str, ...], expected: list[str]) -> None:
    found = issues(*texts)
    assert [one[: len(start)] for one, start in zip(found, expected, strict=True)] == expected


def test_a_secret_that_two_files_give_is_in_no_message() -> None:
    (issue,) = issues("bgp: {password: first}\n", "bgp: {password: second}\n")
    assert "first" not in issue
    assert "second" not in issue


def test_the_whole_is_bounded() -> None:
    half = "- \n" * (MAX_NODES // 2)
    many = issues(f"interfaces:\n{half}", f"interfaces:\n{half}")
    assert [one for one in many if "all files together have more than 500,000 values" in one]
    comment = "#" * (MAX_CHARACTERS // 2 + 1)
    assert issues(comment, comment) == ["a: all files together have more than 8 MiB"]


@PROFILE
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=20).map(" ".join), min_size=2, max_size=4))
def test_any_pieces_in_any_number_of_files(texts: list[str]) -> None:
    found = issues(*texts)
    assert all(one[0] in "abcdef"[: len(texts)] and one.isprintable() for one in found)


def written(directory: Path, **files: str) -> Source:
    """Write `main` and the parts; return where they are."""
    parts = directory / "conf.d"
    parts.mkdir()
    for name, text in files.items():
        (directory / "config.yaml" if name == "main" else parts / name.replace("_", ".")).write_text(text)
    return Source(directory / "config.yaml", parts)


def test_parts_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    source = written(tmp_path, main="interfaces: [a]", b_yaml="interfaces: [c]", a_yaml="interfaces: [b]")
    assert config.load(source).config.interfaces == ("a", "b", "c")
    assert config.load(source.file).config.interfaces == ("a",)


def test_other_files_are_no_parts(tmp_path: Path) -> None:
    source = written(tmp_path, main="idle: 5", a_yml="no", a_yaml_bak="no", readme="no")
    assert source.directory is not None
    (source.directory / ".hidden.yaml").write_text("no")
    assert config.load(source).config.idle == 5


def test_a_directory_that_is_not_there_adds_nothing(tmp_path: Path) -> None:
    source = written(tmp_path, main="idle: 5")
    assert config.load(Source(source.file, tmp_path / "nowhere")).config.idle == 5


def refusal(source: Source) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(source)
    (issue,) = caught.value.issues
    return str(issue)


def test_a_part_that_cannot_be_read_refuses_the_whole(tmp_path: Path) -> None:
    source = written(tmp_path, main="idle: 5", a_yaml="rise: 3")
    assert source.directory is not None
    part, hint = source.directory / "b.yaml", f"(move it away: every *.yaml in {source.directory} is read)"
    os.mkfifo(part)
    assert refusal(source) == f"{part}: is not a regular file {hint}"
    part.unlink()
    part.mkdir()
    assert refusal(source) == f"{part}: is a directory {hint}"
    part.rmdir()
    part.symlink_to("gone.yaml")
    assert refusal(source) == f"{part}: is a symbolic link to 'gone.yaml', where there is no file {hint}"
    part.unlink()
    part.write_bytes(b"\x7fELF\0\xff")
    assert refusal(source) == f"{part}: is a binary file, not a text {hint}"
    file = Source(source.file, source.file)
    assert refusal(file) == f"{source.file}: cannot be read: Not a directory (check the path and its permissions)"


def test_parts_are_bounded(tmp_path: Path) -> None:
    source = written(tmp_path, main="idle: 5", **{f"{n}_yaml": "" for n in range(MAX_PARTS + 1)})
    assert refusal(source) == f"{source.directory}: more than 1,000 files (join some of them)"
