"""What says who we are to Elasticsearch: files that only the daemon may read, and that are replaced while it runs."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.elasticsearch import Elasticsearch
from tests.lab.recorder import ELASTIC, Recorder, Reply, Request
from tests.telemetry.shipping import Shipping

pytestmark = pytest.mark.root


def test_a_key_that_only_root_may_read_and_its_renewal(
    tmp_path: Path, certificates: Path, elasticsearch: Elasticsearch, namespace: str
) -> None:
    """What stands in front of the real server asks for a certificate that its authority has signed."""

    def answer(request: Request) -> Reply:
        kept = {name: request.headers[name] for name in ("content-type", "content-encoding") if name in request.headers}
        asked = urllib.request.Request(
            elasticsearch.url + request.path, request.body or None, kept, method=request.method
        )
        try:
            with urllib.request.urlopen(asked, timeout=30) as found:
                return Reply(found.status, found.read(), ELASTIC)
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.read(), ELASTIC)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    secret = tmp_path / "etc"
    secret.mkdir(mode=0o700)

    def place(of: str) -> None:
        """Install the pair of a name, as root does: out of reach for all others."""
        for name in ("pem", "key"):
            shutil.copy(certificates / f"{of}.{name}", secret / f".new.{name}")
            secret.joinpath(f".new.{name}").chmod(0o600)
            secret.joinpath(f".new.{name}").replace(secret / f"client.{name}")

    shutil.copy(certificates / "ca.pem", secret / "ca.pem")
    place("ca")  # nobody's authority but its own
    secret.joinpath("client.key").write_text("no key at all\n")

    async def story(url: str) -> None:
        shipping = Shipping(tmp_path / "vc5", elasticsearch, namespace, url)
        logging = shipping.settings.logging
        assert logging.elasticsearch is not None
        ca, certificate, key = (str(secret / name) for name in ("ca.pem", "client.pem", "client.key"))
        search = replace(logging.elasticsearch, ca=ca, certificate=certificate, key=key)
        shipping.settings = replace(shipping.settings, logging=replace(logging, elasticsearch=search))
        shipping.write(300)
        async with shipping.running():
            await shipping.until("the pair is refused", lambda: shipping.trouble)
            named = f"{secret}/client.pem and {secret}/client.key: no certificate to show to the server"
            assert shipping.trouble.startswith(named)
            place("client")
            shipping.client.follow(shipping.settings)
            await shipping.delivered()
        assert shipping.arrived() == list(range(1, 301))
        assert [outcome for _, _, outcome in shipping.told] == ["began", "over"]

    (tmp_path / "vc5").mkdir()
    with Recorder(answer, context) as recorder:
        asyncio.run(story(recorder.url))
