"""The whole way: real probes of a real daemon, and what a real Elasticsearch has of them afterwards."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.telemetry import spool_reader
from tests.lab.backend import REPOSITORY
from tests.lab.daemon import Daemon
from tests.lab.elasticsearch import Elasticsearch
from tests.lab.interference import Interference, Mode
from tests.lab.patience import wait_for
from tests.lab.topology import Lab
from tests.netns.scenario_operator import configuration, wait_states
from tests.telemetry.shipping import ids, prepare

pytestmark = [pytest.mark.root, pytest.mark.slow]

BACKENDS = 20


CLOCK = """
import time

real = time.time


def set_clock():
    with open({offset!r}) as file:
        return real() + float(file.read())


time.time = set_clock
"""
"""Read by the interpreter before anything else (site, in Python's documentation): whoever asks for the time gets it."""


@contextmanager
def balancer(
    elasticsearch: Elasticsearch, namespace: str, environment: dict[str, str] | None = None
) -> Iterator[tuple[Daemon, Interference, Lab]]:
    """A daemon that checks one backend under many addresses and several services, ten times a second."""
    prepare(elasticsearch)
    with Lab(backends=1) as lab, Interference(elasticsearch.port, lab.balancer) as between:
        addresses = [f"10.1.10.{100 + number}" for number in range(BACKENDS)]
        lines = "".join(f"address add {address}/24 dev eth0\n" for address in addresses)
        lab.backends["b1"].namespace.run("ip", "-batch", "-", text=lines)
        search = f"{{addresses: ['{between.url}'], namespace: {namespace}}}"
        text = configuration(servers=", ".join(addresses), top=f"logging: {{elasticsearch: {search}}}\n")
        with Daemon(lab.balancer, lab.root(), text, environment=environment) as daemon:
            states: dict[str, Any] = {f"b{100 + number}": "available" for number in range(BACKENDS)}
            wait_states(daemon, **states)
            yield daemon, between, lab


def kept(directory: Path) -> list[dict[str, Any]]:
    """Return what the spool has."""
    return list(spool_reader.read(directory))


def everything_is_there(elasticsearch: Elasticsearch, namespace: str, directory: Path) -> None:
    """Hold what Elasticsearch has against the spool, document by document."""
    sequences = [one["sequence"] for one in kept(directory)]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    wanted = ids(directory)
    assert len(wanted) == len(set(wanted)) >= len(sequences)

    def missing() -> set[str]:
        elasticsearch.refresh()
        found = elasticsearch.ids(f"logs-vc5.*-{namespace}")
        assert len(found) == len(set(found)), "a document is there twice"
        return set(wanted) - set(found)

    wait_for("every document", lambda: not missing(), 30)


def test_kill_9_of_the_daemon_ten_times(elasticsearch: Elasticsearch, namespace: str) -> None:
    with balancer(elasticsearch, namespace) as (daemon, _, _lab):
        for _ in range(10):
            before = len(kept(daemon.places.log))
            wait_for("probes", lambda: len(kept(daemon.places.log)) > before + 200, 30)  # noqa: B023
            daemon.kill9()
            daemon.start()
        assert daemon.stop() == 0
        # What was written down last goes when the next one starts.
        daemon.start()
        everything_is_there(elasticsearch, namespace, daemon.places.log)
        assert daemon.stop() == 0


def test_a_down_server_is_told_to_the_operator_and_costs_nothing(elasticsearch: Elasticsearch, namespace: str) -> None:
    with balancer(elasticsearch, namespace) as (daemon, between, _lab):
        stalls = daemon.status()["loop"]["stalls_cpu"]
        between.mode = Mode.REFUSE
        wait_for("an alarm", lambda: [one for one in kept(daemon.places.log) if one["kind"] == "alarm"])
        [alarm] = [one for one in kept(daemon.places.log) if one["kind"] == "alarm"]
        assert alarm["message"].startswith("shipper: Elasticsearch cannot be reached")
        assert any("cannot be reached" in one["message"] for one in daemon.status()["warnings"])
        assert daemon.status()["loop"]["stalls_cpu"] == stalls
        between.mode = Mode.PASS
        wait_for("its end", lambda: any(one.get("outcome") == "over" for one in kept(daemon.places.log)), 60)
        assert daemon.stop() == 0
        daemon.start()
        everything_is_there(elasticsearch, namespace, daemon.places.log)


def test_a_full_disk(elasticsearch: Elasticsearch, namespace: str) -> None:
    with balancer(elasticsearch, namespace) as (daemon, _, _lab):
        assert daemon.stop() == 0
        log = daemon.places.log
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=750", "none", log], check=True)
        try:
            daemon.start()
            wait_for("probes", lambda: len(kept(log)) > 100)
            ballast = log / "ballast"
            with pytest.raises(OSError, match="No space left"):
                ballast.write_bytes(b"x" * (8 << 20))
            wait_for("a warning", lambda: any("log store" in one["message"] for one in daemon.status()["warnings"]))
            ballast.unlink()
            wait_for("its end", lambda: not any("log store" in one["message"] for one in daemon.status()["warnings"]))
            assert daemon.stop() == 0
            daemon.start()
            everything_is_there(elasticsearch, namespace, log)
            assert daemon.stop() == 0
        finally:
            subprocess.run(["umount", "-l", log], check=True)


def test_the_clock_is_set_forth_and_back(tmp_path: Path, elasticsearch: Elasticsearch, namespace: str) -> None:
    """By 40 days, which is longer than anything is kept, and by two days; the time that passes is not concerned."""
    offset = tmp_path / "offset"
    tmp_path.joinpath("sitecustomize.py").write_text(CLOCK.format(offset=str(offset)))
    environment = {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}

    def set_clock(days: int) -> None:
        offset.with_suffix(".new").write_text(str(days * 86_400))
        offset.with_suffix(".new").replace(offset)

    set_clock(0)
    real = time.time()
    with balancer(elasticsearch, namespace, environment) as (daemon, _, _lab):
        for days in (40, -2, 0):
            set_clock(days)
            before = len(kept(daemon.places.log))
            wait_for("probes", lambda: len(kept(daemon.places.log)) > before + 200, 30)  # noqa: B023
            daemon.reload()
            reloads = [one["at"] for one in kept(daemon.places.log) if one["kind"] == "reload"]
            assert abs(reloads[-1] - real - days * 86_400) < 3600
        assert [one for one in kept(daemon.places.log) if one["kind"] == "alarm"] == []
        assert daemon.status()["services"][0]["up"]
        assert daemon.stop() == 0
        daemon.start()
        everything_is_there(elasticsearch, namespace, daemon.places.log)
        assert daemon.stop() == 0
