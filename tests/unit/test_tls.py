"""What is trusted over TLS, in memory: Python 3.13 and later check certificates more strictly than 3.11, so both are tried here."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.fakes.effects import DirectEffects
from tests.fakes.kube import FakeKube

from lab.pki import Authority
from vmscaler.adapters.clock import SystemClock
from vmscaler.adapters.gateway_certificate import ensure_certificate
from vmscaler.adapters.tls import pinned_context
from vmscaler.ports.errors import Rejected

HOST = "gateway.example.org"


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str = HOST) -> None:
    """Between two ends in memory. Raises ssl.SSLCertVerificationError where the client does not trust the server."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
    assert not ends


_create = ssl.create_default_context


def strict(cadata: str) -> ssl.SSLContext:
    """As `ssl.create_default_context` is since Python 3.13."""
    context = _create(cadata=cadata)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def issued_without_key_identifiers() -> tuple[str, str, str]:
    """As many an in-house CA does: the CA's certificate, the server's, and its key."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("in-house CA", HOST))
    authority = x509.BasicConstraints(ca=True, path_length=None)
    ca = _certificate(issuer, ca_key).add_extension(authority, critical=True).issuer_name(issuer).sign(ca_key, hashes.SHA256())
    name = x509.SubjectAlternativeName([x509.DNSName(HOST)])
    leaf = _certificate(subject, key).add_extension(name, critical=False).issuer_name(issuer).sign(ca_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ca.public_bytes(pem).decode(), leaf.public_bytes(pem).decode(), private.decode()


def _certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = SystemClock().now()
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))


def serving(certificate: str, key: str, folder: Path) -> ssl.SSLContext:
    path = folder / "server.pem"
    path.write_text(key + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_the_gateways_own_certificate_is_trusted_by_a_strict_client() -> None:
    made = await ensure_certificate(FakeKube(DirectEffects()), "vmscaler-gateway-tls", f"https://{HOST}:8443", SystemClock().now())
    handshake(made.context(), strict(made.ca))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(made.context(), strict(made.ca), "other.example.org")


def test_the_labs_certificates_are_trusted_by_a_strict_client(tmp_path: Path) -> None:
    authority = Authority()
    issued = authority.issue(HOST)
    handshake(serving(issued.certificate, issued.key, tmp_path), strict(authority.pem))


def test_a_pinned_ca_is_trusted_whatever_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca, certificate, key = issued_without_key_identifiers()
    server = serving(certificate, key, tmp_path)
    monkeypatch.setattr("vmscaler.adapters.tls.ssl.create_default_context", strict)
    with pytest.raises(ssl.SSLCertVerificationError, match="Key Identifier"):
        handshake(server, strict(ca))
    handshake(server, pinned_context(ca, "bigip", "spec.bigip.caBundle"))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server, pinned_context(ca, "bigip", "spec.bigip.caBundle"), "other.example.org")
    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        handshake(server, pinned_context(issued_without_key_identifiers()[0], "bigip", "spec.bigip.caBundle"))


@pytest.mark.parametrize("ca", ["", " \n", "no PEM", "-----BEGIN CERTIFICATE-----"])
def test_what_is_no_pem_is_refused_with_the_field(ca: str) -> None:
    with pytest.raises(Rejected, match=r"spec\.bigip\.caBundle must be the PEM") as error:
        pinned_context(ca, "bigip", "spec.bigip.caBundle")
    assert error.value.reason == "CaNotUsable"


@pytest.mark.parametrize("spoiled", ["no PEM", "a key of another certificate", "a CA that is none", "an empty certificate"])
async def test_a_gateway_secret_that_cannot_serve_is_told_at_the_start(spoiled: str) -> None:
    kube, url = FakeKube(DirectEffects()), f"https://{HOST}:8443"
    made = await ensure_certificate(kube, "vmscaler-gateway-tls", url, SystemClock().now())
    other = Authority().issue(HOST)
    pem = "-----BEGIN CERTIFICATE-----\nc2FtcGxl\n-----END CERTIFICATE-----\n"
    change = {
        "no PEM": {"tls.crt": "sample", "tls.key": "sample-key"},
        "a key of another certificate": {"tls.key": other.key},
        "a CA that is none": {"ca.crt": pem},
        "an empty certificate": {"tls.crt": pem},
    }[spoiled]
    kube.edit_secret("vmscaler-gateway-tls", change)
    with pytest.raises(Rejected, match=r"Secret vmscaler-gateway-tls: .*: correct them, or delete it") as refused:
        await ensure_certificate(kube, "vmscaler-gateway-tls", url, SystemClock().now())
    assert refused.value.reason == "SecretNotUsable"
    assert made.key not in str(refused.value) and "sample" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "ca_of_another", "told"),
    [
        (f"https://{HOST}:8443", True, "certificate verify failed|unable to get local issuer|self-signed"),
        ("https://other.example.org:8443", False, "Hostname mismatch, certificate is not valid for 'other.example.org'"),
        ("https://192.0.2.7:8443", False, "IP address mismatch, certificate is not valid for '192.0.2.7'"),
    ],
)
async def test_a_gateway_that_no_build_could_trust_is_told_at_the_start(url: str, ca_of_another: bool, told: str) -> None:
    kube, now = FakeKube(DirectEffects()), SystemClock().now()
    await ensure_certificate(kube, "vmscaler-gateway-tls", f"https://{HOST}:8443", now)
    if ca_of_another:
        kube.edit_secret("vmscaler-gateway-tls", {"ca.crt": Authority().pem})
    with pytest.raises(
        Rejected, match=rf"no build could trust the gateway at {url}: .*({told}).*: correct the Secret or the URL"
    ) as refused:
        await ensure_certificate(kube, "vmscaler-gateway-tls", url, now)
    assert refused.value.reason == "SecretNotUsable"


@pytest.mark.parametrize("host", [HOST, "192.0.2.7", "[2001:db8::7]"])
async def test_the_gateways_own_certificate_is_for_the_host_of_its_url(host: str) -> None:
    kube, now = FakeKube(DirectEffects()), SystemClock().now()
    made = await ensure_certificate(kube, "vmscaler-gateway-tls", f"https://{host}:8443", now)
    assert await ensure_certificate(kube, "vmscaler-gateway-tls", f"https://{host}:8443", now) == made


async def test_an_expired_gateway_certificate_stops_no_start() -> None:
    kube, url, now = FakeKube(DirectEffects()), f"https://{HOST}:8443", SystemClock().now()
    await ensure_certificate(kube, "vmscaler-gateway-tls", url, now - timedelta(days=3660))
    made = await ensure_certificate(kube, "vmscaler-gateway-tls", url, now)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(made.context(), strict(made.ca))


async def test_the_gateways_key_has_no_name_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for the moment in which OpenSSL reads it: a process that is killed then would leave it there."""
    seen: list[list[Path]] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(context: ssl.SSLContext, file: str) -> None:
        seen.append(list(tmp_path.rglob("*")))
        load(context, file)

    made = await ensure_certificate(FakeKube(DirectEffects()), "vmscaler-gateway-tls", f"https://{HOST}:8443", SystemClock().now())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    handshake(made.context(), strict(made.ca))
    assert seen == [[]]
