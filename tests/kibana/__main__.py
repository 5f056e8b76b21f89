"""`python3 -m tests.kibana`: writes the file that is shipped."""

from __future__ import annotations

from pathlib import Path

from tests.kibana.dashboards import objects
from tests.kibana.objects import exported
from tests.lab.backend import REPOSITORY

SHIPPED = REPOSITORY / "packaging" / "kibana" / "vc5.ndjson"


def main(file: Path = SHIPPED) -> None:
    """Write it."""
    file.write_text(exported(objects()), encoding="ascii")


if __name__ == "__main__":
    main()
