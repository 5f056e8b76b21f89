"""YAML itself: syntax errors with their positions, anchors, bounds."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest

from appliance import config
from appliance.config.compose import MAX_CHARACTERS, MAX_DEPTH, MAX_NODES
from appliance.config.findings import MAX_ISSUES
from appliance.errors import ConfigError
from tests.unit.config.test_issues import found

SYNTAX = [
    ("tab", "services:\n\t- a: 1\n", "f:2:1:", "YAML does not allow tabs here; indent with blanks"),
    ("unclosed bracket", "interfaces: [eth0\nidle: 1s\n", "f:2:5:", "a bracket is not closed, or a comma is missing"),
    ("unclosed quote", "mode: 'simple\n", "f:2:1:", "a quote or a bracket is not closed"),
    ("colon in a text", "mode: a: b\n", "f:1:8:", "a text that contains ': ' needs quotes"),
    ("star in front", "services:\n- virtual: *\n", "f:2:13:", "a text that begins with * or & needs quotes"),
    ("at in front", "mode: @x\n", "f:1:7:", "a text that begins with %, @ or ` needs quotes"),
    ("indentation", "services:\n- virtual: a\n   servers: b\n", "f:3:11:", "check the indentation"),
    ("unknown alias", "mode: *simple\n", "f:1:7:", "refers to an anchor that does not exist"),
    ("alias of itself", "services: &a [*a]\n", "f:1:15:", "refers to the collection that it stands in"),
    ("tag", "rise: !!int 3\n", "f:1:7:", "the tag 'tag:yaml.org,2002:int' has no meaning here"),
    ("python tag", "mode: !!python/object/apply:os.system [id]\n", "f:1:7:", "has no meaning here"),
    ("two documents", "rise: 3\n---\nrise: 4\n", "f:2:1:", "a second document begins here"),
    ("list as key", "[a, b]: c\n", "f:1:1:", "a key must be a text"),
    ("map as key", "services: [{virtual: {{ vip }}}]\n", "f:1:23:", "a key must be a text"),
    ("alias to a list as key", "interfaces: &a [x]\n*a : 1\n", "f:2:1:", "a key must be a text"),
    ("control character", "rise: 3\nmode: \x07\n", "f:2:7:", "unprintable character '\\x07'"),
    ("null character", "a\x00b\n", "f:1:2:", "unprintable character '\\x00'"),
    ("lone surrogate", "a: \ud800\n", "f:1:4:", "unprintable character '\\ud800'"),
    ("end inside a bracket", "services: [", "f:1:12:", "a bracket is not closed, or a value is missing"),
    ("end inside a key", "rise: 3\n*first", "f:2:7:", "could not find expected ':'"),
    (
        "IPv6 address with colons in front",
        "block: [::1/128, a]\n",
        "f:1:9:",
        "begins or ends with a colon needs quotes",
    ),
    (
        "IPv6 address with colons behind",
        "virtual: [2001:db8::]\n",
        "f:1:20:",
        "begins or ends with a colon needs quotes",
    ),
    ("IPv6 address as a key", "virtual: 2001:db8::\n", "f:1:19:", "begins or ends with a colon needs quotes"),
    ("IPv6 address in brackets", "host: [2001:db8::1]:80\n", "f:1:20:", "an IPv6 address in brackets needs quotes"),
    ("IPv6 address in brackets, marked", "- virtual: [2001:db8::1]*\n", "f:1:26:", "in brackets needs quotes"),
    ("no blank after a colon", "interfaces:eth0\nrise: 3\n", "f:2:5:", "a blank is missing after the colon in line 1"),
    ("no blank after a dash", "services:\n-virtual: a\n servers: b\n", "f:3:9:", "after the dash in line 2"),
    ("an address with a port above", "- a:80\n- 10.1.1.5:80\n b: c\n", "f:3:3:", "check the indentation"),
    ("indented too far", "interfaces: eth0\n rise: 3\n", "f:2:6:", "check the indentation"),
    ("two versions", "<<<<<<< HEAD\nrise: 3\n=======\nrise: 4\n>>>>>>> x\n", "f:2:5:", "line 1 is left over"),
    ("no-break space", "mode:\u00a0simple\nrise: 3\n", "f:2:5:", "line 1 has an invisible character, U+00A0 (no-break"),
    ("statement of a template", "services:\n{% for v in vips %}\n", "f:2:2:", "this looks like a template"),
    ("expression of a template", "services: [{virtual: ${VIP}}]\n", "f:1:23:", "this looks like a template"),
    ("text after the end", "rise: 3\n...\nfall: 4\n", "f:3:1:", "the line `...` ends the document"),
    ("another YAML", "%YAML 3.0\n---\nrise: 3\n", "f:1:1:", "remove the line that begins with %YAML"),
    ("merge of a text", "<<: a\n", "f:1:1:", "a merge takes a map"),
    ("merge of a list of texts", "<<: [a]\n", "f:1:1:", "a merge takes a map"),
]


@pytest.mark.parametrize(("text", "where", "words"), [case[1:] for case in SYNTAX], ids=[case[0] for case in SYNTAX])
def test_syntax(text: str, where: str, words: str) -> None:
    (issue,) = found(text)
    assert str(issue).startswith(where), str(issue)
    assert words in str(issue)


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n", "---\n", "--- {}\n", "null\n", "~", "\ufeff", "{}"])
def test_an_empty_document_is_the_empty_configuration(text: str) -> None:
    assert config.load_text(text, "f") == config.Loaded(config.load_text("{}", "f").config)


@pytest.mark.parametrize("name", ["interfaces", "services", "servers", "policy"])
def test_an_empty_collection_may_be_nothing(name: str) -> None:
    assert found(f"{name}:\n") == ()


def test_a_byte_order_mark_moves_no_column() -> None:
    (issue,) = found("\ufeffrise: 0\n")
    assert (issue.line, issue.column) == (1, 7)


def nested(depth: int) -> str:
    return "a: " + "[" * depth + "]" * depth


def bomb(levels: int) -> str:
    """Ten aliases a level: 10 ** levels values in a few lines."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def merge_bomb(maps: int) -> str:
    keys = ", ".join(f"k{n}: 1" for n in range(1000))
    return f"base: &b {{{keys}}}\nmaps:\n" + "- <<: *b\n" * maps


