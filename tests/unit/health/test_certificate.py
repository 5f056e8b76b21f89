"""Certificates: verified where that is asked for, their end reported, and files that are of no use."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.health.answer import Answer
from appliance.health.authorities import Authorities
from appliance.health.messages import MAX_AUTHORITY
from appliance.health.probes import certificate
from appliance.health.probes.certificate import DAY, expiry, remark
from appliance.health.probes.failure import ProbeNotSent
from appliance.model import Check, CheckKind, Outcome
from tests.profile import PARSER_INPUTS
from tests.unit.health.authority import certificate_of, self_signed, serving_with, signed
from tests.unit.health.servers import descriptors, probe, says, serving

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
HTTPS = Check(CheckKind.HTTPS, 443, timeout=5.0, verify=True, ca="/etc/ca.pem", host="www.example.test")
OK, WRONG = Outcome.OK, Outcome.WRONG


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(directory: Path) -> Path:
    return self_signed(directory / "authority.pem", 400)


@pytest.fixture(scope="module")
def server(directory: Path, authority: Path) -> Path:
    """A certificate for a name and the VIP of these tests."""
    return signed(directory, authority, "DNS:www.example.test,IP:203.0.113.10")


def ask(file: Path, check: Check, authority: str) -> Answer:
    async def run() -> Answer:
        async with serving(says(FINE), serving_with(file)) as port:
            return await probe(replace(check, port=port), authority=authority)

    before = descriptors()
    try:
        return asyncio.run(run())
    finally:
        assert descriptors() <= before


@pytest.mark.parametrize(
    ("change", "outcome", "words"),
    [
        ({}, OK, "HTTP 200"),
        ({"host": ""}, OK, "HTTP 200"),
        ({"host": "203.0.113.10:443"}, OK, "HTTP 200"),
        ({"host": "other.example.test"}, WRONG, "TLS: certificate refused: Hostname mismatch.*other.example.test.*"),
        ({"host": "203.0.113.11"}, WRONG, "TLS: certificate refused: IP address mismatch.*203.0.113.11.*"),
        ({"ca": ""}, WRONG, "TLS: certificate refused: unable to get local issuer certificate"),
        ({"expiry_warning": 31}, OK, "HTTP 200, certificate expires in 29 days"),
        ({"expiry_warning": 29}, OK, "HTTP 200"),
        ({"verify": False, "expiry_warning": 99}, OK, "HTTP 200, certificate expires in 29 days"),
    ],
)
def test_verification(authority: Path, server: Path, change: dict[str, object], outcome: Outcome, words: str) -> None:
    check = replace(HTTPS, **change)  # type: ignore[arg-type]
    answer = ask(server, check, certificate_of(authority) if check.ca else "")
    assert (answer.outcome, bool(re.fullmatch(words, answer.diagnostic))) == (outcome, True), answer
    if outcome is OK:
        assert abs(answer.certificate_expires - datetime.now(UTC).timestamp() - 30 * DAY) < 600


def test_a_certificate_of_somebody_else(directory: Path, authority: Path) -> None:
    stranger = self_signed(directory / "stranger.pem", names="DNS:www.example.test")
    answer = ask(stranger, HTTPS, certificate_of(authority))
    assert (answer.outcome, answer.diagnostic) == (WRONG, "TLS: certificate refused: self-signed certificate")


def test_an_expired_certificate(directory: Path, authority: Path) -> None:
    expired = signed(directory, authority, "DNS:www.example.test", days=-3)
    answer = ask(expired, HTTPS, certificate_of(authority))
    assert (answer.outcome, answer.diagnostic) == (WRONG, "TLS: certificate refused: certificate has expired")
    answer = ask(expired, replace(HTTPS, verify=False), "")
    assert (answer.outcome, answer.diagnostic) == (OK, "HTTP 200, certificate expired 3 days ago")


def test_a_file_of_no_use_says_nothing_of_a_backend(server: Path) -> None:
    with pytest.raises(ProbeNotSent, match=r"the file of certificates /etc/ca.pem cannot be read"):
        ask(server, HTTPS, "")
    with pytest.raises(ProbeNotSent, match=r"the file of certificates /etc/ca.pem is of no use: .+"):
        ask(server, HTTPS, "garbage")


def test_the_end_is_what_python_reads(authority: Path, server: Path) -> None:
    context = ssl.create_default_context(cadata=certificate_of(authority))
    [read] = context.get_ca_certs()
    der = ssl.PEM_cert_to_DER_cert(certificate_of(authority))
    assert expiry(der) == ssl.cert_time_to_seconds(str(read["notAfter"]))


def element(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = bytes((len(content),)) if len(content) < 128 else b"\x82" + len(content).to_bytes(2)
    return bytes((tag,)) + size + content


def certificate_until(tag: int, moment: bytes, version: bytes = element(0xA0, b"\2\1\2")) -> bytes:
    validity = element(0x30, element(tag, b"200101000000Z"), element(tag, moment))
    inside = (version, element(2, b"\1"), element(0x30, b"\0" * 200), element(0x30), validity, element(0x30))
    return element(0x30, element(0x30, *inside))


@pytest.mark.parametrize(
    ("der", "year"),
    [
        (certificate_until(0x17, b"491231235959Z"), 2049),
        (certificate_until(0x17, b"500101000000Z"), 1950),
        (certificate_until(0x18, b"20500101000000Z"), 2050),
        (certificate_until(0x18, b"20500101000000Z", version=b""), 2050),
        (certificate_until(0x18, b"99991231235959Z"), 9999),
    ],
)
def test_both_forms_of_time(der: bytes, year: int) -> None:
    found = certificate._expiry(der)
    assert datetime.fromtimestamp(found, UTC).year == year


@pytest.mark.parametrize(
    "der", [b"", b"\x30", certificate_until(0x17, b"5001"), certificate_until(4, b"500101000000Z")]
)
def test_what_cannot_be_read_is_not_known(der: bytes) -> None:
    assert expiry(der) == 0


@settings(max_examples=PARSER_INPUTS)
@given(st.binary(max_size=60), st.integers(0, 250), st.integers(0, 255))
def test_no_certificate_is_a_defect(rest: bytes, at: int, value: int) -> None:
    good = bytearray(certificate_until(0x17, b"491231235959Z"))
    good[at % len(good)] = value
    for der in (rest, bytes(good), bytes(good[:at]) + rest):
        expiry(der)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (14 * DAY, ""),
        (14 * DAY - 1, "certificate expires in 13 days"),
        (DAY, "certificate expires in 1 day"),
        (DAY - 1, "certificate expires in less than a day"),
        (0, "certificate expired less than a day ago"),
        (-DAY, "certificate expired 1 day ago"),
        (-30 * DAY, "certificate expired 30 days ago"),
    ],
)
def test_remarks(seconds: int, words: str) -> None:
    now = 1_800_000_000.0
    assert remark(int(now) + seconds, now, 14) == words
    assert remark(0, now, 14) == ""


def test_files_are_read_again_when_they_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, authorities = tmp_path / "ca.pem", Authorities()
    with caplog.at_level(logging.WARNING):
        assert authorities.text(str(file)) == ""
        assert authorities.text(str(file)) == ""
        assert [record.getMessage() for record in caplog.records] == [
            f"the certificates in {file} cannot be used: no such file or directory; checks that need them do not run"
        ]
        file.write_text("one")
        assert authorities.text(str(file)) == "one"
        file.write_text("three")
        assert authorities.text(str(file)) == "three"
        os.truncate(file, MAX_AUTHORITY + 1)
        assert authorities.text(str(file)) == ""
        assert authorities.text(str(tmp_path)) == ""
    assert [record.getMessage().split(": ")[1] for record in caplog.records[1:]] == [
        f"it has more than {MAX_AUTHORITY} bytes; checks that need them do not run",
        "it is no regular file; checks that need them do not run",
    ]
