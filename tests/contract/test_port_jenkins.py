"""One suite for ports.jenkins.Jenkins: the fake, and the real adapter on the lab's Jenkins, which must not be told apart here."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio
from tests.contract.jenkins_bench import DEADLINE, LabJenkins, lab_jenkins
from tests.fakes.effects import DirectEffects
from tests.fakes.jenkins import FakeJenkins
from tests.fakes.job_inputs import INPUTS

from vmscaler.decide import job, xmltext
from vmscaler.ports.errors import Conflict, NotFound, Rejected, Retryable, Untrusted
from vmscaler.ports.jenkins import BuildState, Jenkins

QUICK = "pipeline {\n  agent any\n  stages {\n    stage('one') {\n      steps { sh 'true' }\n    }\n  }\n}\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LabJenkins]:
    async with lab_jenkins(tmp_path_factory.mktemp("jenkins")) as running:
        yield running


@dataclass
class Bench:
    """A port, what passed its seam, and the world around it."""

    port: Jenkins
    effects: DirectEffects
    hook: Callable[[str], Awaitable[object]]
    fault: Callable[[str], Awaitable[None]]

    async def job(self, *, token: str | None = None) -> str:
        """A job of our shape with a quick pipeline, and its credential."""
        name = f"autoscale-acme-{uuid.uuid4().hex[:8]}"
        if token is not None:
            await self.port.put_secret_text(name, token, "sample")
        await self.port.create_job(name, config(name))
        self.effects.calls.clear()
        return name

    async def ended(self, name: str, count: int) -> list[BuildState]:
        """The builds when there are `count` and all have ended."""
        async with asyncio.timeout(DEADLINE):
            while True:
                builds = await self.port.last_builds(name)
                if len(builds) >= count and not any(build.building for build in builds):
                    return builds
                await asyncio.sleep(0.05)


def config(credential: str, description: str | None = None, **changes: object) -> str:
    root = xmltext.parse(job.job_config(dataclasses.replace(INPUTS, hook_credential=credential, **changes)))  # type: ignore[arg-type]
    xmltext.only(root, "definition/script").text = QUICK
    if description is not None:
        xmltext.only(root, "description").text = description
    return xmltext.render(root)


@pytest.fixture(params=["fake", "real"])
def backend(request: pytest.FixtureRequest) -> LabJenkins | None:
    running: LabJenkins | None = request.getfixturevalue("lab") if request.param == "real" else None
    return running


@pytest_asyncio.fixture
async def bench(backend: LabJenkins | None) -> AsyncIterator[Bench]:
    effects = DirectEffects()
    if backend is None:
        fake = FakeJenkins(effects)

        async def hook(token: str) -> None:
            for name, number in fake.hook(token):
                fake.finish(name, number)

        async def fault(name: str) -> None:
            {"down": fake.down, "starting": fake.starting, "bad_login": fake.refusing_login, "": fake.heal}[name]()

        yield Bench(fake, effects, hook, fault)
        return
    client = backend.client(effects, timeout=60.0)

    async def set_fault(name: str) -> None:
        await backend.faults(**({name: True} if name else {}))

    yield Bench(client, effects, backend.hook, set_fault)
    await backend.faults()
    await client.close()


async def test_about_is_the_version(bench: Bench) -> None:
    assert (await bench.port.about())[0].isdigit()


async def test_a_job_that_is_made_reads_back_without_drift(bench: Bench) -> None:
    wanted = config("sample-credential", "Acme <web> & \"co\" é 'q'")
    name = f"autoscale-{uuid.uuid4().hex[:8]}"
    assert await bench.port.job(name) is None
    await bench.port.create_job(name, wanted)
    found = await bench.port.job(name)
    assert found is not None
    assert (found.name, found.buildable) == (name, True)
    assert found.description == "Acme <web> & \"co\" é 'q'"
    assert job.differs(wanted, found.config_xml) == []
    assert bench.effects.calls == [("jenkins", "job.create", name)]


async def test_a_name_is_taken_whatever_its_case(bench: Bench) -> None:
    name = await bench.job()
    with pytest.raises(Conflict) as caught:
        await bench.port.create_job(name, config("x"))
    assert caught.value.reason == "NameTaken"
    with pytest.raises(Conflict):
        await bench.port.create_job(name.upper(), config("x"))
    assert await bench.port.job(name.upper()) is None


async def test_jenkins_refuses_names_and_texts_that_it_cannot_use(bench: Bench) -> None:
    name = await bench.job()
    for bad_name, text in (("a?b", config("x")), ("free-name", "not xml"), ("free-name", "<project/>x")):
        with pytest.raises(Rejected) as caught:
            await bench.port.create_job(bad_name, text)
        assert caught.value.reason == "RefusedByJenkins"
    with pytest.raises(Rejected):
        await bench.port.update_job(name, "not xml")
    assert await bench.port.job("free-name") is None


async def test_an_update_replaces_the_whole(bench: Bench) -> None:
    name = await bench.job()
    changed = config("another-credential", disabled=True)
    await bench.port.update_job(name, changed)
    found = await bench.port.job(name)
    assert found is not None
    assert job.differs(changed, found.config_xml) == []
    assert not found.buildable
    assert bench.effects.calls == [("jenkins", "job.update", name)]


async def test_enable_and_disable(bench: Bench) -> None:
    name = await bench.job()
    for enabled in (False, False, True):
        await bench.port.enable_job(name, enabled)
        found = await bench.port.job(name)
        assert found is not None and found.buildable is enabled
        assert ("disabled" in job.differs(config(name), found.config_xml)) is not enabled
    assert [call[1] for call in bench.effects.calls] == ["job.disable", "job.disable", "job.enable"]


async def test_what_is_missing_is_not_found(bench: Bench) -> None:
    for call in (
        lambda: bench.port.update_job("no-such-job", config("x")),
        lambda: bench.port.enable_job("no-such-job", True),
        lambda: bench.port.enable_job("no-such-job", False),
        lambda: bench.port.last_builds("no-such-job"),
    ):
        with pytest.raises(NotFound):
            await call()
    assert await bench.port.build("no-such-job", 1) is None


async def test_a_deletion_may_be_repeated(bench: Bench) -> None:
    name = await bench.job()
    await bench.port.delete_job(name)
    assert await bench.port.job(name) is None
    await bench.port.delete_job(name)


async def test_a_credential_is_made_overwritten_and_deleted(bench: Bench) -> None:
    name = f"vmscaler-hook-{uuid.uuid4()}"
    assert not await bench.port.has_credential(name)
    await bench.port.put_secret_text(name, "sample-1", "made")
    await bench.port.put_secret_text(name, "sample-2", "rotated")
    assert await bench.port.has_credential(name)
    await bench.port.delete_credential(name)
    assert not await bench.port.has_credential(name)
    await bench.port.delete_credential(name)
    assert [call[1:] for call in bench.effects.calls] == [
        ("credential.create", name),
        ("credential.update", name),
        ("credential.delete", name),
    ]


@pytest.mark.parametrize("secret", ["sample-plain-token", "sample <a> & ]]> 'q' \"d\" \\ $x"])
async def test_the_dry_run_finds_the_job_by_its_credential(bench: Bench, secret: str) -> None:
    token = f"{secret} {uuid.uuid4()}"
    name = await bench.job(token=token)
    assert await bench.port.dry_run_hook(token) == [name]
    assert await bench.port.dry_run_hook("sample-wrong-token") == []
    await bench.port.put_secret_text(name, f"new {token}", "rotated")
    assert await bench.port.dry_run_hook(token) == []
    assert await bench.port.dry_run_hook(f"new {token}") == [name]
    assert await bench.port.last_builds(name) == []


async def test_a_dry_run_does_not_see_that_a_job_is_disabled(bench: Bench) -> None:
    token = f"sample-{uuid.uuid4()}"
    name = await bench.job(token=token)
    await bench.port.enable_job(name, False)
    assert await bench.port.dry_run_hook(token) == [name]
    await bench.hook(token)
    assert await bench.port.last_builds(name) == []


async def test_a_secret_that_xml_cannot_hold_is_refused(bench: Bench) -> None:
    with pytest.raises(Rejected):
        await bench.port.put_secret_text("vmscaler-hook-x", "sample\0", "d")
    assert bench.effects.calls == []


async def test_builds_are_listed_newest_first(bench: Bench) -> None:
    token = f"sample-{uuid.uuid4()}"
    name = await bench.job(token=token)
    await bench.hook(token)
    await bench.ended(name, 1)
    await bench.hook(token)
    builds = await bench.ended(name, 2)
    assert [(build.number, build.building, build.result) for build in builds] == [(2, False, "SUCCESS"), (1, False, "SUCCESS")]
    assert builds[0].url.endswith(f"/job/{name}/2/")
    assert await bench.port.build(name, 1) == builds[1]
    assert await bench.port.build(name, 3) is None
    assert await bench.port.last_builds(name, 1) == builds[:1]


@pytest.mark.parametrize(
    ("fault", "error", "reason"),
    [
        ("down", Retryable, "Unreachable TimedOut"),
        ("starting", Retryable, "JenkinsStarting ServerError"),
        ("bad_login", Untrusted, "LoginRefused"),
    ],
)
async def test_an_outage_is_told_from_an_absence(bench: Bench, fault: str, error: type[Retryable], reason: str) -> None:
    name = await bench.job()
    await bench.fault(fault)
    for call in (
        bench.port.about,
        lambda: bench.port.job(name),
        lambda: bench.port.create_job("another", config("x")),
        lambda: bench.port.update_job(name, config("x")),
        lambda: bench.port.enable_job(name, False),
        lambda: bench.port.delete_job(name),
        lambda: bench.port.put_secret_text("sample-id", "sample", "d"),
        lambda: bench.port.has_credential("sample-id"),
        lambda: bench.port.delete_credential("sample-id"),
        lambda: bench.port.build(name, 1),
        lambda: bench.port.last_builds(name),
    ):
        with pytest.raises(error) as caught:
            await call()
        assert caught.value.reason in reason.split()
        assert caught.value.system == "jenkins"
    await bench.fault("")
    found = await bench.port.job(name)
    assert found is not None and found.buildable


async def test_nothing_is_written_past_the_seam(bench: Bench) -> None:
    name = await bench.job(token=f"sample-{uuid.uuid4()}")

    async def forbidden(*_: object) -> None:
        raise Retryable("kubernetes", "NoLease", "not the acting process")

    bench.effects.write = forbidden  # type: ignore[method-assign,assignment]
    for call in (
        lambda: bench.port.create_job("another", config("x")),
        lambda: bench.port.update_job(name, config("x")),
        lambda: bench.port.enable_job(name, False),
        lambda: bench.port.delete_job(name),
        lambda: bench.port.put_secret_text("sample-id", "sample", "d"),
        lambda: bench.port.delete_credential(name),
    ):
        with pytest.raises(Retryable, match="not the acting process"):
            await call()
    found = await bench.port.job(name)
    assert found is not None and found.buildable
    assert await bench.port.job("another") is None
    assert await bench.port.has_credential(name)
    assert not await bench.port.has_credential("sample-id")