LIMITS = [
    ("nesting", nested(MAX_DEPTH), f"nested more than {MAX_DEPTH} deep"),
    ("deep nesting", nested(100_000), "nested more than"),
    ("deep block nesting", "".join(" " * n + "a:\n" for n in range(2000)), "nested more than"),
    ("unclosed nesting", "[" * 200_000, "nested more than"),
    ("alias bomb", bomb(40), "aliases make this larger than"),
    ("merge bomb", merge_bomb(1000), f"more than {MAX_NODES:,} values"),
    ("values", "- \n" * (MAX_NODES + 1), f"more than {MAX_NODES:,} values"),
    ("characters", "#" * (MAX_CHARACTERS + 1), "more than 8 MiB"),
]


@pytest.mark.parametrize(("text", "words"), [case[1:] for case in LIMITS], ids=[case[0] for case in LIMITS])
def test_limits(text: str, words: str) -> None:
    (issue,) = found(text)
    assert words in issue.message
    assert issue.code == "limit"


def test_issues_are_bounded() -> None:
    issues = found("".join(f"unknown{n}: 1\n" for n in range(20_000)))
    assert len(issues) == MAX_ISSUES + 1
    assert issues[-1].message == f"more than {MAX_ISSUES} issues; the rest is left out"


def test_the_product_of_vips_and_ports_is_bounded() -> None:
    vips = ", ".join(f"203.0.{n // 200}.{n % 200 + 1}" for n in range(1000))
    ports = ", ".join(f"{n}: " for n in range(1, 1001))
    (issue,) = found(f"interfaces: e\nservices:\n- {{virtual: [{vips}], servers: [10.1.1.1], policy: {{{ports}}}}}\n")
    assert issue.message == "more than 10,000 services, counted as VIPs times ports"


