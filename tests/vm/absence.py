"""Where there can be no image, the tests that need it are skipped, and the end of the run says why, in red.

With VC5_VM=required they fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.vm.image import Image, ImageError

_WHY = pytest.StashKey[dict[str, str]]()


def image_or_skip(config: pytest.Config, untested: str, ready: Callable[[], Image]) -> Image:
    """Return what `ready` returns; where it raises ImageError, nothing is tested of `untested`."""
    try:
        return ready()
    except ImageError as error:
        if os.environ.get("VC5_VM") == "required":
            pytest.fail(str(error), pytrace=False)
        config.stash.setdefault(_WHY, {})[untested] = str(error)
        pytest.skip(str(error))


def tell(reporter: pytest.TerminalReporter, config: pytest.Config, untested: str) -> None:
    """Say at the end of the run that it was not tested, and why."""
    if reason := config.stash.get(_WHY, {}).get(untested):
        reporter.section(f"NOTHING WAS TESTED {untested.upper()}", red=True, bold=True)
        reporter.write_line(reason)
