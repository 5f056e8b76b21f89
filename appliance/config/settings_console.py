"""The settings of the console: where it is offered, and to whom."""

from __future__ import annotations

from appliance.config.kinds import ListOf, Place, Section, Text
from appliance.config.outlets import Listening, Secret
from appliance.config.setting import TOP, Setting

_CONSOLE = (Place.CONSOLE,)
_FILE = Text("/[!-~]+", "the path of a file, from the root on", most=1024)
_HOST_NAME = Text(
    r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*", "a host name", most=253
)

CONSOLE_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "webserver",
        (TOP,),
        ListOf(
            Listening(),
            "an address and a port (10.1.1.5:9090, [2001:db8::5]:9090, :9090), a list of them, or no",
            one=True,
            at_least=1,
            at_most=16,
        ),
        "Where console, JSON and metrics are offered; no: nowhere. Absent: 127.0.0.1:9090.",
        "['127.0.0.1:9090', '10.1.10.5:9090']",
    ),
    Setting(
        "console",
        (TOP,),
        Section(Place.CONSOLE, "a map of settings", null_is_empty=True),
        "Who may look at console, JSON and metrics. Absent: everybody who can reach them.",
        "{user: operator, password: a-secret, certificate: /etc/vc5/console.pem, key: /etc/vc5/console.key}",
    ),
    Setting(
        "hosts",
        _CONSOLE,
        ListOf(_HOST_NAME, "a host name or a list of them", one=True, at_most=64, null_is_empty=True),
        "Names by which browsers call this server, besides its addresses, `localhost` and the host's name; requests "
        "that call it otherwise are refused (DNS rebinding).",
        "[vc5.example.com]",
    ),
    Setting(
        "certificate",
        _CONSOLE,
        _FILE,
        "A file with the server's certificate (PEM), and those between it and the authority; with it there is TLS, and "
        "nothing else.",
        "/etc/vc5/console.pem",
    ),
    Setting("key", _CONSOLE, _FILE, "A file with the key (PEM) of `certificate`.", "/etc/vc5/console.key"),
    Setting(
        "user", _CONSOLE, Text(r"[^\s:]+", "a name without blanks and colons", most=100), "Who may look.", "operator"
    ),
    Setting("password", _CONSOLE, Secret(1024), "With which password (HTTP basic authentication).", "a-secret"),
    Setting(
        "token",
        _CONSOLE,
        Secret(1024),
        "A secret with which programs may look as well (`Authorization: Bearer TOKEN`).",
        "another-secret",
    ),
)
