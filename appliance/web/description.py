"""Prints the OpenAPI description:   python3 -m appliance.web.description >docs/openapi.json"""

from __future__ import annotations

import json
import sys

from appliance.web.api import description


def text() -> str:
    """Return the description as it is kept in `docs`."""
    return json.dumps(description(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
