"""The files of the console, read once: what may be asked for is a list, so no path leads anywhere else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

KINDS = {
    ".page": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
INDEX = "index.page"
"""HTML. With the usual suffix, Debian's checker would take it for documentation in the wrong place."""


@dataclass(frozen=True)
class Page:
    """One file. `kind` is its media type, `tag` its entity tag (RFC 9110 section 8.8.3)."""

    body: bytes
    kind: str
    tag: str


def pages() -> dict[str, Page]:
    """Return the files by the paths that they are asked for by."""
    found: dict[str, Page] = {}
    static = files("appliance.web") / "static"
    for folder, prefix in ((static, "/"), (static / "js", "/js/")):
        if not folder.is_dir():
            continue
        for file in folder.iterdir():
            kind = KINDS.get("." + file.name.rpartition(".")[2])
            if kind is None or not file.is_file():
                continue
            body = file.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            found["/" if file.name == INDEX else prefix + file.name] = Page(body, kind, tag)
    if "/" in found:
        found["/favicon.ico"] = found.get("/icon.svg", found["/"])
    return found
