"""Runs probes, some of which may lean on the answer to another one (sharing.py tells which, schedule.py when)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from appliance.health.answer import Answer
from appliance.health.messages import Probe
from appliance.health.ports import Destination
from appliance.health.runner import Job, Runner
from appliance.health.schedule import Schedule
from appliance.health.sharing import leaning, path_check
from appliance.model import Address, Check, Outcome


class Following:
    """What those that lead have found, and how those that follow look at their own way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, runner: Runner, schedule: Schedule) -> None:
        self._loop = loop
        self._runner = runner
        self._schedule = schedule
        self._paths: dict[int, Job] = {}
        """For each probe that follows another one, that of its way alone."""
        self._vips: dict[int, Address] = {}
        """The VIPs of those that lead."""
        self._answers: dict[int, Answer] = {}
        """The latest good answers to those that lead."""

    def configure(self, probes: Sequence[Probe]) -> None:
        """Take all probes of a new schedule."""
        leaders = {probe.leader for probe in probes if probe.leader}
        self._vips = {probe.number: probe.vip for probe in probes if probe.number in leaders}
        self._answers = {number: answer for number, answer in self._answers.items() if number in leaders}
        self._paths = {}
        checks: dict[int, Check] = {}  # many probes share one check
        for probe in probes:
            if probe.leader:
                check = checks.get(id(probe.check))
                if check is None:
                    check = checks[id(probe.check)] = path_check(probe.check)
                self._paths[probe.number] = Job.of(replace(probe, check=check))

    def destinations(self) -> frozenset[Destination]:
        """Return where probes of ways alone arrive."""
        return frozenset(job.destination for job in self._paths.values())

    async def run(self, job: Job) -> tuple[Answer, bool]:
        """Return how the probe ended, and whether that rests on its leader; raises ProbeNotSent."""
        leader = self._schedule.leans(job.number, self._loop.time()) if job.number in self._paths else 0
        answer = self._answers.get(leader)
        if answer is None:
            return await self._runner.run(job), False
        vip = self._vips[leader]
        path = await self._runner.run(self._paths[job.number])
        if path.outcome is Outcome.OK and self._schedule.leans(job.number, self._loop.time()) != leader:
            return await self._runner.run(job), False  # what it was to lean on is gone
        return leaning(answer, vip, path, job.vip), True

    def learn(self, number: int, answer: Answer) -> None:
        """Take a good answer that rests on nothing else."""
        if number in self._vips:
            self._answers[number] = answer
