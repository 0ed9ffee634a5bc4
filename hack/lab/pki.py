"""The run's own certificate authority: each TLS server of the lab has its certificate from here, and the Site's
`caBundle` is `Authority.pem`.

Called by `lab.datacentre` and the contract tests. Keys are born per run and live in the run's folder only; `wrong()` is
what a test pins to see a refusal.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Issued:
    """A server's certificate chain and key, PEM."""

    certificate: str
    key: str

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write `<name>.crt` and `<name>.key` (mode 0600) into `folder`; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_text(self.certificate)
        key.unlink(missing_ok=True)
        with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self.key)
        return certificate, key


class Authority:
    """One CA. Two of them have nothing in common: a certificate of one fails under the other."""

    def __init__(self, name: str = "vmscaler lab") -> None:
        """`name` shows as the organization in the CA's subject."""
        self._ca = trustme.CA(organization_name=name, organization_unit_name="CA of one run")

    @property
    def pem(self) -> str:
        """The CA's certificate, for pinning."""
        return self._ca.cert_pem.bytes().decode()

    def issue(self, *names: str) -> Issued:
        """A server certificate for host names and IP addresses. Raises ValueError without any."""
        if not names:
            raise ValueError("a certificate needs a name or an address")
        leaf = self._ca.issue_cert(*names, common_name=names[0])
        return Issued("".join(blob.bytes().decode() for blob in leaf.cert_chain_pems), leaf.private_key_pem.bytes().decode())

    def write(self, path: Path) -> Path:
        """Write the CA's certificate to `path`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.pem)
        return path

    @staticmethod
    def wrong() -> Authority:
        """A CA that has signed nothing of this run."""
        return Authority("not the lab's")
