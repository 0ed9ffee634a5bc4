"""The gateway's certificate: a CA and a leaf of its own, in a Secret of the operator's namespace; made where there is none.

An administrator who has a CA of his own puts ca.crt, tls.crt and tls.key there (as cert-manager does).
"""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vmscaler.adapters.tls import pinned_context
from vmscaler.ports.errors import Conflict, NotFound, Rejected
from vmscaler.ports.kube import Kube

VALID = timedelta(days=3650)
KEYS = ("ca.crt", "tls.crt", "tls.key")
_HAS_EXPIRED = 10
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED."""


@dataclass(frozen=True)
class GatewayCertificate:
    """PEM texts; the key is never shown."""

    ca: str
    certificate: str
    key: str = field(repr=False)

    def context(self) -> ssl.SSLContext:
        """A server context. Raises ssl.SSLError.

        OpenSSL reads the key from a file only. This one has no name, so that nothing is left of it where the process is killed meanwhile.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.TemporaryFile() as file:
            file.write(f"{self.key}\n{self.certificate}".encode())
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        return context


async def ensure_certificate(kube: Kube, secret: str, url: str, now: datetime) -> GatewayCertificate:
    """From the Secret, made if absent for the host of `url`. Raises Rejected(SecretIncomplete | SecretNotUsable)."""
    host = urlsplit(url).hostname or "localhost"
    try:
        data = await kube.get_secret(secret)
    except NotFound:
        made = _make(host, now)
        data = dict(zip(KEYS, (made.ca, made.certificate, made.key), strict=True))
        try:
            await kube.create_secret(secret, data, {"app.kubernetes.io/managed-by": "vmscaler"}, {})
        except Conflict:
            data = await kube.get_secret(secret)
    missing = [key for key in KEYS if not data.get(key)]
    if missing:
        raise Rejected(
            "kubernetes", "SecretIncomplete", f"Secret {secret} lacks {', '.join(missing)}: add them, or delete it to have it made anew"
        )
    found = GatewayCertificate(data["ca.crt"], data["tls.crt"], data["tls.key"])
    try:
        server = found.context()
        ssl.create_default_context(cadata=found.ca)
        _handshake(server, found.ca, host)
    except ssl.SSLCertVerificationError as error:
        # One that has expired stops no start: builds are refused then, but what runs must still be brought to its end.
        if error.verify_code != _HAS_EXPIRED:
            said = f"Secret {secret}: no build could trust the gateway at {url}: {error.verify_message.rstrip('.')}"
            raise Rejected(
                "kubernetes", "SecretNotUsable", f"{said}: correct the Secret or the URL, or delete it to have it made anew"
            ) from None
    except (ssl.SSLError, ValueError) as error:
        # Not the error's text, which may hold what stands where a certificate should.
        said = f"Secret {secret}: tls.crt and tls.key must be a PEM certificate and its key, ca.crt the PEM of the CA that signed it"
        raise Rejected(
            "kubernetes", "SecretNotUsable", f"{said} ({_why(error)}): correct them, or delete it to have it made anew"
        ) from None
    return found


def _handshake(context: ssl.SSLContext, ca: str, host: str) -> None:
    """The one that each build will make, in memory. Raises ssl.SSLCertVerificationError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = pinned_context(ca, "kubernetes", "ca.crt").wrap_bio(to_client, to_server, server_hostname=host)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for end in (client, server, client):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else "not PEM"


def _make(host: str, now: datetime) -> GatewayCertificate:
    ca_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vmscaler gateway CA")])
    ca = (
        x509.CertificateBuilder()
        .subject_name(issuer)
        .issuer_name(issuer)
        .public_key(ca_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vmscaler gateway")]))
        .issuer_name(issuer)
        .public_key(leaf_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName([_name(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return GatewayCertificate(ca.public_bytes(pem).decode(), leaf.public_bytes(pem).decode(), key.decode())


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )
