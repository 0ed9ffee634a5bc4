"""The management certificate, which a fault can change under the clients' feet."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path


class Certificates:
    """A server context whose certificate is looked up at each handshake."""

    def __init__(self, certificate: str, key: str) -> None:
        """PEM both. Raises ssl.SSLError."""
        self._own = self._current = _context(certificate, key)
        self._shown: tuple[str, str] | None = None
        self.context = _context(certificate, key)
        # Also called where the client sends no name, as for an IP address.
        self.context.sni_callback = self._choose

    def _choose(self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        handshake.context = self._current

    def shown_to(self, connection: ssl.SSLObject) -> bool:
        """Whether this connection was shown the certificate of now: one whose handshake was under way at a change was not, and could not be cut then."""
        return connection.context is self._current

    def use(self, certificate: str, key: str) -> bool:
        """Show another certificate from now on; whether that is a change. Raises ssl.SSLError."""
        if self._shown == (certificate, key):
            return False
        self._current = _context(certificate, key)
        self._shown = (certificate, key)
        return True

    def restore(self) -> bool:
        """Show the own one again; whether another was shown."""
        changed, self._current, self._shown = self._shown is not None, self._own, None
        return changed


def _context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="bigip-") as folder:  # mode 0700
        pem = Path(folder) / "server.pem"
        pem.write_text(f"{certificate.rstrip()}\n{key.rstrip()}\n")
        context.load_cert_chain(pem)
    return context
