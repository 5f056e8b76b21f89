"""The repository as the house tests see it: its root, and the files that belong to it."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def files() -> list[Path]:
    """Return every file that git tracks or would track; without git (a source package), every file not built."""
    if ROOT.joinpath(".git").exists():
        command = [
            "git",
            "-c",
            f"safe.directory={ROOT}",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]
        names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
        return sorted(path for path in (ROOT / name for name in names if name) if path.is_file())
    hidden = {"build", "__pycache__"}
    return sorted(
        path
        for path in ROOT.rglob("*")
        if path.is_file()
        and not any(part in hidden or part.startswith(".") for part in path.relative_to(ROOT).parts[:-1])
    )
