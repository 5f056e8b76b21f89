"""How many results make a verdict: `rise`, `fall` and `window`, given at any level or not at all."""

from __future__ import annotations

import pytest

from appliance import config
from appliance.errors import ConfigError

FILE = """interfaces: eth0
{top}
services:
  - virtual: 203.0.113.10
    servers: [10.1.1.5]
    policy: {{http: {{{policy}}}}}
"""

# The top level's lines, the policy's settings -> rise, fall, window
JUDGEMENTS: list[tuple[str, str, tuple[int, int, int | None]]] = [
    ("", "", (5, 2, 5)),
    ("rise: 3", "", (3, 2, None)),
    ("fall: 3", "", (2, 3, None)),
    ("rise: 1\nfall: 2", "", (1, 2, None)),
    ("window: 0", "", (2, 2, None)),
    ("window: 10", "", (10, 2, 10)),
    ("window: 1", "", (1, 1, 1)),
    ("window: 10", "window: 0", (2, 2, None)),
    ("window: 5", "rise: 4, fall: 3", (4, 3, 5)),
    ("rise: 4\nfall: 3", "window: 6", (4, 3, 6)),
]


@pytest.mark.parametrize(("top", "policy", "expected"), JUDGEMENTS)
def test_what_is_left_out_is_made_whole(top: str, policy: str, expected: tuple[int, int, int | None]) -> None:
    [check] = config.load_text(FILE.format(top=top, policy=policy), "f").config.services[0].checks
    assert (check.rise, check.fall, check.window) == expected


@pytest.mark.parametrize(
    ("top", "policy", "path", "message"),
    [
        ("window: 5", "rise: 6", "services[0].policy.http.rise", "6 good results of 5 cannot be"),
        ("window: 5", "fall: 6", "services[0].policy.http.fall", "6 bad results of 5 cannot be"),
        ("window: 5\nrise: 3\nfall: 2", "", "window", "3 good and 2 bad of 5 may come together"),
        ("window: 101", "", "window", "must be a whole number from 0 to 100, not '101'"),
    ],
)
def test_what_contradicts_itself_is_refused(top: str, policy: str, path: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load_text(FILE.format(top=top, policy=policy), "f")
    [issue] = caught.value.issues
    assert (issue.path, issue.message) == (path, message)
