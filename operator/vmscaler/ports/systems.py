"""The systems of one Site, ready to be used: what bootstrap hands to the flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vmscaler.api.site import Site
from vmscaler.ports.bigip import BigIp
from vmscaler.ports.jenkins import Jenkins
from vmscaler.ports.monitoring import AlertmanagerApi, MonitoringHosts, PrometheusApi
from vmscaler.ports.vsphere import VSphere


@dataclass(frozen=True)
class Systems:
    """Clients for one site's systems. Pairs are behind one client each."""

    vsphere: VSphere
    bigip: BigIp
    jenkins: Jenkins
    prometheus: PrometheusApi
    alertmanager: AlertmanagerApi
    hosts: MonitoringHosts


class SystemsOf(Protocol):
    """Hands out clients, made anew when the Site or one of its Secrets changes, and put away when the Site goes."""

    async def of(self, site: Site) -> Systems:
        """Raises Rejected(SecretNotFound | SecretIncomplete) naming the Secret and key, Retryable."""
        ...

    async def forget(self, site: Site) -> None:
        """The Site is gone: its clients log out when the calls under way are over. Raises nothing of the outside."""
        ...
