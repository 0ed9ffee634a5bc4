"""The outside of a Site in memory, for `bench.vmscaler_faked`: the tests' fakes, where they cost next to nothing, else something plainer.

What is measured is the operator and the API server; a fake that parses a thousand jobs to find one token would be measured instead.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from tests.fakes.bigip import FakeBigIp
from tests.fakes.jenkins import FakeJenkins
from tests.fakes.monitoring_api import FakeAlertmanagerApi, FakePrometheusApi
from tests.fakes.monitoring_hosts import FakeMonitoringHosts
from tests.fakes.vsphere import FakeVSphere

from vmscaler.decide import xmltext
from vmscaler.decide.job_fields import GENERIC_TRIGGER
from vmscaler.ports.effects import Effects
from vmscaler.ports.monitoring import SYSTEM, MonitoringHosts, Route, RuleFile, TargetFile
from vmscaler.ports.systems import Systems

TEMPLATE = "/DC0/vm/templates/tmpl-web"


class IndexedJenkins(FakeJenkins):
    """The fake, which finds a token's jobs by an index, as Jenkins does."""

    def __init__(self, effects: Effects) -> None:
        super().__init__(effects)
        self._job_of: dict[str, set[str]] = {}
        self._credential_of: dict[str, str] = {}

    async def create_job(self, name: str, config_xml: str) -> None:
        await super().create_job(name, config_xml)
        credential = xmltext.parse(config_xml).findtext(f"{GENERIC_TRIGGER}/tokenCredentialId") or ""
        self._job_of.setdefault(credential, set()).add(name)

    async def put_secret_text(self, credential_id: str, secret: str, description: str) -> None:
        await super().put_secret_text(credential_id, secret, description)
        self._credential_of[secret] = credential_id

    async def dry_run_hook(self, token: str) -> list[str]:
        return sorted(name for name in self._job_of.get(self._credential_of.get(token, ""), ()) if name.lower() in self.jobs)


@dataclass
class PlainHosts:
    """Implements ports.monitoring.MonitoringHosts: what is there is compared, and nothing is parsed."""

    effects: Effects
    there: dict[str, object] = field(default_factory=dict)

    async def check(self) -> dict[str, str]:
        """One host."""
        return {"prometheus/plain": "plain", "alertmanager/plain": "plain"}

    async def put_rules(self, rules: RuleFile) -> None:
        """See the port."""
        await self._put("rules", rules.file_name, rules)

    async def remove_rules(self, file_name: str) -> None:
        """See the port."""
        await self._put("rules", file_name, None)

    async def put_targets(self, targets: TargetFile) -> None:
        """See the port."""
        await self._put("targets", targets.file_name, targets)

    async def remove_targets(self, file_name: str) -> None:
        """See the port."""
        await self._put("targets", file_name, None)

    async def remove_entries(self, *, keep: Collection[str] = ()) -> None:
        """There are none."""

    async def put_token(self, file_name: str, token: str) -> None:
        """See the port."""
        await self._put("token", file_name, token)

    async def remove_token(self, file_name: str) -> None:
        """See the port."""
        await self._put("token", file_name, None)

    def token_path(self, file_name: str) -> str:
        """As Alertmanager sees it."""
        return f"/etc/alertmanager/vmscaler/tokens/{file_name}"

    async def put_route(self, route: Route) -> None:
        """See the port."""
        await self._put("config", route.name, route)

    async def remove_route(self, name: str) -> None:
        """See the port."""
        await self._put("config", name, None)

    async def close(self) -> None:
        """Nothing is open."""

    async def _put(self, kind: str, name: str, wanted: object) -> None:
        key = f"{kind} {name}"
        if self.there.get(key) == wanted:
            return

        async def put() -> None:
            if wanted is None:
                self.there.pop(key, None)
            else:
                self.there[key] = wanted

        await self.effects.write(SYSTEM, f"{kind}.{'remove' if wanted is None else 'replace'}", name, put)


def outside(effects: Effects, *, pools: int, splicing: bool) -> Systems:
    """All systems of a site with so many pools. `splicing`: the hosts' files are real bytes, edited by the product's splice each time."""
    bigip, vsphere = FakeBigIp(effects), FakeVSphere(effects)
    for number in range(pools):
        bigip.put_pool(f"/Common/pool-{number}", members=[("10.9.0.1", 8080), ("10.9.0.2", 8080)])
    vsphere.put_template(TEMPLATE, cpus=2, memory_mib=2048, disk_gib=20)
    hosts: MonitoringHosts = FakeMonitoringHosts(effects) if splicing else PlainHosts(effects)
    return Systems(vsphere, bigip, IndexedJenkins(effects), FakePrometheusApi(), FakeAlertmanagerApi(), hosts)
