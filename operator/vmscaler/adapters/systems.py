"""Clients for a Site's systems, made from its spec and Secrets, made anew when one of them changes. Implements ports.systems.SystemsOf."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable, Hashable
from typing import Protocol

import structlog

from vmscaler.adapters.alertmanager import AlertmanagerClient
from vmscaler.adapters.bigip import BigIpClient
from vmscaler.adapters.folded import Folded
from vmscaler.adapters.jenkins import JenkinsClient
from vmscaler.adapters.monitoring_host import SshKey, SshMonitoringHosts
from vmscaler.adapters.monitoring_http import Endpoint
from vmscaler.adapters.prometheus import PrometheusClient
from vmscaler.adapters.vsphere import VSphereClient
from vmscaler.api.meta import Json
from vmscaler.api.site import Site
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import NotFound, Rejected
from vmscaler.ports.kube import Kube
from vmscaler.ports.systems import Systems

log = structlog.get_logger()

# Clients that a changed Site has replaced, or whose Site is gone, are closed after this long (seconds): calls under way are over then.
CLOSE_AFTER = 60.0


class Closing(Protocol):
    """What all clients have."""

    async def close(self) -> None: ...


class SiteSystems:
    """A cache by Site UID; the key to it is a digest of what the clients are made of: these parts of the spec, and the Secrets' contents.

    A new tenant or network changes no client: what is under way with one would have to begin again.
    """

    def __init__(self, kube: Kube, effects: Effects, wrap: Callable[[Systems], Systems] = lambda systems: systems) -> None:
        """`wrap` may put something round the clients (fault injection from outside the product)."""
        self._kube, self._effects, self._wrap = kube, effects, wrap
        self._cache: dict[str, tuple[str, Systems]] = {}
        self._lock = asyncio.Lock()
        self._reads: Folded[Hashable, Systems] = Folded()
        self._closing: set[asyncio.Task[None]] = set()
        self._ending = asyncio.Event()

    async def of(self, site: Site) -> Systems:
        """Raises Rejected(SecretNotFound | SecretIncomplete), Retryable."""
        return await self._reads.read((site.uid, site.metadata.generation), lambda: self._of(site))

    async def forget(self, site: Site) -> None:
        """See the port."""
        cached = self._cache.pop(site.uid, None)
        if cached is not None:
            self._close_later(cached[1])

    async def _of(self, site: Site) -> Systems:
        async with self._lock:
            secrets = await self._secrets(site)
            digest = hashlib.sha256(json.dumps([_connections(site), secrets], sort_keys=True).encode()).hexdigest()
            cached = self._cache.get(site.uid)
            if cached is not None and cached[0] == digest:
                return cached[1]
            systems = self._wrap(self._make(site, secrets))
            self._cache[site.uid] = (digest, systems)
            if cached is not None:
                self._close_later(cached[1])
            return systems

    async def _secrets(self, site: Site) -> dict[str, dict[str, str]]:
        spec = site.spec
        wanted: dict[str, tuple[str, ...]] = {
            spec.vcenter.credentials_secret_ref.name: ("username", "password"),
            spec.bigip.credentials_secret_ref.name: ("username", "password"),
            spec.jenkins.credentials_secret_ref.name: ("username", "token"),
        }
        for name in _ssh_secrets(site):
            wanted[name] = (*wanted.get(name, ()), "privateKey")
        found = {}
        for name, keys in wanted.items():
            try:
                data = await self._kube.get_secret(name)
            except NotFound as error:
                said = f"there is no Secret {name!r} in the operator's namespace: create it with {', '.join(keys)}"
                raise Rejected("kubernetes", "SecretNotFound", said) from error
            missing = [key for key in keys if not data.get(key)]
            if missing:
                raise Rejected("kubernetes", "SecretIncomplete", f"Secret {name!r} lacks {', '.join(missing)}: add it")
            # `kubectl create secret --from-file` keeps the line end that an editor or echo left, and no password ends so.
            found[name] = {key: text if key == "privateKey" else text.rstrip("\r\n") for key, text in data.items()}
        return found

    def _make(self, site: Site, secrets: dict[str, dict[str, str]]) -> Systems:
        spec, effects = site.spec, self._effects
        vcenter = secrets[spec.vcenter.credentials_secret_ref.name]
        bigip = secrets[spec.bigip.credentials_secret_ref.name]
        jenkins = secrets[spec.jenkins.credentials_secret_ref.name]
        return Systems(
            vsphere=VSphereClient(
                spec.vcenter.url, vcenter["username"], vcenter["password"], spec.vcenter.ca_bundle, spec.vcenter.datacenter, effects
            ),
            bigip=BigIpClient(
                spec.bigip.urls, bigip["username"], bigip["password"], spec.bigip.login_provider, spec.bigip.ca_bundle, effects
            ),
            jenkins=JenkinsClient(spec.jenkins.url, jenkins["username"], jenkins["token"], effects, ca=spec.jenkins.ca_bundle),
            prometheus=PrometheusClient([Endpoint(host.name, host.url, host.ca_bundle) for host in spec.prometheus.hosts]),
            alertmanager=AlertmanagerClient([Endpoint(host.name, host.url, host.ca_bundle) for host in spec.alertmanager.hosts]),
            hosts=SshMonitoringHosts(
                spec.prometheus.hosts,
                spec.alertmanager.hosts,
                keys={name: SshKey(secrets[name]["privateKey"], secrets[name].get("passphrase")) for name in _ssh_secrets(site)},
                effects=effects,
            ),
        )

    def _close_later(self, systems: Systems) -> None:
        async def close() -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_AFTER):
                    await self._ending.wait()
            await close_systems(systems)

        task = asyncio.create_task(close(), name="close-clients")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all, at the end of the process: also what would have been closed later."""
        for _, systems in self._cache.values():
            self._close_later(systems)
        self._cache.clear()
        self._ending.set()
        await asyncio.gather(*self._closing)


def _connections(site: Site) -> list[Json]:
    spec = site.spec
    return [part.wire() for part in (spec.vcenter, spec.bigip, spec.jenkins, spec.prometheus, spec.alertmanager)]


def _ssh_secrets(site: Site) -> list[str]:
    logins = [host.ssh for host in site.spec.prometheus.hosts] + [host.ssh for host in site.spec.alertmanager.hosts]
    return [login.credentials_secret_ref.name for login in logins]


async def close_systems(systems: Systems) -> None:
    """Log out everywhere, side by side; what cannot be reached within 5 s is left to its own time-out."""

    async def close(client: Closing) -> None:
        try:
            async with asyncio.timeout(5):
                await client.close()
        except Exception as error:
            log.debug("closing a client", error=str(error))

    clients = (systems.vsphere, systems.bigip, systems.jenkins, systems.hosts, systems.prometheus, systems.alertmanager)
    await asyncio.gather(*(close(client) for client in clients))
