"""The words that the console's scripts share with the program: `python3 -m tests.unit.web.words` writes them anew."""

from __future__ import annotations

import json
from pathlib import Path

from appliance.control.misroutes import CAUSE_TEXT
from appliance.dataplane.enums import REASON_TEXT
from appliance.model_event import EventKind, Severity
from appliance.web.history import QUIET
from tests.unit.house import tree

FILE: Path = tree.ROOT / "appliance" / "web" / "static" / "js" / "words.js"
BEGIN = """\
// Words of the program, made of its tables (python3 -m tests.unit.web.words): never change them here.

"""


def text() -> str:
    """Return the script."""
    tables = {
        "REASONS": {str(reason): meaning for reason, meaning in REASON_TEXT.items()},
        "CAUSES": {str(cause): meaning for cause, meaning in CAUSE_TEXT.items()},
        "SEVERITIES": [severity.name.lower() for severity in sorted(Severity)],
        "KINDS": [str(kind) for kind in EventKind if str(kind) not in QUIET],
    }
    return BEGIN + "".join(
        f"export const {name} = {json.dumps(table, indent=2, ensure_ascii=False)};\n" for name, table in tables.items()
    )


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
