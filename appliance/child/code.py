"""Where an unprivileged process finds the code of this package: in its place, or in a sealed archive in memory.

A checkout below /root, or one made with a strict umask, can be read by root alone. Its modules are then handed over in
an archive that the child inherits as an open file and that Python imports from (zipimport); nothing is left on a disk.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from appliance.paths import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIXES: Final = (".py", ".page", ".css", ".js", ".svg")
"""Of the files that are handed over: code, and what the console is made of."""
SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


@contextmanager
def handed_over(package: Path = PACKAGE) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Give the entry of PYTHONPATH for a child of any user, and the file descriptors that the child must inherit."""
    if readable_by_all(package):
        yield str(package.parent), ()
        return
    descriptor = _archive(package)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


def readable_by_all(package: Path) -> bool:
    """Whether every user may search the way to the package and read it."""
    way = (*package.parents, package)
    file = (package / "__init__.py").stat().st_mode & stat.S_IROTH
    return bool(file) and all(directory.stat().st_mode & stat.S_IXOTH for directory in way)


def _archive(package: Path) -> int:
    import zipfile  # which is large, and not wanted where the package is installed

    descriptor = os.memfd_create("vc5-code", os.MFD_ALLOW_SEALING)
    with os.fdopen(os.dup(descriptor), "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for path in sorted(path for path in package.rglob("*") if path.suffix in SUFFIXES):
            archive.write(path, path.relative_to(package.parent))
    os.fchmod(descriptor, 0o444)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    return descriptor
