"""A browser for each file of tests, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.lab.browser import Browser, Page, missing
from tests.web.picture import Picture
from tests.web.replay import Replay

Show = Callable[..., tuple[Replay, Page]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser; without one, tests are skipped and say how to get it."""
    if missing():
        pytest.skip(missing())
    with Browser() as standing:
        yield standing


@pytest.fixture
def show(browser: Browser) -> Iterator[Show]:
    """Return what shows a picture: `show(backends=3, part="log", dark=True)`.

    At the end of the test every page must have been free of complaints; what a test expects, it takes out.
    """
    pages: list[Page] = []
    with ExitStack() as stack:

        def make(
            backends: int = 3,
            per_service: int = 10,
            part: str = "",
            width: int = 1600,
            height: int = 900,
            counted: bool = True,
            **how: bool,
        ) -> tuple[Replay, Page]:
            replay = stack.enter_context(Replay(Picture(backends, per_service)))
            replay.prefixes = replay.picture.prefixes() if counted else None
            page = browser.page(width, height, **how)
            pages.append(page)
            page.open(replay.address + (f"#{part}" if part else ""))
            page.wait("the console to be live", "document.body.dataset.link === 'live'")
            return replay, page

        yield make
        for page in pages:
            found = [*page.problems, *page.violations(), str(page.evaluate("window.broken ?? ''"))]
            page.close()
            assert [one for one in found if one] == []
