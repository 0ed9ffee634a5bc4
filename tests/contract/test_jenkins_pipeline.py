"""The job as vmscaler writes it, run by the lab's Jenkins with the step client as its agents have it, against a scripted gateway."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from tests.contract.jenkins_bench import API_TOKEN, DEADLINE, USER, LabJenkins, lab_jenkins, until, until_ended
from tests.contract.step_bench import STEP_CLIENT, TOKEN, Gateway, answer
from tests.fakes.job_inputs import INPUTS, VALUES

from vmscaler.adapters.jenkins import JenkinsClient
from vmscaler.adapters.tls import pinned_context
from vmscaler.decide import job
from vmscaler.ports.jenkins import BuildState

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LabJenkins]:
    async with lab_jenkins(tmp_path_factory.mktemp("jenkins")) as running:
        yield running


@dataclass
class Loop:
    """A job of ours on the lab Jenkins, and the gateway that it asks."""

    lab: LabJenkins
    client: JenkinsClient
    gateway: Gateway
    name: str
    hook_token: str
    step_credential: str
    config: str

    async def fire(self, **payload: object) -> int:
        """An alert; the number of the build that begins."""
        answered = await self.lab.hook(self.hook_token, **payload)
        assert answered[self.name]["triggered"] is True
        return (await until(lambda: self.client.last_builds(self.name)))[0].number

    async def run(self, **payload: object) -> tuple[BuildState, list[str]]:
        """An alert and its build to the end; the steps that asked."""
        build = await until_ended(self.client, self.name, await self.fire(**payload))
        return build, self.steps()

    def steps(self) -> list[str]:
        return [path.rsplit("/", 1)[1] for path, _, _ in self.gateway.questions]

    async def get(self, path: str) -> str:
        return await self._request("GET", path)

    async def stop(self, number: int) -> None:
        await self._request("POST", f"job/{self.name}/{number}/stop")

    async def _request(self, method: str, path: str) -> str:
        login = {"Authorization": aiohttp.encode_basic_auth(USER, API_TOKEN)}
        context = pinned_context(self.lab.authority.pem, "jenkins", "caBundle")
        async with (
            aiohttp.ClientSession(headers=login) as session,
            session.request(method, self.lab.url + path, ssl=context, allow_redirects=False) as response,
        ):
            return await response.text()


@pytest_asyncio.fixture(loop_scope="module")
async def loop(lab: LabJenkins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Loop]:
    monkeypatch.setenv("STEP_BENCH_FOLDER", str(tmp_path))
    gateway = Gateway()
    await gateway.start()
    client = lab.client()
    uid = str(uuid.uuid4())
    name, hook_token = f"autoscale-acme-{uid[:8]}", f"sample-hook-token-{uid}"
    values = dataclasses.replace(
        VALUES,
        step_command=str(STEP_CLIENT),
        gateway_url=f"https://127.0.0.1:{gateway.port}",
        gateway_ca_pem=gateway.authority.pem,
        step_credential=f"vmscaler-step-{uid}",
    )
    config = job.job_config(dataclasses.replace(INPUTS, policy_uid=uid, hook_credential=f"vmscaler-hook-{uid}", values=values))
    await client.put_secret_text(f"vmscaler-hook-{uid}", hook_token, "sample")
    await client.put_secret_text(values.step_credential, TOKEN, "sample")
    await client.create_job(name, config)
    yield Loop(lab, client, gateway, name, hook_token, values.step_credential, config)
    await client.delete_job(name)
    await client.close()
    await gateway.stop()


def by_step(**answers: web.Response | Any) -> Any:
    """A gateway that succeeds in every step but those."""

    async def reply(request: web.Request) -> web.StreamResponse:
        step = request.path.rsplit("/", 1)[1]
        scripted = answers.get(step)
        if scripted is None:
            return answer("succeeded", event="web-0f8e9-3")
        return scripted if isinstance(scripted, web.Response) else await scripted(request)

    return reply


async def until_stopped(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(DEADLINE)
    return answer("running")


async def test_an_accepted_claim_runs_all_steps(loop: Loop) -> None:
    assert await loop.client.dry_run_hook(loop.hook_token) == [loop.name]
    loop.gateway.last = by_step(
        clone=answer("succeeded", progress=[{"time": "2026-01-01T00:00:00Z", "message": "cloned as web-0f8e9-3-1"}])
    )
    build, steps = await loop.run(alerts=[{"fingerprint": "c0ffee", "startsAt": "2026-01-01T00:00:00Z"}], groupKey="{}:{x='$(id)'}")
    assert (build.result, build.description) == ("SUCCESS", "web-0f8e9-3")
    assert steps == ["claim", "allocate", "clone", "verify", "join", "finish"]
    _, headers, body = loop.gateway.questions[0]
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert (body["job"], body["build"], body["generation"]) == (loop.name, 1, "sample-generation-1")
    assert body["buildUrl"].endswith(f"/job/{loop.name}/1/")
    assert body["hook"] == {
        "am_status": "firing",
        "am_alertname": "VmscalerHighCpu",
        "am_fingerprint": "c0ffee",
        "am_started": "2026-01-01T00:00:00Z",
        "am_group": "{}:{x='$(id)'}",
    }
    console = await loop.get(f"job/{loop.name}/1/consoleText")
    assert "cloned as web-0f8e9-3-1" in console
    stored = await loop.client.job(loop.name)
    assert stored is not None
    assert job.differs(loop.config, stored.config_xml) == []
    for secret in (TOKEN, loop.hook_token):
        assert secret not in console + stored.config_xml


async def test_a_refused_claim_is_not_built_and_rolls_nothing_back(loop: Loop) -> None:
    loop.gateway.last = by_step(claim=answer("refused", reason="Cooldown", message="40s left"))
    build, steps = await loop.run()
    assert (build.result, build.description) == ("NOT_BUILT", "Cooldown: 40s left")
    assert steps == ["claim"]


async def test_a_claim_that_is_not_served_fails_and_is_rolled_back(loop: Loop) -> None:
    loop.gateway.last = by_step(claim=web.json_response({"reason": "UnknownJob", "message": "made anew"}, status=409))
    build, steps = await loop.run()
    assert build.result == "FAILURE"
    assert steps == ["claim", "rollback"]


@pytest.mark.parametrize("failing", ["allocate", "verify", "finish"])
async def test_a_step_that_fails_is_rolled_back(loop: Loop, failing: str) -> None:
    loop.gateway.last = by_step(**{failing: answer("failed", reason="No", message="sample")})
    build, steps = await loop.run()
    order = ["claim", "allocate", "clone", "verify", "join", "finish"]
    assert (build.result, build.description) == ("FAILURE", "web-0f8e9-3")
    assert steps == [*order[: order.index(failing) + 1], "rollback"]


@pytest.mark.parametrize("during", ["claim", "clone"])
async def test_a_build_that_is_stopped_is_rolled_back(loop: Loop, during: str) -> None:
    loop.gateway.last = by_step(**{during: until_stopped})
    number = await loop.fire()

    async def under_way() -> bool:
        return during in loop.steps()

    await until(under_way)
    await loop.stop(number)
    build = await until_ended(loop.client, loop.name, number)
    assert build.result == "ABORTED"
    assert loop.steps()[-2:] == [during, "rollback"]
    assert "ended by SIGTERM" in await loop.get(f"job/{loop.name}/{number}/consoleText")


async def test_the_stages_time_limit_ends_a_step_and_not_the_rollback(loop: Loop) -> None:
    limits = dataclasses.replace(VALUES.limits, verify=6)  # in which a busy machine starts the step
    short = loop.config.replace(f"timeout(time: {VALUES.limits.verify},", f"timeout(time: {limits.verify},")
    assert short != loop.config
    await loop.client.update_job(loop.name, short)

    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3)
        return answer("succeeded")

    loop.gateway.last = by_step(verify=until_stopped, rollback=slow)
    build, steps = await loop.run()
    assert build.result == "ABORTED"
    assert steps == ["claim", "allocate", "clone", "verify", "rollback"]
    assert "rollback: succeeded" in await loop.get(f"job/{loop.name}/1/consoleText")


async def test_a_missing_step_credential_is_told_before_any_step(loop: Loop) -> None:
    loop.gateway.last = by_step()
    await loop.client.delete_credential(loop.step_credential)
    build, steps = await loop.run()
    assert build.result == "FAILURE"
    assert steps == []
