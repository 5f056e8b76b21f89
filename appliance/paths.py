"""The only place that knows where things live: templates, state, run-time files, pins, and kernel names.

Without a root the paths are those of the Debian package. With `--root DIR` (or VC5_ROOT) everything moves below DIR,
and names that the whole kernel shares (pins, namespace, veth) get a suffix made from DIR, so that several instances
can live side by side.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
TEMPLATES = PACKAGE.parent / "templates" / "bpf"
BPFFS = Path("/sys/fs/bpf")
ETC = Path("/etc/vc5")


@dataclass(frozen=True)
class Root:
    """Where one instance keeps everything."""

    config: Path
    config_dir: Path
    state: Path
    """Survives a reboot: seed, state file, log segments."""
    run: Path
    """Gone after a reboot: sockets, lock."""
    pins: Path
    namespace: str
    veth: str
    """The balancer's end of the probe veth."""
    veth_peer: str
    """The end inside the probe namespace."""

    def packaged(self) -> bool:
        """Whether these are the places of the package, for which systemd has units."""
        return self.config.parent == ETC

    @property
    def control_socket(self) -> Path:
        return self.run / "control.sock"

    @property
    def prober_socket(self) -> Path:
        return self.run / "prober.sock"

    @property
    def bfd_socket(self) -> Path:
        """Beside `run`, which systemd takes away when the daemon stops: the process of BFD outlives it."""
        return self.run.with_name(f"{self.run.name}-bfd") / "bfd.sock"

    @property
    def lock(self) -> Path:
        return self.run / "lock"

    @property
    def seed_file(self) -> Path:
        return self.state / "hash_seed"

    @property
    def state_file(self) -> Path:
        return self.state / "state.json"

    @property
    def trial_file(self) -> Path:
        """The configuration that waits for `vc5 confirm`, and the one before."""
        return self.state / "trial.json"

    @property
    def log(self) -> Path:
        """The directory of the log store."""
        return self.state / "log"


def root(directory: str | None = None) -> Root:
    """Return the places of the instance at `directory`, else at $VC5_ROOT, else those of the package."""
    directory = directory or os.environ.get("VC5_ROOT") or None
    if directory is None:
        return Root(
            config=ETC / "config.yaml",
            config_dir=ETC / "conf.d",
            state=Path("/var/lib/vc5"),
            run=Path("/run/vc5"),
            pins=BPFFS / "vc5",
            namespace="vc5",
            veth="vc5",
            veth_peer="vc5_",
        )
    base = Path(directory).resolve()
    tag = hashlib.blake2b(os.fsencode(base), digest_size=4).hexdigest()
    return Root(
        config=base / "config.yaml",
        config_dir=base / "conf.d",
        state=base / "state",
        run=base / "run",
        pins=BPFFS / f"vc5-{tag}",
        namespace=f"vc5-{tag}",
        veth=f"vc5-{tag}",
        veth_peer=f"vc5_{tag}",
    )
