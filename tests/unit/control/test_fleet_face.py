"""The answer to request `fleet`: null without a fleet, all of it, or one service with its ranges."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.control.fleet_face import BRIEF, brief, handler
from appliance.control.socket import Peer, Request
from appliance.control.state import State
from appliance.errors import RequestError
from appliance.fleet.difference import Ranges
from appliance.fleet.status import FleetStatus
from appliance.model import ServiceKey
from tests.unit.control.sample import DNS, TLS, WEB, config, service
from tests.unit.fleet.fleets import RANGES, TROUBLED


class Face:
    """A fleet that writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def status(self, service: ServiceKey | None = None, most: int | None = None) -> FleetStatus:
        self.asked.append((service, most))
        return TROUBLED

    async def ranges(self, service: ServiceKey) -> tuple[Ranges, ...]:
        self.asked.append(service)
        return RANGES


def daemon(face: Face | None) -> Any:
    """A daemon as far as it is asked: a face, and services of which two have one name."""
    named = (service(WEB, 1, name="shop"), service(TLS, 1, name="twice"), service(DNS, 1, name="twice"))
    instance = SimpleNamespace(state=State(config(*named)))
    return SimpleNamespace(telling=SimpleNamespace(showing=SimpleNamespace(fleet=face)), instance=instance)


def ask(face: Face | None, **arguments: Any) -> Any:
    return asyncio.run(handler(daemon(face))(Request("fleet", arguments, Peer(0, 0, 0))))  # type: ignore[arg-type]


def test_without_a_fleet_there_is_nothing() -> None:
    assert ask(None) is None
    assert ask(None, service=str(WEB)) is None
    assert brief(daemon(None)) is None


def test_all_of_it_and_in_brief() -> None:
    face = Face()
    assert ask(face) == TROUBLED.as_json()
    assert brief(daemon(face)) == TROUBLED.as_json()
    assert face.asked == [(None, None), (None, BRIEF)]


@pytest.mark.parametrize("named", [str(WEB), "shop"])
def test_a_service_by_both_of_its_names(named: str) -> None:
    face = Face()
    assert ask(face, service=named) == TROUBLED.as_json(RANGES)
    assert sorted(face.asked, key=str) == sorted([WEB, (WEB, None)], key=str)


@pytest.mark.parametrize(
    ("named", "words"),
    [("twice", "the name of 2 services"), ("nothing", "is not a service"), (7, "otherwise than by a text")],
)
def test_what_is_no_service_is_refused(named: object, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        ask(Face(), service=named)