def test_mapped_ports_are_bounded() -> None:
    servers = ", ".join(f"10.1.{n // 250}.{n % 250 + 1}" for n in range(1000))
    ports = ", ".join(f"{n}: {n + 20_000}" for n in range(1, 101))
    entry = f"{{virtual: 203.0.113.1, servers: [{servers}], policy: {{{ports}}}, forward: nat}}"
    (issue,) = found(f"interfaces: e\nservices:\n- {entry}\n")
    assert issue.message == "more than 65,535 backends with mapped ports"


def load_issues(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    return [str(issue).removeprefix(str(path)) for issue in caught.value.issues]


def test_files(tmp_path: Path) -> None:
    good = tmp_path / "good.yaml"
    good.write_bytes(b"\xef\xbb\xbfrise: 3\r\ninterfaces: eth0\r\n")
    assert config.load(good).config.interfaces == ("eth0",)

    latin = tmp_path / "latin.yaml"
    latin.write_bytes("rise: 3\n# ä".encode() + b"\xe4\n")
    hint = "(convert the file, for example with `iconv -f latin1 -t utf-8`)"
    assert load_issues(latin) == [f":2:4: the byte 0xe4 is not UTF-8 {hint}"]

    assert load_issues(tmp_path / "none.yaml") == [": does not exist (name a configuration file)"]
    assert load_issues(tmp_path) == [": is a directory (name a configuration file)"]
    assert load_issues(Path("/dev/zero")) == [": is not a regular file (name a configuration file)"]
    assert load_issues(good / "below") == [": does not exist (name a configuration file)"]
    assert load_issues(Path("a\x00b")) == [": does not exist (name a configuration file)"]
    assert load_issues(tmp_path / ("x" * 300)) == [
        ": cannot be read: File name too long (check the path and its permissions)"
    ]

    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    nowhere = "where there is no file (name a configuration file)"
    assert load_issues(loop) == [f": is a symbolic link to 'loop', {nowhere}"]
    broken = tmp_path / "broken"
    broken.symlink_to("/nowhere/x\x1b")
    assert load_issues(broken) == [f": is a symbolic link to '/nowhere/x\\x1b', {nowhere}"]

    giant = tmp_path / "giant.yaml"
    with giant.open("wb") as file:
        file.truncate(1 << 40)
    assert load_issues(giant) == [": more than 8 MiB; this is no configuration file"]


ENCODED = "rise: 0\n# ä\n"
HINT = "(convert the file, for example with `iconv -f {0} -t utf-8`)"
UTF = f": the text is {{1}}, not UTF-8 {HINT}"
BYTES: dict[str, tuple[bytes, str]] = {
    "UTF-16 with a mark": (ENCODED.encode("utf-16"), UTF.format("utf-16", "UTF-16")),
    "UTF-16 of the other order": (codecs.BOM_UTF16_BE + ENCODED.encode("utf-16-be"), UTF.format("utf-16", "UTF-16")),
    "UTF-16LE": (ENCODED.encode("utf-16-le"), UTF.format("utf-16le", "UTF-16LE")),
    "UTF-16BE": (ENCODED.encode("utf-16-be"), UTF.format("utf-16be", "UTF-16BE")),
    "UTF-32": (ENCODED.encode("utf-32"), UTF.format("utf-32", "UTF-32")),
    "a mark alone": (codecs.BOM_UTF16_LE, UTF.format("utf-16", "UTF-16")),
    "Latin-1": (ENCODED.encode("latin1"), f":2:3: the byte 0xe4 is not UTF-8 {HINT.format('latin1')}"),
    "a program": (b"\x7fELF\x02\x01\0\0\xd0", ": is a binary file, not a text (name a configuration file)"),
    "a zero in a text": (b"rise: 3\0\n", ":1:8: unprintable character '\\x00' (write plain UTF-8 text)"),
    "two zeros": (b"\0\0", ":1:1: unprintable character '\\x00' (write plain UTF-8 text)"),
}


@pytest.mark.parametrize(("data", "issue"), BYTES.values(), ids=BYTES)
def test_what_is_no_utf_8(data: bytes, issue: str, tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_bytes(data)
    assert load_issues(file) == [issue]


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert load_issues(tmp_path / "fifo") == [": is not a regular file (name a configuration file)"]
