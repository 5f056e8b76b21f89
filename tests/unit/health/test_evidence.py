"""The words of the examiner: what is written is read again, and nothing else is believed."""

from __future__ import annotations

import json
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.health.evidence import (
    Evidence,
    Examinee,
    Reply,
    decode_evidence,
    decode_examinees,
    encode_evidence,
    encode_examinees,
)
from appliance.health.quoted import Refusal
from appliance.model import Address, Protocol
from tests.profile import PARSER_INPUTS

addresses = st.ip_addresses()


def of(vips: st.SearchStrategy[Address]) -> st.SearchStrategy[Examinee]:
    """Examinees with VIPs, and private addresses, of one family."""
    return st.builds(
        Examinee,
        number=st.integers(0, 1 << 32),
        vip=vips,
        port=st.integers(1, 65535),
        protocol=st.sampled_from(Protocol),
        backend=addresses,
        arrival=st.integers(1, 65535),
        nat=vips,
        size=st.integers(0, 65535),
        tunnel=st.sampled_from(["", "ipip", "gue"]),
        tunnel_port=st.integers(0, 65535),
        ask=st.binary(max_size=20),
    )


examinees = of(st.ip_addresses(v=4)) | of(st.ip_addresses(v=6))
seen = st.builds(
    Evidence,
    number=st.integers(0, 1 << 32),
    vip=st.sampled_from(Reply),
    vip_refusal=st.none() | st.sampled_from(Refusal),
    own=st.sampled_from(Reply),
    own_refusal=st.none() | st.sampled_from(Refusal),
    stray=st.none() | addresses,
    outer=st.none() | st.sampled_from(Refusal),
    full=st.integers(0, 65535),
    passed=st.integers(0, 65535),
    narrow=st.integers(0, 65535),
    narrow_by=st.none() | addresses,
    trouble=st.text("abc é", max_size=40),
)
ONE = Examinee(
    1, ip_address("203.0.113.10"), 80, Protocol.TCP, ip_address("10.1.10.11"), 80, ip_address("10.0.0.1"), 1500
)


@given(st.lists(examinees, max_size=4))
def test_examinees_are_read_as_they_were_written(found: list[Examinee]) -> None:
    assert decode_examinees(encode_examinees(found)) == found


@given(st.lists(seen, max_size=4))
def test_evidence_is_read_as_it_was_written(found: list[Evidence]) -> None:
    assert decode_evidence(encode_evidence(found)) == found


def changed(encoded: bytes, **values: Any) -> bytes:
    """One item with other values; None as a name's value leaves it out."""
    [item] = json.loads(encoded)
    return json.dumps([{**item, **values}]).encode()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"number": -1}, "number"),
        ({"vip": "maybe"}, "is no reply"),
        ({"vip": []}, "is no reply"),
        ({"outer": "because"}, "is no refusal"),
        ({"stray": "10.1.10"}, "is not an IP address"),
        ({"own_echo": 1}, "neither true nor false"),
        ({"trouble": "x" * 500}, "not a text"),
        ({"more": 1}, "exactly the keys"),
    ],
    ids=str,
)
def test_other_evidence_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decode_evidence(changed(encode_evidence([Evidence(0)]), **values))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"nat": "fd76:6335::1"}, "not of the VIP's family"),
        ({"protocol": 5}, "5 is not a valid"),
        ({"ask": "zz"}, "non-hexadecimal"),
        ({"port": 0}, "port"),
    ],
    ids=str,
)
def test_other_examinees_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decode_examinees(changed(encode_examinees([ONE]), **values))


def test_what_an_examiner_says_forges_no_line() -> None:
    [found] = decode_evidence(changed(encode_evidence([Evidence(0)]), trouble="no\nroute\x1b[2J"))
    assert found.trouble == r"no\nroute\x1b[2J"


@settings(max_examples=PARSER_INPUTS)
@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner)).map(json.dumps).map(str.encode)
)
def test_any_bytes_are_refused_in_words(line: bytes) -> None:
    for decode in (decode_evidence, decode_examinees):
        with suppress(ValueError):
            assert decode(line) == []
