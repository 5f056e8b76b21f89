"""What all tests share: the Hypothesis profiles, and that a test without its capabilities skips and names them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import profile

# The quick profile draws the same inputs every time, so that a change is never judged by luck; the long one draws new
# ones. Both print the blob with which a failure is repeated (`@reproduce_failure`).
settings.register_profile("quick", max_examples=profile.EXAMPLES, derandomize=True, print_blob=True, deadline=None)
settings.register_profile(
    "fuzz",
    max_examples=profile.EXAMPLES,
    print_blob=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

# Bits of the effective set, include/uapi/linux/capability.h. Root in a container often has not all of them.
NEEDED = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21}


def pytest_configure() -> None:
    """Load the profile that VC5_PROFILE names."""
    if profile.PROFILE not in profile.PROFILES:
        raise pytest.UsageError(f"VC5_PROFILE={profile.PROFILE}: choose one of {', '.join(profile.PROFILES)}")
    settings.load_profile(profile.PROFILE)


def missing_capabilities() -> list[str]:
    """Return what this process lacks of the rights that tests marked `root` use, by name."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    held = int(line.split()[1], 16)
    missing = [name for name, bit in NEEDED.items() if not held >> bit & 1]
    return ["root", *missing] if os.geteuid() != 0 else missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `root` where the process lacks a capability, and name what is missing."""
    missing = missing_capabilities()
    if missing:
        skip = pytest.mark.skip(reason=f"needs {', '.join(missing)}")
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(skip)
