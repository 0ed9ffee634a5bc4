"""jenkins/vmscaler-step against a gateway on loopback: each outcome, a gateway that goes and comes, TERM, trust, hostile answers."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from tests.contract.step_bench import TOKEN, Client, Gateway, Reply, answer

from lab.pki import Authority


@pytest_asyncio.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    folder = tmp_path / "tls"
    folder.mkdir()
    monkeypatch.setenv("STEP_BENCH_FOLDER", str(folder))
    gateway = Gateway()
    await gateway.start()
    yield gateway
    await gateway.stop()


@pytest_asyncio.fixture
async def client(gateway: Gateway, tmp_path: Path) -> AsyncIterator[Client]:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    client = Client(gateway, workspace)
    yield client
    await client.kill()


async def test_a_claim_that_is_accepted_leaves_the_events_name(gateway: Gateway, client: Client) -> None:
    gateway.replies = [answer("succeeded", event="web-0f8e9-3", reason="Accepted", message="2 -> 3 instances")]
    ended = await client.run("claim")
    assert ended.code == 0
    assert (ended.folder / "claim-7.event").read_text() == "web-0f8e9-3\n"
    assert "claim: succeeded: Accepted: 2 -> 3 instances" in ended.out
    path, headers, body = gateway.questions[0]
    assert path == "/v1/steps/claim"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert body == {
        "job": "autoscale-acme-web",
        "generation": "sample-generation-1",
        "build": 7,
        "buildUrl": "http://127.0.0.1:8080/job/autoscale-acme-web/7/",
        "hook": {"am_alertname": "VmscalerHighCpu", "am_status": "firing"},
        "after": 0,
    }


async def test_a_claim_that_is_refused_leaves_the_reason(gateway: Gateway, client: Client) -> None:
    gateway.replies = [answer("refused", reason="Cooldown", message="40s left of 5m00s")]
    ended = await client.run("claim")
    assert ended.code == 3
    assert (ended.folder / "claim-7.reason").read_text() == "Cooldown: 40s left of 5m00s\n"
    assert not (ended.folder / "claim-7.event").exists()


async def test_a_workspace_gathers_no_files(gateway: Gateway, client: Client) -> None:
    """An alert that goes on firing calls the job at each repeat_interval."""
    for name in ("claim-5.reason", "claim-6.event", "claim-of-people.reason", "notes"):
        (client.folder / name).write_text("x")
    gateway.replies = [answer("refused", reason="Cooldown", message="40s left of 5m00s")]
    ended = await client.run("claim")
    assert sorted(path.name for path in ended.folder.iterdir()) == ["claim-7.reason", "claim-of-people.reason", "notes"]


async def test_another_step_leaves_no_file_and_a_failure_is_1(gateway: Gateway, client: Client) -> None:
    gateway.replies = [answer("succeeded"), answer("failed", reason="CloneFailed", message="no space on ds-1")]
    assert (await client.run("allocate")).code == 0
    ended = await client.run("clone")
    assert ended.code == 1
    assert "clone: failed: CloneFailed: no space on ds-1" in ended.out
    assert list(ended.folder.iterdir()) == []


async def test_progress_is_printed_once_as_it_comes(gateway: Gateway, client: Client) -> None:
    go_on = asyncio.Event()

    async def held(_: web.Request) -> web.Response:
        await go_on.wait()
        return answer("succeeded", next=3)

    lines = [{"time": "2026-01-01T00:00:01Z", "message": "cloning tmpl-web"}, {"time": "2026-01-01T00:00:09Z", "message": "50 %"}]
    gateway.replies = [answer("running", progress=lines[:1], next=1), answer("running", progress=lines[1:], next=2), held]
    await client.start("clone")
    assert await client.line() == "2026-01-01T00:00:01Z cloning tmpl-web"
    assert await client.line() == "2026-01-01T00:00:09Z 50 %"  # although the step goes on: flushed line by line
    go_on.set()
    assert (await client.ended()).out == "clone: succeeded\n"
    assert [body["after"] for _, _, body in gateway.questions] == [0, 1, 2]


async def test_a_gateway_that_does_not_hold_the_poll_is_not_asked_in_a_tight_loop(gateway: Gateway, client: Client) -> None:
    gateway.replies = [answer("running"), answer("running"), answer("succeeded")]
    began = time.monotonic()
    assert (await client.run("verify")).code == 0
    assert time.monotonic() - began > 1.8


async def test_a_restart_of_the_gateway_is_no_failure(gateway: Gateway, client: Client) -> None:
    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        raise ConnectionResetError

    gateway.replies, gateway.last = [answer("running", next=4)], cut
    await client.start("join")
    said = await client.line()
    assert said.startswith("join: the gateway does not answer: ")
    assert said.endswith("; trying again")
    await gateway.stop()
    while "refused" not in said:  # another cause is told
        said = await client.line()
        assert said.startswith("join: the gateway does not answer: ") and said.endswith("; trying again")
    gateway.replies = [answer("running", progress=[{"time": "t", "message": "up"}], next=5), answer("succeeded")]
    await gateway.start()
    assert (await client.ended()).out == "join: the gateway answers again\nt up\njoin: succeeded\n"
    asked = [body["after"] for _, _, body in gateway.questions]
    assert (asked[0], set(asked[1:-1]), asked[-1]) == (0, {4}, 5)


async def test_an_answer_that_is_none_is_asked_for_again(gateway: Gateway, tmp_path: Path) -> None:
    strange = [
        web.Response(status=500, text="<html>oops"),
        web.json_response({"reason": "Recovering", "message": "adopting VMs"}, status=503),
        web.Response(status=429),
        web.Response(text="<html>a captive portal</html>"),
        web.json_response(["not", "an", "object"]),
        answer("exploded"),
        web.json_response({"state": "running", "progress": 7}),
        web.Response(text='{"state": "running", "next": 1e999}'),
        web.Response(text="[" * 100_000),
    ]
    scripts: list[list[Reply]] = [[reply, answer("succeeded")] for reply in strange]
    scripts[1].insert(0, web.json_response({"reason": "Recovering", "message": "adopting VMs"}, status=503))  # twice, and told once
    all_ended = await Client.side_by_side(gateway, tmp_path, "finish", scripts)
    for ended in all_ended:
        assert ended.code == 0
        assert ended.out.count("trying again") == 1
        assert len(ended.out) < 1000
    assert "status 503 Recovering: adopting VMs; trying again" in all_ended[1].out


async def test_a_gateway_that_will_not_serve_is_not_asked_again(gateway: Gateway, tmp_path: Path) -> None:
    statuses = [400, 401, 403, 404, 409, 410, 422]
    body = {"reason": "Superseded", "message": "the job was made anew"}
    all_ended = await Client.side_by_side(gateway, tmp_path, "clone", [[web.json_response(body, status=status)] for status in statuses])
    for status, ended in zip(statuses, all_ended, strict=True):
        assert ended.code == 2
        assert f"status {status} Superseded: the job was made anew" in ended.out
    assert len(gateway.questions) == len(statuses)


async def test_a_redirect_is_not_followed(gateway: Gateway, client: Client) -> None:
    elsewhere = Gateway(authority=gateway.authority)
    elsewhere.last = answer("succeeded")
    await elsewhere.start()
    try:
        gateway.replies = [web.Response(status=307, headers={"Location": f"https://127.0.0.1:{elsewhere.port}/v1/steps/clone"})]
        ended = await client.run("clone")
    finally:
        await elsewhere.stop()
    assert ended.code == 2
    assert ended.out == (
        f"clone: the gateway's address answers with a redirect to https://127.0.0.1:{elsewhere.port}/v1/steps/clone: not followed\n"
    )
    assert elsewhere.questions == []


async def test_another_ca_gets_nothing(gateway: Gateway, client: Client) -> None:
    await gateway.stop()
    await gateway.start(issuer=Authority.wrong())
    ended = await client.run("claim")
    assert ended.code == 2
    assert "is not the one that this job trusts" in ended.out
    assert gateway.questions == []


async def test_another_host_name_gets_nothing(gateway: Gateway, client: Client) -> None:
    await gateway.stop()
    await gateway.start(name="127.0.0.2")
    ended = await client.run("claim")
    assert ended.code == 2
    assert gateway.questions == []


@pytest.mark.parametrize("times", [1, 2])
async def test_term_ends_it_at_once(gateway: Gateway, client: Client, times: int) -> None:
    async def for_ever(_: web.Request) -> web.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    gateway.last = for_ever
    process = await client.start("clone")
    await asyncio.wait_for(gateway.asked.wait(), 60)
    began = time.monotonic()
    for _ in range(times):
        process.send_signal(signal.SIGTERM)
    ended = await client.ended()
    assert ended.code == 143
    assert ended.out.startswith("ended by SIGTERM\n")
    assert time.monotonic() - began < 30  # and not when the poll ends


async def test_term_ends_it_while_the_gateway_is_away(gateway: Gateway, client: Client) -> None:
    await gateway.stop()
    process = await client.start("rollback")
    assert "trying again" in await client.line()
    process.send_signal(signal.SIGTERM)
    assert (await client.ended()).code == 143


async def test_hostile_messages_are_one_plain_line(gateway: Gateway, client: Client) -> None:
    evil = "a\r\nclone: succeeded\x1b[2J\x1b]0;x\x07\u202egnp\u2028\0<script>x</script>" + "y" * 10_000
    gateway.replies = [
        answer("running", progress=[{"time": evil, "message": evil}], next=1),
        answer("refused", reason=evil, message=evil),
    ]
    ended = await client.run("claim")
    assert ended.code == 3
    assert len(ended.out.splitlines()) == 2
    assert ended.out.replace("\n", "").isprintable()
    assert len(ended.out) < 8000
    reason = (ended.folder / "claim-7.reason").read_text()
    assert len(reason) <= 501
    assert reason.count("\n") == 1
    assert not set(reason) & set("<>")


async def test_an_event_that_is_no_name_is_not_written(gateway: Gateway, tmp_path: Path) -> None:
    events = [None, "", 7, "../../x", "web\n", "$(id)", ["web"], "Web-1", "x" * 300]
    for ended in await Client.side_by_side(gateway, tmp_path, "claim", [[answer("succeeded", event=event)] for event in events]):
        assert ended.code == 2
        assert "the gateway named no event" in ended.out
        assert list(ended.folder.iterdir()) == []


async def test_hook_values_travel_as_text_only(gateway: Gateway, client: Client) -> None:
    client.env |= {"am_group": '{}/{x="$(id)"}\n', "am_Evil": "no", "am_started": "z" * 100_000, "other": "no"}
    client.env["am_fingerprint"] = b"\xff\xfe".decode("utf-8", "surrogateescape")
    gateway.replies = [answer("succeeded")]
    assert (await client.run("verify")).code == 0
    hook = gateway.questions[0][2]["hook"]
    assert hook["am_group"] == '{}/{x="$(id)"}\n'
    assert hook["am_fingerprint"] == "\ufffd\ufffd"
    assert len(hook["am_started"]) == 4096
    assert set(hook) == {"am_alertname", "am_fingerprint", "am_group", "am_started", "am_status"}
    json.dumps(hook).encode("ascii")


async def test_an_unusable_environment_is_64_and_named(gateway: Gateway, tmp_path: Path) -> None:
    async def run(name: str, value: str | None) -> None:
        client = Client(gateway, tmp_path)
        client.env.pop(name)
        if value is not None:
            client.env[name] = value
        ended = await client.run("claim")
        assert ended.code == 64, (name, value)
        assert name in ended.out
        assert "sample" not in ended.out

    await asyncio.gather(
        run("VMSCALER_GATEWAY_URL", None),
        run("VMSCALER_GATEWAY_URL", "http://127.0.0.1"),
        run("VMSCALER_GATEWAY_URL", "https://user:sample@127.0.0.1"),
        run("VMSCALER_GATEWAY_URL", "https://127.0.0.1:99999"),
        run("VMSCALER_GATEWAY_URL", "https://:443"),
        run("VMSCALER_GATEWAY_URL", "https://127.0.0.1/?token=sample"),
        run("VMSCALER_GATEWAY_URL", "https://127.0.0.1/#sample"),
        run("VMSCALER_GATEWAY_CA", None),
        run("VMSCALER_GATEWAY_CA", "c2FtcGxl"),
        run("VMSCALER_GATEWAY_CA", "%%%"),
        run("VMSCALER_STEP_TOKEN", None),
        run("VMSCALER_STEP_TOKEN", "sample secret\r\nX-Evil: 1"),
        run("VMSCALER_JOB_GENERATION", None),
        run("JOB_NAME", None),
        run("BUILD_NUMBER", "seven"),
    )
    assert gateway.questions == []


@pytest.mark.parametrize("step", ["", "../claim"])
async def test_an_unknown_step_is_64_with_the_usage(client: Client, step: str) -> None:
    ended = await client.run(step)
    assert ended.code == 64
    assert "usage: vmscaler-step claim|allocate|clone|verify|join|finish|rollback" in ended.out


async def test_a_refusal_with_no_reason_still_leaves_one(gateway: Gateway, client: Client) -> None:
    """The pipeline makes it the build's description; an empty one would say nothing."""
    gateway.replies = [answer("refused")]
    assert (await client.run("claim")).code == 3
    assert (client.folder / "claim-7.reason").read_text() == "refused\n"


async def test_a_reason_beyond_ascii_on_an_agent_without_a_locale(gateway: Gateway, client: Client) -> None:
    client.env |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    gateway.replies = [answer("refused", reason="Cooldown", message="the last scaling was grün-1…")]
    ended = await client.run("claim")
    assert ended.code == 3, ended.out
    assert (client.folder / "claim-7.reason").read_text(encoding="utf-8") == "Cooldown: the last scaling was grün-1…\n"


async def test_what_cannot_be_cleaned_up_stops_no_claim(gateway: Gateway, client: Client) -> None:
    (client.folder / "claim-3.event").mkdir()
    gateway.replies = [answer("succeeded", event="web-0f8e9-3")]
    assert (await client.run("claim")).code == 0
    assert (client.folder / "claim-7.event").read_text() == "web-0f8e9-3\n"
