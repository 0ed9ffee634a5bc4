"""TLS that trusts one PEM and nothing else, for every system of a Site. Called by the adapters that speak HTTPS."""

from __future__ import annotations

import ssl

from vmscaler.ports.errors import Rejected


def pinned_context(ca: str, system: str, field: str) -> ssl.SSLContext:
    """Host names are checked. `field` is where the user wrote `ca` ("spec.vcenter.caBundle"). Raises Rejected(CaNotUsable)."""
    hint = f"{field} must be the PEM of the CA that issued the certificate"
    if not ca.strip():  # the ssl module would take the system's CAs instead
        raise Rejected(system, "CaNotUsable", f"there is no CA: {hint}")
    try:
        context = ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError) as error:
        raise Rejected(system, "CaNotUsable", f"{hint} ({error})") from None
    # Since Python 3.13 the default also wants key identifiers, which many an in-house CA leaves out. The PEM says whom to trust:
    # which Python runs must not decide whether a system is reached.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
