"""What the console shows where a fleet does not agree: connections that are not known, backends voted out."""

from __future__ import annotations

from tests.web.conftest import Show
from tests.web.test_page import shown


def test_connections_that_are_not_known_are_shown_with_what_had_happened(show: Show) -> None:
    replay, page = show(backends=3, part="interfaces")
    shown(page, "#misroutes-count", "412 connections")
    shown(page, "#misroutes-body tr:first-child", "10.1.0.1 established with AS 65000")
    shown(page, "#misroutes-body tr:first-child", "17.55/s")
    shown(page, "#misroutes-body tr:nth-child(2)", "26")
    overview = replay.picture.overview()
    overview["misroutes"] = {"total": 0, "per_second": 0, "causes": {"idle": 0}, "happenings": []}
    replay.send("overview", overview)
    page.wait("nothing to tell", "document.getElementById('misroutes').hidden")


def test_what_other_nodes_have_taken_out_is_said(show: Show) -> None:
    replay, page = show(backends=3)
    frame = replay.picture.kill(0, 1, "", "up")
    replay.picture.services[0]["backends"][1] |= {"state": "dead", "taken_out_by": "quorum: 2 of 3 nodes say down"}
    replay.send("services", frame)
    page.click(".row.backend.dead")
    shown(page, "#details-facts", "Taken out of service")
    shown(page, "#details-facts", "2 of 3 nodes say down")
