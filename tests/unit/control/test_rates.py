"""Rates between statuses: those of two seconds ago at least and a minute at most."""

from __future__ import annotations

from ipaddress import ip_address

from appliance.control.rates import COUNTERS, LEAST, MOST, PER_SECOND, Rates
from appliance.model import Protocol, ServiceKey

KEY = ServiceKey(ip_address("203.0.113.10"), 80, Protocol.TCP)
ONE, OTHER = ip_address("10.1.10.11"), ip_address("10.1.10.12")


def told(rates: Rates, now: float, packets: int, backend: object = ONE) -> tuple[float, float]:
    """Return what a status at `now` says of packets, and over how many seconds."""
    rates.look(now)
    counters = dict.fromkeys(COUNTERS, 0) | {"packets": packets}
    found = rates.of(KEY, backend, counters)  # type: ignore[arg-type]
    assert found.keys() == set(PER_SECOND)
    return found["packets_per_second"], rates.seconds


def test_the_first_knows_nothing() -> None:
    assert told(Rates(), 100.0, 5000) == (0.0, 0.0)


def test_one_after_the_other() -> None:
    rates = Rates()
    told(rates, 100.0, 1000)
    assert told(rates, 100.0 + LEAST, 1200) == (100.0, LEAST)
    # Somebody else asks shortly after: not over that short a time.
    assert told(rates, 103.0, 1330) == (110.0, 3.0)
    assert told(rates, 104.0, 1400) == (100.0, LEAST)
    assert told(rates, 106.0, 1400)[0] == 0.0


def test_what_was_long_ago_is_forgotten() -> None:
    rates = Rates()
    told(rates, 100.0, 0)
    assert told(rates, 100.0 + MOST, 600) == (10.0, MOST)
    assert told(rates, 100.0 + 3 * MOST, 1200) == (0.0, 0.0)
    assert told(rates, 102.0 + 3 * MOST, 1300) == (50.0, 2.0)


def test_a_counter_that_begins_anew_and_a_backend_that_is_new_have_no_rate() -> None:
    rates = Rates()
    told(rates, 100.0, 1000)
    assert told(rates, 103.0, 10) == (0.0, 3.0)
    assert told(rates, 103.0, 10, OTHER) == (0.0, 3.0)
    assert told(rates, 106.0, 40, OTHER) == (10.0, 3.0)
