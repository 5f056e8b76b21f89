"""The pins of what runs: looked at again and again, since anybody with enough rights can remove or replace them.

Nothing stops where that happens, for the daemon holds everything open. But the next one would find nothing to go on
with, and a link that nobody holds any more takes its program off the interface. So all is pinned anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from appliance.dataplane.attach import Attachments
from appliance.dataplane.generation import Generation, remove
from appliance.dataplane.kernel import Link
from appliance.errors import Vc5Error

TALLY = "tally"
"""What the daemon counts (control/tally.py), for as long as the program does."""
BESIDE = ("links", TALLY)
"""The directories that lie beside those of the layouts."""


@dataclass
class Pins:
    """What was pinned where, by the numbers of the inodes."""

    _directory: Path | None = None
    _known: dict[str, int] = field(default_factory=dict)
    _links: dict[str, tuple[Link, int]] = field(default_factory=dict)

    def mend(self, generation: Generation | None, attachments: Attachments) -> list[str]:
        """Pin anew what is not pinned as it was when this was last asked; returns what to tell of that."""
        notes = self._mend_links(attachments)
        if generation is None or generation.directory is None:
            return notes
        directory, names = generation.directory, {*generation.maps, *generation.programs}
        found = _inodes(directory, names)
        if self._directory != directory:
            self._directory, self._known = directory, found
        elif found != self._known:
            lost = sorted(names - found.keys())
            what = f"{len(lost)} pins were removed" if lost else "pins were replaced"
            notes.append(_again(f"{directory}: {what}", partial(_repin, generation, directory)))
            self._known = _inodes(directory, names)
        return notes

    def _mend_links(self, attachments: Attachments) -> list[str]:
        notes = []
        for name, attached in attachments.links.items():
            pin, link = attached.pin, attached.link
            if pin is None or not link.info().ifindex:
                continue
            there = _inode(pin)
            before = self._links.get(name)
            if before is not None and before[0] is link and before[1] != there:
                text = f"{pin}: the pin was {'replaced' if there else 'removed'}"
                notes.append(_again(text, partial(_repin_link, link, pin)))
                there = _inode(pin)
            self._links[name] = (link, there)
        for name in self._links.keys() - attachments.links.keys():
            del self._links[name]
        return notes


def _again(text: str, work: Callable[[], None]) -> str:
    try:
        work()
    except (Vc5Error, OSError) as error:
        return f"{text}, and cannot be pinned anew ({error}): a restart would begin with empty tables"
    return f"{text}, by somebody else; pinned anew, nothing was interrupted"


def _repin(generation: Generation, directory: Path) -> None:
    remove(directory)
    generation.pin(directory)


def _repin_link(link: Link, pin: Path) -> None:
    pin.unlink(missing_ok=True)
    pin.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    link.pin(pin)


def _inode(pin: Path) -> int:
    try:
        return pin.lstat().st_ino
    except OSError:
        return 0


def _inodes(directory: Path, names: set[str]) -> dict[str, int]:
    try:
        with os.scandir(directory) as entries:
            return {entry.name: entry.inode() for entry in entries if entry.name in names}
    except OSError:
        return {}
