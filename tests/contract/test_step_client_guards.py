"""What jenkins/vmscaler-step lets nobody do: another gateway gets nothing, hostile answers and values stay text, what is unusable is named."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web
from tests.contract.step_bench import Client, Gateway, answer

from lab.pki import Authority


async def test_a_redirect_is_not_followed(step_gateway: Gateway, step_client: Client) -> None:
    elsewhere = Gateway(authority=step_gateway.authority)
    elsewhere.last = answer("succeeded")
    await elsewhere.start()
    try:
        step_gateway.replies = [web.Response(status=307, headers={"Location": f"https://127.0.0.1:{elsewhere.port}/v1/steps/clone"})]
        ended = await step_client.run("clone")
    finally:
        await elsewhere.stop()
    assert ended.code == 2
    assert ended.out == (
        f"clone: the gateway's address answers with a redirect to https://127.0.0.1:{elsewhere.port}/v1/steps/clone: not followed\n"
    )
    assert elsewhere.questions == []


async def test_another_ca_gets_nothing(step_gateway: Gateway, step_client: Client) -> None:
    await step_gateway.stop()
    await step_gateway.start(issuer=Authority.wrong())
    ended = await step_client.run("claim")
    assert ended.code == 2
    assert "is not the one that this job trusts" in ended.out
    assert step_gateway.questions == []


async def test_another_host_name_gets_nothing(step_gateway: Gateway, step_client: Client) -> None:
    await step_gateway.stop()
    await step_gateway.start(name="127.0.0.2")
    ended = await step_client.run("claim")
    assert ended.code == 2
    assert step_gateway.questions == []


async def test_hostile_messages_are_one_plain_line(step_gateway: Gateway, step_client: Client) -> None:
    evil = "a\r\nclone: succeeded\x1b[2J\x1b]0;x\x07\u202egnp\u2028\0<script>x</script>" + "y" * 10_000
    step_gateway.replies = [
        answer("running", progress=[{"time": evil, "message": evil}], next=1),
        answer("refused", reason=evil, message=evil),
    ]
    ended = await step_client.run("claim")
    assert ended.code == 3
    assert len(ended.out.splitlines()) == 2
    assert ended.out.replace("\n", "").isprintable()
    assert len(ended.out) < 8000
    reason = (ended.folder / "claim-7.reason").read_text()
    assert len(reason) <= 501
    assert reason.count("\n") == 1
    assert not set(reason) & set("<>")


async def test_an_event_that_is_no_name_is_not_written(step_gateway: Gateway, tmp_path: Path) -> None:
    events = [None, "", 7, "../../x", "web\n", "$(id)", ["web"], "Web-1", "x" * 300]
    for ended in await Client.side_by_side(step_gateway, tmp_path, "claim", [[answer("succeeded", event=event)] for event in events]):
        assert ended.code == 2
        assert "the gateway named no event" in ended.out
        assert list(ended.folder.iterdir()) == []


async def test_hook_values_travel_as_text_only(step_gateway: Gateway, step_client: Client) -> None:
    step_client.env |= {"am_group": '{}/{x="$(id)"}\n', "am_Evil": "no", "am_started": "z" * 100_000, "other": "no"}
    step_client.env["am_fingerprint"] = b"\xff\xfe".decode("utf-8", "surrogateescape")
    step_gateway.replies = [answer("succeeded")]
    assert (await step_client.run("verify")).code == 0
    hook = step_gateway.questions[0][2]["hook"]
    assert hook["am_group"] == '{}/{x="$(id)"}\n'
    assert hook["am_fingerprint"] == "\ufffd\ufffd"
    assert len(hook["am_started"]) == 4096
    assert set(hook) == {"am_alertname", "am_fingerprint", "am_group", "am_started", "am_status"}
    json.dumps(hook).encode("ascii")


async def test_an_unusable_environment_is_64_and_named(step_gateway: Gateway, tmp_path: Path) -> None:
    async def run(name: str, value: str | None) -> None:
        step_client = Client(step_gateway, tmp_path)
        step_client.env.pop(name)
        if value is not None:
            step_client.env[name] = value
        ended = await step_client.run("claim")
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
    assert step_gateway.questions == []


@pytest.mark.parametrize("step", ["", "../claim"])
async def test_an_unknown_step_is_64_with_the_usage(step_client: Client, step: str) -> None:
    ended = await step_client.run(step)
    assert ended.code == 64
    assert "usage: vmscaler-step claim|allocate|clone|verify|join|finish|rollback" in ended.out
