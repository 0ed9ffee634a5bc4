"""What Site, policy and settings say arrives where it belongs: in the job, the route and the rules."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.fakes.monitoring_hosts import ALERTMANAGER_YML
from tests.fakes.world import World

from vmscaler.api.meta import Json
from vmscaler.decide import xmltext
from vmscaler.flows.context import GatewayAddress

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

JOB = "autoscale-acme-web"
RULES = "/etc/prometheus/vmscaler/rules/vmscaler-acme.web.yml"


def document(content: bytes) -> Any:
    return YAML(typ="safe", pure=True).load(content.decode())


async def test_the_job() -> None:
    def site(body: Json) -> None:
        body["spec"]["jenkins"] |= {"agentLabel": "vm-agents", "stepCommand": "/opt/vmscaler/step"}

    def policy(body: Json) -> None:
        body["spec"]["service"] = {"name": "web", "displayName": "The shop"}
        body["spec"]["timeouts"] = {"clone": "7m", "boot": "3m", "health": "2m", "member": "4m", "drain": "1m"}

    world = await World.make(site=site, policy=policy)
    await world.start()
    await world.ready()
    root = xmltext.parse(world.jenkins.jobs[JOB].config_xml)
    script = root.findtext("definition/script") or ""
    assert "agent { label 'vm-agents' }" in script and "STEP = '/opt/vmscaler/step'" in script
    assert "VMSCALER_GATEWAY_URL = 'https://vmscaler.example.org:8443'" in script
    # Ten minutes more than the operator's own limits, for an operator that is away.
    limits = {"allocate": 600, "clone": 1020, "verify": 900, "join": 840, "finish": 600}
    for stage, seconds in limits.items():
        assert f"time: {seconds}, " in script.partition(f"stage('{stage}')")[2].partition("}")[0], stage
    assert script.count("timeout(time: 1080, ") == 2, "rollback: drain and clone"
    assert "(The shop)" in (root.findtext("description") or "")
    await world.stop()


async def test_the_route() -> None:
    def site(body: Json) -> None:
        body["spec"]["jenkins"] |= {"hookUrl": "https://hooks.example.org/jenkins/", "hookCaFile": "/etc/ssl/hooks.pem"}
        body["spec"]["alertmanager"] |= {"groupWait": "3s", "groupInterval": "17s", "repeatInterval": "90s"}

    world = await World.make(site=site)
    await world.start()
    await world.ready()
    loaded = document(world.hosts.loaded[ALERTMANAGER_YML])
    route = loaded["route"]["routes"][0]
    (receiver,) = (one for one in loaded["receivers"] if one["name"] == "vmscaler/acme/web")
    (webhook,) = receiver["webhook_configs"]
    assert webhook["url"] == "https://hooks.example.org/jenkins/generic-webhook-trigger/invoke"
    assert webhook["http_config"]["tls_config"] == {"ca_file": "/etc/ssl/hooks.pem"}
    token_file = webhook["http_config"]["authorization"]["credentials_file"]
    (secret,) = world.kube.secrets.values()
    assert world.hosts.files[token_file].decode() == secret.data["hookToken"]
    assert (route["group_wait"], route["group_interval"], route["repeat_interval"]) == ("3s", "17s", "90s")
    await world.stop()


async def test_a_hook_that_alertmanager_reaches_as_we_do() -> None:
    world = await World.make(site=lambda body: [body["spec"]["jenkins"].pop(key, None) for key in ("hookUrl", "hookCaFile")])  # type: ignore[arg-type, return-value]
    await world.start()
    await world.ready()
    receivers = document(world.hosts.loaded[ALERTMANAGER_YML])["receivers"]
    (webhook,) = next(one for one in receivers if one["name"] == "vmscaler/acme/web")["webhook_configs"]
    assert webhook["url"] == "https://jenkins.example.org/generic-webhook-trigger/invoke"
    assert "tls_config" not in webhook["http_config"]
    await world.stop()


async def test_the_rules() -> None:
    world = await World.make(site=lambda body: body["spec"]["prometheus"].update(evaluationInterval="7s"))
    await world.start()
    await world.ready()
    (group,) = document(world.hosts.loaded[RULES])["groups"]
    assert group["interval"] == "7s"
    assert {rule["labels"]["vmscaler_site"] for rule in group["rules"]} == {"default"}
    await world.stop()


async def test_one_figure_of_two_is_enough_for_rules_that_can_fire() -> None:
    world = await World.make(policy=lambda body: body["spec"]["monitoring"].update(cpuThreshold=80, memoryThreshold=90))
    world.prometheus.silent = "node_memory"
    await world.start()
    await world.ready()
    (group,) = document(world.hosts.loaded[RULES])["groups"]
    assert len(group["rules"]) == 2
    await world.stop()


async def test_a_gateway_that_may_not_stand_in_a_pipeline() -> None:
    world = await World.make()
    operator = await world.start()
    operator.ctx.gateway = GatewayAddress("https://gateway.example.org:8443/?x='+\"id\".execute()+'", operator.ctx.gateway.ca)
    await world.quiet()
    assert await world.condition("JobReady") == ("False", "JobNotRenderable")
    assert world.jenkins.jobs == {}
    await world.stop()


async def test_rules_that_cannot_be_written() -> None:
    world = await World.make(policy=lambda body: body["spec"]["monitoring"].update(matchLabels={"instance": "a"}))
    await world.start()
    await world.quiet()
    assert await world.condition("RulesReady") == ("False", "RulesNotRenderable")
    assert RULES not in world.hosts.files
    await world.stop()
