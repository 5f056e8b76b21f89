"""How the console is protected. Frozen, and free of IO; secrets are kept out of every representation."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Console:
    """Who may look, and by which names and certificate the server is known; empty texts: nothing of the kind.

    `certificate` and `key` are paths of PEM files; with them the server speaks TLS and nothing else.
    """

    hosts: tuple[str, ...] = ()
    """Names by which browsers may call the server, besides addresses, `localhost` and the host's own name."""
    certificate: str = ""
    key: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @property
    def guarded(self) -> bool:
        """Whether one has to say who one is."""
        return bool(self.password or self.token)
