"""The words of `vc5 balance`: what it reads, what it says to mistakes. Whether it balances, tests/netns tells."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.balancer import Balancer
from appliance.cli.balance import obey
from appliance.cli.balance_text import backend, service_key
from appliance.cli.main import main
from appliance.errors import RequestError, Vc5Error
from appliance.model import Backend, Config, ServiceKey

WEB = ServiceKey.parse("203.0.113.10:80/tcp")
CLOSED = Balancer(Config(("eth0",)))
"""Never opened: whatever is a command is refused as well, but by the library."""

KEYS = [
    ("203.0.113.10", "203.0.113.10:80/tcp"),
    ("203.0.113.10:443", "203.0.113.10:443/tcp"),
    ("203.0.113.10:53/udp", "203.0.113.10:53/udp"),
    ("2001:db8::1", "[2001:db8::1]:80/tcp"),
    ("[2001:db8::1]:443", "[2001:db8::1]:443/tcp"),
]


@pytest.mark.parametrize(("text", "key"), KEYS)
def test_services(text: str, key: str) -> None:
    assert str(service_key(text)) == key


BACKENDS = [
    (("10.1.1.5",), Backend(ip_address("10.1.1.5"), 1)),
    (("10.1.1.5=3",), Backend(ip_address("10.1.1.5"), 3)),
    (("10.1.1.5", "0"), Backend(ip_address("10.1.1.5"), 0)),
    (("2001:db8::5=100",), Backend(ip_address("2001:db8::5"), 100)),
]


@pytest.mark.parametrize(("words", "read"), BACKENDS)
def test_backends(words: tuple[str, ...], read: Backend) -> None:
    assert backend(*words) == read


WRONG = [
    ("10.1.1.5=",),
    ("10.1.1.5=x",),
    ("10.1.1.5=-1",),
    ("10.1.1.5=1000",),
    ("10.1.1.5", "\u0663"),
    ("10.1.1.5=1", "2"),
    ("10.1.1",),
    ("",),
    ("shop.example.com",),
]


@pytest.mark.parametrize("words", WRONG)
def test_no_backends(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"no weight|IPv4"):
        backend(*words)


COMMANDS = ["dance", "add", "add a b c", "weight", "weight a", "remove", "remove a b", "list all", "stats stats"]


@pytest.mark.parametrize("line", COMMANDS)
def test_no_commands(line: str) -> None:
    with pytest.raises(RequestError) as refused:
        obey(CLOSED, WEB, line.split())
    assert str(refused.value).startswith(f"'{line}' is no command; write one of: add ADDRESS [WEIGHT], ")


def test_an_empty_line_is_nothing() -> None:
    assert obey(CLOSED, WEB, []) == []


@pytest.mark.parametrize(
    "line", ["add 10.1.1.5", "weight 10.1.1.5 3", "remove 10.1.1.5", "remove 10.1.1.5 cut", "list"]
)
def test_what_is_not_open_is_said(line: str) -> None:
    with pytest.raises(Vc5Error):
        obey(CLOSED, WEB, line.split())


@given(st.lists(st.one_of(st.text(), st.sampled_from(["add", "weight", "remove", "cut", "list", "10.1.1.5", "3"]))))
def test_any_line_is_obeyed_or_refused(words: list[str]) -> None:
    with suppress(Vc5Error, ValueError):
        obey(CLOSED, WEB, words)


USAGE = [
    (["balance"], "the following arguments are required: interface, vip"),
    (["balance", "eth0", "shop"], "vc5: balance: 'shop/tcp' is not a service; write VIP:PORT/tcp or VIP:PORT/udp"),
    (["balance", "eth0", "203.0.113.10:0"], "port 0 is not between 1 and 65535"),
    (["balance", "eth0", "203.0.113.10", "10.1.1.5=x"], "vc5: balance: 'x' is no weight of 10.1.1.5"),
    (["balance", "eth0", "203.0.113.10", "10.1.1"], "vc5: balance: '10.1.1' does not appear to be an IPv4"),
]


@pytest.mark.parametrize(("arguments", "text"), USAGE, ids=[" ".join(row[0]) for row in USAGE])
def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str], arguments: list[str], text: str) -> None:
    assert main(arguments) == 2
    assert text in capsys.readouterr().err
