"""A system of tests/package/debian.py with systemd as its first process, beside an interface of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.namespace import Namespace, run
from tests.systemd.booted import Booted
from tests.vm.image import Image


class BootedDebian(Booted):
    """As Booted, above one of the trees. `directory` is empty, on a file system that an overlay can be written to."""

    def __init__(self, tree: Path, namespace: Namespace, directory: Path) -> None:
        super().__init__(Image(tree), namespace, directory)
        self._tree = tree

    def _mount(self) -> None:
        upper, work, pins = (self._directory / name for name in ("upper", "work", "bpf"))
        for place in (upper, work, pins, self.root):
            place.mkdir()
        run("mount", "-t", "bpf", "-o", "nosuid,nodev,noexec,mode=0700", "bpf", str(pins))
        layers = f"lowerdir={self._tree},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "-o", layers, "vc5", str(self.root))

    def apt(self, *words: str) -> str:
        """Run apt-get, and return all it said. Raises LabError."""
        script = 'DEBIAN_FRONTEND=noninteractive exec apt-get --yes --no-install-recommends "$@" 2>&1'
        return self.run("sh", "-c", script, "apt-get", *words)

    def bring(self, package: Path, *words: str) -> str:
        """Install a package file with apt, and return all that was said. Raises LabError."""
        target = self.file(f"/var/cache/packages/{package.name}")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(package.read_bytes())
        return self.apt("install", *words, f"/var/cache/packages/{package.name}")


@contextmanager
def with_interface() -> Iterator[Namespace]:
    """Yield a network namespace that has an interface eth0, whose other end is up as well."""
    namespace = Namespace(f"vc5deb-{os.getpid()}")
    run("ip", "netns", "add", namespace.name)
    try:
        namespace.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far")
        for words in (("address", "add", "10.1.1.1/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            namespace.run("ip", *words)
        namespace.run("ip", "link", "set", "far", "up")
        namespace.run("ip", "link", "set", "lo", "up")
        yield namespace
    finally:
        run("ip", "netns", "del", namespace.name)
