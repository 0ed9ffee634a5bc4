"""ports.monitoring.MonitoringHosts: one suite on the fake and on the real adapter against the lab's monitoring host."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from ruamel.yaml import YAML
from tests.contract.monitoring_bench import Monitoring
from tests.contract.monitoring_hosts_bench import TOKEN, lab_hosts, people_files, restore, route, rules
from tests.fakes.effects import DirectEffects
from tests.fakes.monitoring_hosts import ALERTMANAGER_YML, PROMETHEUS_YML, RULES, TARGETS, TOKENS, FakeMonitoringHosts

from vmscaler.ports.errors import Rejected
from vmscaler.ports.monitoring import MonitoringHosts, TargetFile

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]


@dataclass
class Bench:
    """The port, what it wrote, and the files behind it."""

    hosts: MonitoringHosts
    effects: DirectEffects
    read: Callable[[str], bytes | None]
    prometheus: str
    alertmanager: str
    rules: str
    targets: str
    tokens: str

    def routes(self) -> list[str]:
        document = YAML(typ="safe", pure=True).load(self.read(self.alertmanager))
        assert {one["receiver"] for one in document["route"]["routes"]} <= {one["name"] for one in document["receivers"]}
        return [one["receiver"] for one in document["route"]["routes"]]


def _fake() -> Bench:
    effects = DirectEffects()
    fake = FakeMonitoringHosts(effects)
    return Bench(fake, effects, lambda path: fake.files.get(path), PROMETHEUS_YML, ALERTMANAGER_YML, RULES, TARGETS, TOKENS)


@contextlib.asynccontextmanager
async def _lab(lab_monitoring: Monitoring) -> AsyncIterator[Bench]:
    effects, before, record = DirectEffects(), people_files(lab_monitoring), lab_monitoring.record
    hosts = lab_hosts(lab_monitoring, effects)
    prometheus, alertmanager = record["prometheus"], record["alertmanager"]
    try:
        yield Bench(
            hosts,
            effects,
            lambda path: Path(path).read_bytes() if Path(path).exists() else None,
            prometheus["configFile"],
            alertmanager["configFile"],
            prometheus["rulesDir"],
            prometheus["targetsDir"],
            alertmanager["tokensDir"],
        )
    finally:
        await hosts.close()
        await restore(lab_monitoring, before)


class Suite:
    """What every implementation of the port does."""

    async def test_check_finds_the_hosts_and_writes_nothing(self, bench: Bench) -> None:
        found = await bench.hosts.check()
        assert {name.split("/")[0] for name in found} == {"prometheus", "alertmanager"}
        assert bench.effects.calls == []

    async def test_rules_come_change_and_go(self, bench: Bench) -> None:
        before, path = bench.read(bench.prometheus), f"{bench.rules}/vmscaler-acme.web.yml"
        await bench.hosts.put_rules(rules())
        entered = bench.read(bench.prometheus)
        assert entered != before
        assert YAML(typ="safe", pure=True).load(bench.read(path)) == rules().document
        await bench.hosts.put_rules(rules(cpuThreshold=70))
        assert YAML(typ="safe", pure=True).load(bench.read(path)) == rules(cpuThreshold=70).document
        await bench.hosts.put_rules(rules("shop"))
        await bench.hosts.remove_rules("vmscaler-acme.web.yml")
        assert bench.read(path) is None
        assert bench.read(f"{bench.rules}/vmscaler-acme.shop.yml") is not None
        assert bench.read(bench.prometheus) == entered, "our entries stay"
        await bench.hosts.remove_rules("vmscaler-acme.web.yml")

    async def test_routes_come_change_and_go_and_leave_every_byte(self, bench: Bench) -> None:
        before, theirs = bench.read(bench.alertmanager), bench.routes()
        await bench.hosts.put_route(route(bench.hosts))
        await bench.hosts.put_route(route(bench.hosts, "shop"))
        assert bench.routes() == ["vmscaler/acme/shop", "vmscaler/acme/web", *theirs], "before every broader route"
        await bench.hosts.put_route(route(bench.hosts, url="https://other.example.com/hook"))
        assert (bench.read(bench.alertmanager) or b"").count(b"https://other.example.com/hook") == 1
        await bench.hosts.remove_route("vmscaler/acme/web")
        await bench.hosts.remove_route("vmscaler/acme/shop")
        await bench.hosts.remove_route("vmscaler/acme/never-was")
        assert bench.read(bench.alertmanager) == before

    async def test_targets_come_change_and_go(self, bench: Bench) -> None:
        groups = ({"targets": ["192.0.2.100:9100"], "labels": {"job": "acme-web"}},)
        path = f"{bench.targets}/vmscaler-acme.web.json"
        await bench.hosts.put_targets(TargetFile("vmscaler-acme.web.json", groups))
        assert json.loads(bench.read(path) or b"") == list(groups)
        await bench.hosts.put_targets(TargetFile("vmscaler-acme.web.json"))
        assert json.loads(bench.read(path) or b"") == []
        await bench.hosts.remove_targets("vmscaler-acme.web.json")
        await bench.hosts.remove_targets("vmscaler-acme.web.json")
        assert bench.read(path) is None

    async def test_our_entries_go_with_the_site_and_leave_every_byte(self, bench: Bench) -> None:
        before = bench.read(bench.prometheus)
        await bench.hosts.put_rules(rules())
        await bench.hosts.put_targets(TargetFile("vmscaler-acme.web.json"))
        entered = bench.read(bench.prometheus)
        assert entered != before
        await bench.hosts.remove_entries(keep=["fake", "prom-1"])
        assert bench.read(bench.prometheus) == entered, "another Site uses them"
        await bench.hosts.remove_rules("vmscaler-acme.web.yml")
        await bench.hosts.remove_targets("vmscaler-acme.web.json")
        await bench.hosts.remove_entries()
        assert bench.read(bench.prometheus) == before
        written = len(bench.effects.calls)
        await bench.hosts.remove_entries()
        assert bench.effects.calls[written:] == []

    async def test_tokens_come_change_and_go_and_are_in_no_effects_name(self, bench: Bench) -> None:
        path = f"{bench.tokens}/vmscaler-acme.web.token"
        assert bench.hosts.token_path("vmscaler-acme.web.token") == path
        await bench.hosts.put_token("vmscaler-acme.web.token", TOKEN)
        await bench.hosts.put_token("vmscaler-acme.web.token", TOKEN + "2")
        assert bench.read(path) == (TOKEN + "2").encode()
        await bench.hosts.remove_token("vmscaler-acme.web.token")
        await bench.hosts.remove_token("vmscaler-acme.web.token")
        assert bench.read(path) is None
        assert TOKEN not in repr(bench.effects.calls)

    async def test_what_is_right_already_is_only_read(self, bench: Bench) -> None:
        async def everything() -> None:
            await bench.hosts.put_token("vmscaler-acme.web.token", TOKEN)
            await bench.hosts.put_route(route(bench.hosts))
            await bench.hosts.put_rules(rules())
            await bench.hosts.put_targets(TargetFile("vmscaler-acme.web.json"))

        await everything()
        written = len(bench.effects.calls)
        await everything()
        await bench.hosts.remove_route("vmscaler/acme/never-was")
        await bench.hosts.remove_rules("vmscaler-acme.never-was.yml")
        assert bench.effects.calls[written:] == []

    async def test_a_style_that_cannot_be_kept_is_refused_and_left_alone(self, bench: Bench) -> None:
        before = bench.read(bench.alertmanager) or b""
        odd = before + b'tab:\n\t- "x"\n'
        if isinstance(bench.hosts, FakeMonitoringHosts):
            bench.hosts.files[bench.alertmanager] = odd
        else:
            Path(bench.alertmanager).write_bytes(odd)  # noqa: ASYNC240 - small, and nothing else runs on the loop
        with pytest.raises(Rejected, match=r"line .* write spaces in place of the tab") as refused:
            await bench.hosts.put_route(route(bench.hosts))
        assert refused.value.reason == "StyleNotSupported"
        assert bench.read(bench.alertmanager) == odd
        assert bench.effects.calls == []


class TestFakeMonitoringHosts(Suite):
    @pytest.fixture
    def bench(self) -> Bench:
        return _fake()


class TestSshMonitoringHosts(Suite):
    @pytest_asyncio.fixture(loop_scope="session")
    async def bench(self, lab_monitoring: Monitoring) -> AsyncIterator[Bench]:
        async with _lab(lab_monitoring) as bench:
            yield bench
