"""Who the command is to a server: from files, the environment or the configuration, and never from the command line."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from appliance.cli.arguments import UsageError

if TYPE_CHECKING:
    from appliance.model_logging import Elasticsearch
    from appliance.paths import Root

PASSWORD = "VC5_ELASTICSEARCH_PASSWORD"
API_KEY = "VC5_ELASTICSEARCH_API_KEY"
SECRET_CHARACTERS = 4096


def configured(root: Root, arguments: Namespace) -> Elasticsearch | None:
    """Return the configuration's section, None where there is no such file or section. Raises ConfigError."""
    from appliance import config

    if arguments.config:
        source = config.Source(Path(arguments.config))
    elif root.config.exists():
        source = config.Source(root.config, root.config_dir)
    else:
        return None
    return config.load(source).config.logging.elasticsearch


def given(arguments: Namespace, base: Elasticsearch) -> Elasticsearch:
    """Return `base` with what the command line and the environment say in its place.

    Raises UsageError where they say half of it, OSError where a file cannot be read.
    """
    if arguments.ca:
        base = replace(base, ca=arguments.ca)
    key, password = os.environ.get(API_KEY, ""), os.environ.get(PASSWORD, "")
    if arguments.api_key_file:
        if arguments.user or arguments.password_file:
            raise UsageError("give an API key, or user and password")
        key = first_line(arguments.api_key_file)
    if arguments.password_file:
        if not arguments.user:
            raise UsageError("--password-file goes with --user")
        password = first_line(arguments.password_file)
    if arguments.user:
        if not password:
            raise UsageError(f"there is no password for --user: give --password-file, or set {PASSWORD}")
        return replace(base, username=arguments.user, password=password, api_key="")
    if key:
        return replace(base, username="", password="", api_key=key)
    return base


def check_url(flag: str, url: str) -> None:
    """Raise UsageError for what is no URL of a server, or holds a password."""
    if not re.fullmatch(r"https?://[!-~]+", url):
        raise UsageError(f"{flag} must be a URL that begins with http:// or https://")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise UsageError(f"{flag}: there is no host in it, or its port is none")
    if "@" in parts.netloc:
        raise UsageError(f"{flag}: no user and password in it, where everybody on this machine sees them; use --user")


def first_line(name: str) -> str:
    """Return the first line of a file. Raises OSError, and UsageError where there is none, or what is no secret."""
    with open(name, encoding="utf-8", errors="replace") as file:
        line = file.readline(SECRET_CHARACTERS + 1).rstrip("\r\n")
    if not line or len(line) > SECRET_CHARACTERS or not line.isprintable():
        raise UsageError(f"{name}: the first line must be the secret, printable and not empty")
    return line
