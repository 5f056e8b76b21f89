"""The fields of the package."""

from __future__ import annotations

import re

from appliance import __version__
from tests.package.archive import Package


def test_fields(deb: Package) -> None:
    fields = {name: deb.field(name) for name in ("Package", "Version", "Architecture", "Section", "Priority")}
    assert fields == {
        "Package": "vc5-appliance",
        "Version": __version__,
        "Architecture": "all",
        "Section": "net",
        "Priority": "optional",
    }
    assert deb.file.name == f"vc5-appliance_{__version__}_all.deb"


def test_it_depends_on_python_and_what_makes_users_besides_its_own_list(deb: Package) -> None:
    depends = set(deb.field("Depends").split(", "))
    assert {one for one in depends if not re.fullmatch(r"python3-[\w-]+|libbpf1|linux-libc-dev|mount", one)} == {
        "python3:any (>= 3.11~)",
        "systemd | systemd-standalone-sysusers | systemd-sysusers",
    }
    for field in ("Pre-Depends", "Recommends", "Conflicts", "Breaks", "Replaces"):
        assert deb.field(field) == ""


def test_the_configuration_is_the_only_conffile(deb: Package) -> None:
    assert deb.control("conffiles").split() == ["/etc/vc5/config.yaml"]
