"""A certificate for loopback, and how an AWS SDK is told to take it."""

from __future__ import annotations

import datetime as dt
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Tls:
    """The server's side, and the client's variables."""

    context: ssl.SSLContext
    environ: dict[str, str]


@contextmanager
def certificate() -> Iterator[Tls]:
    """Make a certificate of ``localhost`` that is valid for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        path = Path(folder, "certificate.pem")
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        # With the authorities of the world, as on Lambda: to read them is part of the cost.
        trusted = Path(folder, "trusted.pem")
        trusted.write_bytes(
            Path(certifi.where()).read_bytes() + made.public_bytes(serialization.Encoding.PEM)
        )
        # boto3 reads the one, obstore the other.
        yield Tls(context, {"AWS_CA_BUNDLE": str(trusted), "SSL_CERT_FILE": str(trusted)})
