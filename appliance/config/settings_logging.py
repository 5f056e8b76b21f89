"""The settings of the log and of those who are told of what happens."""

from __future__ import annotations

from appliance.config.kinds import Boolean, Duration, Integer, ListOf, Place, Section, Text
from appliance.config.outlets import Secret, SyslogTarget, Url
from appliance.config.setting import TOP, Setting

_LOGGING, _ELASTICSEARCH = (Place.LOGGING,), (Place.ELASTICSEARCH,)
_LINE = Text(r"[^\n]*", "one line of text")
_FILE = Text("/[!-~]+", "the path of a file, from the root on", most=1024)

LOGGING_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "logging",
        (TOP,),
        Section(Place.LOGGING, "a map of settings", null_is_empty=True),
        "How long the log is kept, and who else is told of what happens.",
        "{keep: 720h, alert: 4, slack: 'https://hooks.example.com/slack', syslog: yes}",
    ),
    Setting(
        "keep",
        _LOGGING,
        Duration(3600, 87600 * 3600),
        "For how long the balancer keeps its own log (`vc5 log`), if there is room.",
        "168h",
        "720h",
    ),
    Setting(
        "space",
        _LOGGING,
        Integer(16, 1 << 20),
        "How many megabytes the balancer's own log takes at most; what is older is removed, and counted where "
        "Elasticsearch has not got it yet.",
        "1000",
        "500",
    ),
    Setting(
        "alert",
        _LOGGING,
        Integer(0, 7),
        "The least grave severity that webhooks and syslog are told of: 0 emergency, 4 warning, 7 debug.",
        "4",
        "0",
    ),
    Setting("teams", _LOGGING, Url(), "A webhook of Microsoft Teams; a secret.", "https://hooks.example.com/teams"),
    Setting("slack", _LOGGING, Url(), "A webhook of Slack; a secret.", "https://hooks.example.com/slack"),
    Setting(
        "syslog",
        _LOGGING,
        ListOf(SyslogTarget(), "yes, no, or URLs of syslog servers", one=True, at_most=16, null_is_empty=True),
        "Who gets syslog messages: the host's own syslog (yes), or servers, by UDP, TCP or TLS (RFC 5424).",
        "['udp://192.0.2.5:514', 'tls://log.example.com:6514']",
    ),
    Setting(
        "elasticsearch",
        _LOGGING,
        Section(Place.ELASTICSEARCH, "a map of settings", null_is_empty=True),
        "An Elasticsearch that keeps everything; `vc5 elasticsearch install` prepares it.",
        "{addresses: ['https://elastic.example.com:9200'], api_key: 'id:secret'}",
    ),
    Setting(
        "index",
        _ELASTICSEARCH,
        Text(r"[^\s\"*+/\\|?#,<>:A-Z_-][^\s\"*\\|?#,<>/:A-Z]*|", "the name of an index in lower case"),
        "A word of the dialect: documents go to data streams (logs-vc5.probe-default, logs-vc5.event-default).",
        "vc5",
        successor="remove it; `namespace` changes the last part of the data streams' names",
    ),
    Setting(
        "addresses",
        _ELASTICSEARCH,
        ListOf(Url(), "a URL or a list of them", one=True, at_most=64, null_is_empty=True),
        "The servers, any of which will do.",
        "['https://elastic.example.com:9200']",
    ),
    Setting("username", _ELASTICSEARCH, _LINE, "Who to log in as.", "vc5"),
    Setting("password", _ELASTICSEARCH, Secret(1024), "With which password.", "a-secret"),
    Setting(
        "api_key",
        _ELASTICSEARCH,
        Secret(1024),
        "An API key in place of user and password: `id:key`, or its base64 form; a secret.",
        "VuaCfGcBCdbkQm-e5aOx:ui2lp2axTNmsyakw9tvNnw",
    ),
    Setting(
        "ca",
        _ELASTICSEARCH,
        _FILE,
        "A file with the certificates (PEM) that vouch for the servers. Absent: those that the system trusts.",
        "/etc/vc5/elasticsearch-ca.pem",
    ),
    Setting(
        "certificate",
        _ELASTICSEARCH,
        _FILE,
        "A file with a certificate (PEM) to show to the servers.",
        "/etc/vc5/client.pem",
    ),
    Setting("key", _ELASTICSEARCH, _FILE, "A file with the key (PEM) of `certificate`.", "/etc/vc5/client.key"),
    Setting(
        "namespace",
        _ELASTICSEARCH,
        Text(r"[a-z0-9][a-z0-9_.]*", "a name in lower case without hyphens", most=100),
        "The last part of the names of the data streams.",
        "production",
        "default",
    ),
    Setting(
        "data_stream",
        _ELASTICSEARCH,
        _LINE,
        "A word of the dialect without a meaning.",
        "yes",
        successor="remove it",
    ),
    Setting(
        "compat_metrics",
        (TOP,),
        Boolean(),
        "Whether `/metrics` also has the names that the earlier vc5 gave its metrics.",
        "yes",
        "no",
    ),
    Setting(
        "backend_metrics",
        (TOP,),
        Boolean(),
        "Whether `/metrics` has series of each backend; without them there are far fewer.",
        "no",
        "yes",
    ),
)
