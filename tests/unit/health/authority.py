"""Throwaway authorities and the certificates that they sign, made with openssl."""

from __future__ import annotations

import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
SETTINGS = """
[ca]
default_ca = here
[here]
database = {directory}/index
serial = {directory}/serial
new_certs_dir = {directory}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""


def self_signed(file: Path, days: int = 30, names: str = "") -> Path:
    """Write a certificate with its key, which signs itself; `names` is a subjectAltName."""
    made = ["openssl", "req", "-x509", *KEY, "-keyout", "-", "-out", "-", "-days", str(days), "-subj", "/CN=authority"]
    if names:
        made += ["-addext", f"subjectAltName={names}"]
    file.write_bytes(subprocess.run(made, check=True, capture_output=True).stdout)
    return file


def signed(directory: Path, authority: Path, names: str, days: int = 30) -> Path:
    """Write a certificate for `names` with its key, signed by an authority (a file with certificate and key).

    It ends `days` from now; negative days have passed.
    """
    request, extensions, file = directory / "request.pem", directory / "extensions", directory / f"{days}.pem"
    new = ["openssl", "req", "-new", *KEY, "-keyout", str(file), "-out", str(request), "-subj", "/CN=server"]
    subprocess.run(new, check=True, capture_output=True)
    extensions.write_text(f"subjectAltName={names}\n")
    (directory / "index").touch()
    (directory / "settings").write_text(SETTINGS.format(directory=directory))
    end = f"{datetime.now(UTC) + timedelta(days):%Y%m%d%H%M%SZ}"
    sign = ["openssl", "ca", "-batch", "-notext", "-rand_serial", "-config", str(directory / "settings")]
    sign += ["-cert", str(authority), "-keyfile", str(authority), "-in", str(request), "-extfile", str(extensions)]
    sign += ["-startdate", "20200101000000Z", "-enddate", end]
    certificate = subprocess.run(sign, check=True, capture_output=True).stdout
    file.write_bytes(file.read_bytes() + certificate)
    return file


def certificate_of(file: Path) -> str:
    """Return the certificate in a file without the key."""
    text = file.read_text()
    return text[text.index("-----BEGIN CERTIFICATE") :]


def serving_with(file: Path) -> ssl.SSLContext:
    """Return a server's settings."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
