"""What `vc5 top` shows: rates from two snapshots, frames of every size, and what keys do to a view."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.cli.tables import SGR, Screen, width
from appliance.cli.top_keys import FILTER_LONGEST, HELP, Sort, View, keys, listed, measure, place, pressed
from appliance.cli.top_rates import DROPS, Reading, as_json, reading, restarted
from appliance.cli.top_view import frame, page, rate
from appliance.dataplane.enums import Reason
from appliance.errors import ControlError
from tests.profile import PARSER_INPUTS
from tests.unit.cli.snapshots import pair, snapshot

GOLDEN = Path(__file__).parent / "golden"
SHOP = "203.0.113.4:443/tcp"
GONE = "no answer for 12s, asking on: /run/vc5/control.sock: no vc5 daemon answers here; start it with `vc5 run`"


def many() -> Reading:
    """Return the reading of 2,000 backends."""
    return reading(*pair(2000))


SAMPLES: dict[str, Callable[[Screen, int | None], list[str]]] = {
    "top_0": lambda to, height: frame(reading(*pair(0)), View(), to, height),
    "top_1": lambda to, height: frame(reading(*pair(1)), View(), to, height),
    "top_2000": lambda to, height: frame(many(), View(), to, height),
    "top_service": lambda to, height: frame(many(), View(opened=SHOP, sort=Sort.ACTIVE), to, height),
    "top_backends": lambda to, height: frame(many(), View(flat=True, wanted="10.1.7"), to, height, GONE, blocks=False),
    "top_help": lambda to, height: frame(reading(None, pair(2000)[1]), View(help=True), to, height),
}


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (140, 30)])
@pytest.mark.parametrize("name", SAMPLES)
def test_frames_look_as_agreed(name: str, columns: int, lines: int) -> None:
    made = SAMPLES[name](Screen(columns), lines)
    assert "\n".join(made) + "\n" == GOLDEN.joinpath(f"{name}_{columns}.txt").read_text(encoding="utf-8")
    assert len(made) == lines
    painted = SAMPLES[name](Screen(columns, colour=True), lines)
    assert [SGR.sub("", line) for line in painted] == made, "colours change nothing but colours"


@pytest.mark.parametrize("name", SAMPLES)
def test_a_frame_fits_every_screen(name: str) -> None:
    for columns in range(72, 240, 7):
        for lines in (8, 9, 24, 61):
            made = SAMPLES[name](Screen(columns), lines)
            assert len(made) == lines
            assert max(map(width, made)) <= columns


def test_without_a_screen_all_lines_are_printed() -> None:
    made = frame(many(), View(), Screen(), None)
    assert [line.service for line in many().services if not any(f"  {line.service} " in row for row in made)] == []
    assert not any(line.startswith(">") for line in made)


# ---- rates


def test_rates_are_differences_by_the_second() -> None:
    before, after = pair(1)
    before["services"][0][7:9] = [[1000, 2000, 30, 4], [["10.1.0.11", 1, 1, 3, None, 0, 1000, 2000, 30, 4]]]
    after["services"][0][7:9] = [[1500, 4000, 36, 4], [["10.1.0.11", 1, 1, 3, 9, 0, 1500, 4000, 36, 4]]]
    found = reading(before, after)
    [line] = found.services
    assert (line.packets, line.bits, line.flows, line.drops, line.active) == (250.0, 8000.0, 3.0, 0.0, 9)
    [backend] = found.backends[line.service]
    assert (backend.packets, backend.bits, backend.flows, backend.drops, backend.active) == (250.0, 8000.0, 3.0, 0.0, 9)
    assert found.total("packets") == 250.0
    assert found.interval == 2.0


def test_counters_that_begin_anew_have_no_rate_for_once() -> None:
    before, after = pair(1)
    after["services"][0][7][0] = 3
    after["services"][0][8][0][6] = 3
    found = reading(before, after)
    assert found.services[0].packets is None
    assert found.backends[found.services[0].service][0].packets is None
    assert "?" in "\n".join(frame(found, View(), Screen(100), 24))


def test_what_is_new_and_what_is_gone() -> None:
    one, many_ = pair(1)[0], pair(2000)[1]
    found = reading(one, many_)
    assert [line.packets is None for line in found.services[:2]] == [False, True]
    assert len(reading(many_, one).services) == 1


@pytest.mark.parametrize("step", [0.0, -3600.0])
def test_a_clock_that_stands_or_goes_back_gives_no_rates(step: float) -> None:
    before, after = pair(1)
    after["time"] = before["time"] + step
    found = reading(before, after)
    assert found.interval is None
    assert found.services[0].packets is None


STATES = [((1, 1), "up"), ((1, 0), "aside"), ((0, 1), "kept"), ((0, 0), "down")]


@pytest.mark.parametrize(("flags", "state"), STATES)
def test_how_a_backend_is(flags: tuple[int, int], state: str) -> None:
    before, after = pair(1)
    after["services"][0][8][0][1:3] = flags
    found = reading(before, after)
    assert found.backends[found.services[0].service][0].state == state


def test_only_packets_that_end_are_drops() -> None:
    assert {str(Reason.NO_BACKEND), str(Reason.TTL), str(Reason.BLOCKED), str(Reason.DEAD)} <= DROPS
    assert not {str(Reason.NOT_VIP), str(Reason.PROBE_SENT), str(Reason.ECHO), str(Reason.RETURN)} & DROPS
    assert many().dropped == {"unknown-port": 30.0, "no-backend": 1.0}


def test_another_process_is_told_from_a_corrected_clock() -> None:
    before, after = pair(1)
    assert not restarted(before, after)
    assert not restarted(before, {**after, "started": after["started"] + 0.5})
    assert restarted(before, {**after, "started": after["started"] + 60})


@pytest.mark.parametrize("wrong", [None, [], 7, {}, {"services": 1}, {**snapshot(1, 9.0), "services": [[1, 2]]}])
def test_what_is_no_snapshot_is_refused(wrong: Any) -> None:
    with pytest.raises(ControlError, match="of one version"):
        reading(None, wrong)


def test_every_part_of_a_snapshot_may_be_missing() -> None:
    for name in snapshot(1, 9.0):
        wrong = snapshot(1, 9.0)
        del wrong[name]
        try:
            reading(copy.deepcopy(wrong), wrong)
        except ControlError:
            continue
        assert name in ("abi", "compat", "backends", "probes")


def test_alarms_are_said() -> None:
    found = replace(many(), frozen=True, prober=False, isolated=True, drained=True)
    text = "\n".join(frame(found, View(), Screen(140), 24))
    assert [one for one in ("health FROZEN", "prober GONE", "cut off", "node is DRAINED") if one not in text] == []


def test_names_cannot_write_on_the_terminal() -> None:
    before, after = pair(1)
    after["services"][0][1] = "\x1b[2J"
    after["version"] = "\x1b[2J"
    assert "\x1b" not in "\n".join(frame(reading(before, after), View(wanted="\x1b"), Screen(140), 24))


def test_json_has_the_rates() -> None:
    body = as_json(many())
    assert body["interval_s"] == 2.0
    assert len(body["services"]) == 100
    first = body["services"][0]
    assert first["packets_s"] == sum(one["packets_s"] for one in first["backends"])
    assert body["total"]["packets_s"] == sum(one["packets_s"] for one in body["services"])
    assert body["dropped_s"] == {"unknown-port": 30.0, "no-backend": 1.0}


RATES = [(None, "?"), (0.0, "0"), (0.04, "0.0"), (3.14, "3.1"), (9.97, "10"), (999.4, "999"), (12_345.0, "12.3k")]


@pytest.mark.parametrize(("number", "text"), RATES)
def test_rate(number: float | None, text: str) -> None:
    assert rate(number) == text


# ---- keys

BYTES = [
    (b"q", ["q"]),
    (b"\x1b", ["escape"]),
    (b"\x1b[A\x1bOB", ["up", "down"]),
    (b"\x1b[5~\x1b[6~\x1b[H\x1b[4~", ["page up", "page down", "home", "end"]),
    (b"\x1b[1;5A", ["up"]),
    (b"\x1b[15~x", ["x"]),
    (b"\r\n\x7f\x08", ["enter", "enter", "backspace", "backspace"]),
    ("ä登".encode(), ["ä", "登"]),
    (b"\xff\x00j", ["j"]),
]


@pytest.mark.parametrize(("data", "names"), BYTES)
def test_bytes_to_keys(data: bytes, names: list[str]) -> None:
    assert keys(data) == names


@pytest.mark.hypothesis
@settings(max_examples=PARSER_INPUTS)
@given(st.lists(st.binary(max_size=12) | st.sampled_from([one[0] for one in BYTES]), max_size=20))
def test_whatever_is_typed(typed: list[bytes]) -> None:
    found, view = FOUND, View()
    for data in typed:
        for key in keys(data):
            view = pressed(view, key, listed(found, view), 10)
            assert len(view.wanted) <= FILTER_LONGEST
    made = frame(found, view, Screen(100), 24)
    assert len(made) == 24
    assert not any("\x1b" in line for line in made)


FOUND = many()


def after(*names: str, view: View | None = None) -> View:
    """Return the view after some keys."""
    view = view or View()
    for name in names:
        view = pressed(view, name, listed(FOUND, view), 10)
    return view


def test_moving() -> None:
    lines = listed(FOUND, View())
    assert place(lines, after("down", "j", "up", "down")) == 2
    assert place(lines, after("page down")) == 10
    assert place(lines, after("page down", "k")) == 9
    assert place(lines, after("end")) == 99
    assert place(lines, after("end", "down", "page down")) == 99
    assert place(lines, after("end", "home", "up")) == 0


def test_the_selected_line_stays_selected_when_others_overtake_it() -> None:
    view = after("down", "down")
    assert view.selected is not None
    other = replace(view, sort=Sort.NAME)
    lines = listed(FOUND, other)
    assert lines[place(lines, other)].key == view.selected


def test_a_service_is_opened_and_left() -> None:
    first = listed(FOUND, View())[0].service
    opened = after("enter")
    assert opened.opened == first
    assert {line.service for line in listed(FOUND, opened)} == {first}
    for key in ("enter", "escape", "left", "backspace"):
        left = after(key, view=opened)
        assert (left.opened, left.selected) == ("", (first, ""))
    assert after("b", "down", "enter").opened


def test_sorting() -> None:
    view = View()
    for sort in [*list(Sort)[1:], Sort.PACKETS]:
        view = after("s", view=view)
        assert view.sort is sort
        values = [measure(line, sort) or 0 for line in listed(FOUND, view)]
        if sort is not Sort.NAME:
            assert values == sorted(values, reverse=True)


def test_filtering() -> None:
    view = after("/", *"SHOP-7")
    assert view.typing
    assert "filter: SHOP-7_" in frame(FOUND, view, Screen(80), 24)[-1]
    assert {line.name for line in listed(FOUND, view)} == {"shop-7", *(f"shop-7{one}" for one in range(10))}
    assert after("enter", view=view).wanted == "SHOP-7"
    assert after("backspace", "enter", view=view).wanted == "SHOP-"
    assert after("escape", view=view) == View()
    assert after("enter", "escape", view=view).wanted == ""
    assert after("q", view=view).wanted == "SHOP-7q"
    nothing = after("/", *"nowhere", "enter")
    assert "nothing has this in its name" in "\n".join(frame(FOUND, nothing, Screen(80), 24))


def test_help_names_every_key() -> None:
    for key in "qbs/? ":
        assert after(key) != View()
        name = {" ": "space"}.get(key, key)
        assert any(name == keys_ or name in keys_.split(", ") for keys_, _ in HELP)
    assert after("?").help
    assert after("?", "j") == View()
    assert after("?", "q").over
    assert after("q").over
    assert after(" ").paused
    assert after(" ", " ") == View()


def test_a_page_is_what_a_screen_shows() -> None:
    assert page(24) == 17
    assert page(1) == 1
