"""The environment as settings: what is taken, and what is said of what is not."""

from __future__ import annotations

import pytest

from vmscaler.settings import SettingsError, from_environment

URL = {"VMSCALER_GATEWAY_URL": "https://gateway.example.org:8443"}


def test_defaults_and_given_ones() -> None:
    found = from_environment({**URL, "VMSCALER_LEASE_SECONDS": "3", "PATH": "/bin"})
    assert (found.gateway_url, found.lease_seconds, found.gateway_port, found.jenkins_dir) == (URL["VMSCALER_GATEWAY_URL"], 3, 8443, None)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "VMSCALER_GATEWAY_URL is not set (The gateway as the build agents reach it, https://host:port)"),
        ({**URL, "VMSCALER_GATEWAY_PORT_8443_TCP": "tcp://192.0.2.1:8443"}, "VMSCALER_GATEWAY_PORT_8443_TCP is no setting"),
        ({"VMSCALER_GATEWAY_URL": "http://gateway.example.org"}, "VMSCALER_GATEWAY_URL: String should match pattern"),
        ({**URL, "VMSCALER_RESYNC_SECONDS": "nan"}, "VMSCALER_RESYNC_SECONDS: "),
        ({**URL, "VMSCALER_LEASE_SECONDS": "2.5"}, "VMSCALER_LEASE_SECONDS: "),
        ({**URL, "VMSCALER_LOG_FORMAT": "sample-secret"}, "VMSCALER_LOG_FORMAT: "),
    ],
)
def test_what_is_wrong_is_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as error:
        from_environment(environ)
    assert str(error.value).startswith(said)
    assert "sample-secret" not in str(error.value) and "docs/settings.md" in str(error.value)
