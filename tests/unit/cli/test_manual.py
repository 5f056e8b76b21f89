"""The manual pages: all of the tables is in them, and no reader of manual pages has anything to complain of."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from appliance import __version__, config
from appliance.cli.arguments import EXITS, Verb
from appliance.cli.examples import EXAMPLES, EXAMPLES_HEADING
from appliance.cli.main import main, parser
from appliance.cli.manual import ENVIRONMENT, OWN_FILES, command_page
from appliance.cli.manual_daemon import FILES, SAFETY, SIGNALS, UNITS, daemon_page
from appliance.cli.metrics import metrics_page
from appliance.cli.verbs import VERBS
from appliance.config import roff
from appliance.config.kinds import Place, ScalarKind
from appliance.config.policy import NAMES
from appliance.config.reference import _PLACES, EXAMPLE
from appliance.config.settings import settings_of
from appliance.paths import Root
from appliance.telemetry.compat import COMPAT
from appliance.telemetry.metrics import METRICS, Metric
from tests.unit.house.tree import ROOT

DATE = "2025-06-01"
PLACES = Root(Path("/e/c"), Path("/e/d"), Path("/s"), Path("/r"), Path("/p"), "n", "v", "v_")
PAGES = {
    "vc5.1": command_page(PLACES, "1.2", DATE),
    "vc5.8": daemon_page(PLACES, "1.2", DATE),
    "vc5.yaml.5": config.reference_page("1.2", DATE),
    "vc5-metrics.7": metrics_page("1.2", DATE),
}


@cache
def rendered(name: str) -> str:
    """Return a page as a reader without formatting shows it, all blanks alike."""
    program = ["groff", "-man", "-Tascii", "-P-cbou", "-rLL=1000n"]
    done = subprocess.run(program, input=PAGES[name], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return " ".join(done.stdout.split())


def sections(name: str) -> dict[str, str]:
    """Return the text of each section by its heading."""
    parts = re.split(r'^\.SH "?([^"\n]*)"?$', PAGES[name], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def plain(text: str) -> str:
    """Return a text of the tables as `rendered` shows it."""
    return " ".join(text.replace("`", "").split())


READERS = {
    "man": ["man", "--warnings", "-E", "UTF-8", "-l", "-Z"],
    "groff": ["groff", "-man", "-ww", "-z"],
    "mandoc": ["mandoc", "-T", "lint"],
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("reader", READERS)
def test_readers_have_nothing_to_say(reader: str, name: str, tmp_path: Path) -> None:
    if shutil.which(reader) is None:
        pytest.skip(f"there is no {reader}")
    file = tmp_path / name
    file.write_text(PAGES[name], encoding="ascii")
    environment = {"PATH": os.environ["PATH"], "MANROFFSEQ": "", "LC_ALL": "C.UTF-8"}
    done = subprocess.run([*READERS[reader], str(file)], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert reader == "man" or done.stdout == ""


def test_readers_would_say_something(tmp_path: Path) -> None:
    file = tmp_path / "wrong.1"
    file.write_text(PAGES["vc5.1"].replace(".RE\n", ".RE\n.XX\n", 1), encoding="ascii")
    done = subprocess.run([*READERS["groff"], str(file)], capture_output=True, text=True, check=False)
    assert "XX" in done.stderr


@pytest.mark.parametrize("place", Place, ids=lambda place: place.name)
def test_every_setting_is_where_it_stands(place: Place) -> None:
    title = _PLACES[place][0]
    found = re.findall(r"^\.TP\n\\fB(.*)\\fR$", sections("vc5.yaml.5")[title], flags=re.MULTILINE)
    assert [name.replace(r"\-", "-") for name in found] == list(settings_of(place))


SETTINGS = {f"{place.name}-{name}": (name, row) for place in Place for name, row in settings_of(place).items()}


@pytest.mark.parametrize("at", SETTINGS)
def test_all_of_a_setting_is_told(at: str) -> None:
    name, row = SETTINGS[at]
    page = rendered("vc5.yaml.5")
    assert plain(row.help) in page
    assert plain(row.successor) in page
    assert f"Example: {plain(f'{name}: {row.example}')}" in page
    assert row.default is None or f"Default: {row.default}." in page
    if isinstance(row.kind, ScalarKind):
        assert f"Accepts {plain(row.kind.words())}." in page, "range and unit"


def test_every_form_of_a_policy_key_is_told() -> None:
    text = sections("vc5.yaml.5")["WHAT TO SERVE"]
    for name, (port, _, default, _) in NAMES.items():
        assert f"\\fB{name}\\fR" in text
        assert f"port {port}" in text
        assert f"Default check: {default}." in text


def test_the_example_is_valid() -> None:
    loaded = config.load_text(EXAMPLE, "f")
    assert loaded.warnings == ()
    assert EXAMPLE.splitlines()[0] in sections("vc5.yaml.5")["EXAMPLES"]


@pytest.mark.parametrize("one", [*METRICS, *COMPAT], ids=lambda one: one.name)
def test_all_of_a_metric_is_told(one: Metric) -> None:
    page = rendered("vc5-metrics.7")
    labels = "{" + ", ".join(one.labels) + "}" if one.labels else ""
    told = f"{one.name}{labels} {str(one.type).capitalize()}. {plain(one.help)}"
    assert told in page
    kept = sections("vc5-metrics.7")["WHERE COUNTERS ARE KEPT"].replace("\\-", "-")
    assert (one in METRICS and one.type in ("counter", "histogram")) == (f"\\fB{one.name}\\fR" in kept)


@pytest.mark.parametrize("verb", VERBS, ids=[verb.name for verb in VERBS])
def test_all_of_a_verb_is_told(verb: object) -> None:
    [row] = [one for one in VERBS if one is verb]
    page = rendered("vc5.1")
    begin = page.index(f" vc5 {row.name} ")
    text = page[begin:]
    for said in (row.help, row.failed, *(one.help for one in (*row.arguments, *row.alternatives))):
        assert plain(said)[1:] in text
    usage = text[: text.index(plain(row.help)[1:])]
    for argument in (*row.arguments, *row.alternatives):
        assert str(argument.name if argument.is_option else argument.settings.get("metavar") or argument.name) in usage


def test_the_page_has_the_options_of_the_parser() -> None:
    page = rendered("vc5.1")
    for option in re.findall(r"--[a-z-]+", parser().format_help()):
        assert option in page or option == "--help"


def test_exit_statuses_signals_environment_and_files() -> None:
    command, daemon = rendered("vc5.1"), rendered("vc5.8")
    for status, text in EXITS.items():
        for page in (command, daemon):
            assert f" {status} {text[0].upper()}{text[1:]}." in page
    for page, rows in ((daemon, SIGNALS), (daemon, UNITS), (daemon, SAFETY), (command, ENVIRONMENT)):
        for name, text in rows.items():
            assert f" {name} {plain(text)}" in page
    for name, text in FILES.items():
        assert f" {getattr(PLACES, name)} {plain(text)}" in daemon
        assert (f" {getattr(PLACES, name)} {plain(text)}" in command) == (name in OWN_FILES)


def test_the_units_are_those_of_the_package() -> None:
    files = {file.name for file in (ROOT / "packaging/systemd").iterdir() if file.suffix in (".service", ".socket")}
    assert set(UNITS) == files


def test_every_verb_has_examples_and_they_can_be_copied() -> None:
    """In the page and in the help of the verb: whole, in a line of their own, however narrow the terminal is."""
    assert set(EXAMPLES) == {verb.name for verb in VERBS}
    page = subprocess.run(["groff", "-man", "-Tascii", "-P-cbou"], input=PAGES["vc5.1"], capture_output=True, text=True)
    lines = [line.strip() for line in page.stdout.splitlines()]
    for verb in VERBS:
        for example in EXAMPLES[verb.name]:
            assert example.line in lines, verb.name
            assert re.search(rf"\bvc5 (--root \S+ )?{verb.name}\b", example.line)


@pytest.mark.parametrize("verb", VERBS, ids=[verb.name for verb in VERBS])
def test_the_help_has_the_examples(
    verb: Verb, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main([verb.name, "--help"]) == 0
    lines = capsys.readouterr().out.partition(EXAMPLES_HEADING)[2].splitlines()
    for example in EXAMPLES[verb.name]:
        assert f"  {example.line}" in lines
        assert f"      {example.help}" in lines


def test_no_place_is_left_out() -> None:
    fields = {field.name for field in dataclasses.fields(Root)}
    properties = {name for name, value in vars(Root).items() if isinstance(value, property)}
    assert set(FILES) == (fields | properties) - {"namespace", "veth", "veth_peer"}


def test_the_signals_are_those_of_the_daemon_and_of_the_readme() -> None:
    handled = re.findall(r"signal\.(SIG\w+): ", (ROOT / "appliance/control/daemon.py").read_text(encoding="utf-8"))
    assert sorted(handled) == sorted(name for names in SIGNALS for name in names.split(", "))
    rows = re.findall(r"^\| (SIG[A-Z0-9, ]+) \|", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert rows == list(SIGNALS)


def test_the_pages_are_for_every_terminal() -> None:
    for page in PAGES.values():
        assert page.isascii()
        assert max(map(len, page.splitlines())) <= 80


ESCAPED = [
    ("a\\b 'x' `c-d` e-f", r"a\eb \(aqx\(aq \fBc\-d\fR e-f"),
    (".start", r"\&.start"),
    ("ä^~", r"\[u00E4]\(ha\(ti"),
    ("one ` alone", r"one \(ga alone"),
]


@pytest.mark.parametrize(("text", "lines"), ESCAPED)
def test_roff(text: str, lines: str) -> None:
    assert roff.prose(text) == [lines]


def test_a_term_stays_in_its_line() -> None:
    with pytest.raises(ValueError, match="too long"):
        roff.item("word " * 40, "text")


def test_the_command_prints_the_page_of_the_configuration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1748736000")
    assert main(["schema", "--man"]) == 0
    text = capsys.readouterr().out
    assert text == config.reference_page(__version__, DATE)
    assert main(["schema", "--man", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"text": text}
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    assert main(["schema", "--man"]) == 0
    assert str(datetime.now(UTC).year) in capsys.readouterr().out.splitlines()[0]


def test_make_man(tmp_path: Path) -> None:
    """The pages of the package name its own places, whatever root this shell is about."""
    environment = {**os.environ, "VC5_ROOT": "/nowhere", "SOURCE_DATE_EPOCH": "1748736000"}
    for name in ("Makefile", "appliance"):
        (tmp_path / name).symlink_to(ROOT / name)
    subprocess.run(["make", "-s", "man"], cwd=tmp_path, env=environment, check=True)
    made = {file.name: file.read_text(encoding="ascii") for file in (tmp_path / "build/man").iterdir()}
    assert made["vc5.yaml.5"] == config.reference_page(__version__, DATE)
    assert made["vc5.1"].startswith(f".TH VC5 1 {DATE} ")
    assert made["vc5.8"].startswith(f".TH VC5 8 {DATE} ")
    assert "/run/vc5/control.sock" in made["vc5.8"]
