"""What is in a Debian package."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab.namespace import run


@dataclass(frozen=True)
class Package:
    """A .deb file."""

    file: Path

    def field(self, name: str) -> str:
        """Return a field of its control file; empty where it has none."""
        return run("dpkg-deb", "--field", str(self.file), name).strip()

    def control(self, name: str) -> str:
        """Return one of its control files. Raises LabError where there is none."""
        return run("dpkg-deb", "--info", str(self.file), name)

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Yield what it installs, directories too, under names that begin with a slash."""
        with self._open() as archive:
            for member in archive:
                member.name = member.name.removeprefix(".")
                yield member

    def files(self) -> dict[str, bytes]:
        """Return the contents of the files that it installs, by their names."""
        with self._open() as archive:
            found = {
                member.name.removeprefix("."): archive.extractfile(member) for member in archive if member.isfile()
            }
            return {name: file.read() for name, file in found.items() if file}

    def _open(self) -> tarfile.TarFile:
        data = subprocess.run(["dpkg-deb", "--fsys-tarfile", self.file], capture_output=True, check=True).stdout
        return tarfile.open(fileobj=io.BytesIO(data))
