"""jenkins/vmscaler-step against a gateway on loopback: each outcome, a gateway that goes and comes, TERM.

Trust, hostile answers and what is unusable: test_step_client_guards.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import pytest
from aiohttp import web
from tests.contract.step_bench import TOKEN, Client, Gateway, Reply, answer


async def test_a_claim_that_is_accepted_leaves_the_events_name(step_gateway: Gateway, step_client: Client) -> None:
    step_gateway.replies = [answer("succeeded", event="web-0f8e9-3", reason="Accepted", message="2 -> 3 instances")]
    ended = await step_client.run("claim")
    assert ended.code == 0
    assert (ended.folder / "claim-7.event").read_text() == "web-0f8e9-3\n"
    assert "claim: succeeded: Accepted: 2 -> 3 instances" in ended.out
    path, headers, body = step_gateway.questions[0]
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


async def test_a_claim_that_is_refused_leaves_the_reason(step_gateway: Gateway, step_client: Client) -> None:
    step_gateway.replies = [answer("refused", reason="Cooldown", message="40s left of 5m00s")]
    ended = await step_client.run("claim")
    assert ended.code == 3
    assert (ended.folder / "claim-7.reason").read_text() == "Cooldown: 40s left of 5m00s\n"
    assert not (ended.folder / "claim-7.event").exists()


async def test_a_workspace_gathers_no_files(step_gateway: Gateway, step_client: Client) -> None:
    """An alert that goes on firing calls the job at each repeat_interval."""
    for name in ("claim-5.reason", "claim-6.event", "claim-of-people.reason", "notes"):
        (step_client.folder / name).write_text("x")
    step_gateway.replies = [answer("refused", reason="Cooldown", message="40s left of 5m00s")]
    ended = await step_client.run("claim")
    assert sorted(path.name for path in ended.folder.iterdir()) == ["claim-7.reason", "claim-of-people.reason", "notes"]


async def test_another_step_leaves_no_file_and_a_failure_is_1(step_gateway: Gateway, step_client: Client) -> None:
    step_gateway.replies = [answer("succeeded"), answer("failed", reason="CloneFailed", message="no space on ds-1")]
    assert (await step_client.run("allocate")).code == 0
    ended = await step_client.run("clone")
    assert ended.code == 1
    assert "clone: failed: CloneFailed: no space on ds-1" in ended.out
    assert list(ended.folder.iterdir()) == []


async def test_progress_is_printed_once_as_it_comes(step_gateway: Gateway, step_client: Client) -> None:
    go_on = asyncio.Event()

    async def held(_: web.Request) -> web.Response:
        await go_on.wait()
        return answer("succeeded", next=3)

    lines = [{"time": "2026-01-01T00:00:01Z", "message": "cloning tmpl-web"}, {"time": "2026-01-01T00:00:09Z", "message": "50 %"}]
    step_gateway.replies = [answer("running", progress=lines[:1], next=1), answer("running", progress=lines[1:], next=2), held]
    await step_client.start("clone")
    assert await step_client.line() == "2026-01-01T00:00:01Z cloning tmpl-web"
    assert await step_client.line() == "2026-01-01T00:00:09Z 50 %"  # although the step goes on: flushed line by line
    go_on.set()
    assert (await step_client.ended()).out == "clone: succeeded\n"
    assert [body["after"] for _, _, body in step_gateway.questions] == [0, 1, 2]


async def test_a_gateway_that_does_not_hold_the_poll_is_not_asked_in_a_tight_loop(step_gateway: Gateway, step_client: Client) -> None:
    step_gateway.replies = [answer("running"), answer("running"), answer("succeeded")]
    began = time.monotonic()
    assert (await step_client.run("verify")).code == 0
    assert time.monotonic() - began > 1.8


async def test_a_restart_of_the_gateway_is_no_failure(step_gateway: Gateway, step_client: Client) -> None:
    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        raise ConnectionResetError

    step_gateway.replies, step_gateway.last = [answer("running", next=4)], cut
    await step_client.start("join")
    said = await step_client.line()
    assert said.startswith("join: the gateway does not answer: ")
    assert said.endswith("; trying again")
    await step_gateway.stop()
    while "refused" not in said:  # another cause is told
        said = await step_client.line()
        assert said.startswith("join: the gateway does not answer: ") and said.endswith("; trying again")
    step_gateway.replies = [answer("running", progress=[{"time": "t", "message": "up"}], next=5), answer("succeeded")]
    await step_gateway.start()
    assert (await step_client.ended()).out == "join: the gateway answers again\nt up\njoin: succeeded\n"
    asked = [body["after"] for _, _, body in step_gateway.questions]
    assert (asked[0], set(asked[1:-1]), asked[-1]) == (0, {4}, 5)


async def test_after_a_restart_of_the_operator_progress_is_counted_anew(step_gateway: Gateway, step_client: Client) -> None:
    """Its lines begin at 0: whoever asks for those beyond an old number is sent all of them, each time and at once."""
    lines = [{"time": "t", "message": message} for message in ("cloning tmpl-web", "50 %", "it is there: adopted")]
    step_gateway.replies = [
        answer("running", progress=lines[:2], next=2),
        answer("running", progress=lines[2:], next=1),
        answer("succeeded", next=1),
    ]
    ended = await step_client.run("clone")
    assert ended.out == "t cloning tmpl-web\nt 50 %\nt it is there: adopted\nclone: succeeded\n"
    assert [body["after"] for _, _, body in step_gateway.questions] == [0, 2, 1]


async def test_an_answer_that_is_none_is_asked_for_again(step_gateway: Gateway, tmp_path: Path) -> None:
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
    all_ended = await Client.side_by_side(step_gateway, tmp_path, "finish", scripts)
    for ended in all_ended:
        assert ended.code == 0
        assert ended.out.count("trying again") == 1
        assert len(ended.out) < 1000
    assert "status 503 Recovering: adopting VMs; trying again" in all_ended[1].out


async def test_a_gateway_that_will_not_serve_is_not_asked_again(step_gateway: Gateway, tmp_path: Path) -> None:
    statuses = [400, 401, 403, 404, 409, 410, 422]
    body = {"reason": "Superseded", "message": "the job was made anew"}
    all_ended = await Client.side_by_side(
        step_gateway, tmp_path, "clone", [[web.json_response(body, status=status)] for status in statuses]
    )
    for status, ended in zip(statuses, all_ended, strict=True):
        assert ended.code == 2
        assert f"status {status} Superseded: the job was made anew" in ended.out
    assert len(step_gateway.questions) == len(statuses)


@pytest.mark.parametrize("times", [1, 2])
async def test_term_ends_it_at_once(step_gateway: Gateway, step_client: Client, times: int) -> None:
    async def for_ever(_: web.Request) -> web.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    step_gateway.last = for_ever
    process = await step_client.start("clone")
    await asyncio.wait_for(step_gateway.asked.wait(), 60)
    began = time.monotonic()
    for _ in range(times):
        # Not process.send_signal: where the first one has ended it, that takes its exit code from under the event loop, which then says 255.
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
    ended = await step_client.ended()
    assert ended.code == 143
    assert ended.out.startswith("ended by SIGTERM\n")
    assert time.monotonic() - began < 30  # and not when the poll ends


async def test_term_ends_it_while_the_gateway_is_away(step_gateway: Gateway, step_client: Client) -> None:
    await step_gateway.stop()
    process = await step_client.start("rollback")
    assert "trying again" in await step_client.line()
    process.send_signal(signal.SIGTERM)
    assert (await step_client.ended()).code == 143


async def test_a_refusal_with_no_reason_still_leaves_one(step_gateway: Gateway, step_client: Client) -> None:
    """The pipeline makes it the build's description; an empty one would say nothing."""
    step_gateway.replies = [answer("refused")]
    assert (await step_client.run("claim")).code == 3
    assert (step_client.folder / "claim-7.reason").read_text() == "refused\n"


async def test_a_reason_beyond_ascii_on_an_agent_without_a_locale(step_gateway: Gateway, step_client: Client) -> None:
    step_client.env |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    step_gateway.replies = [answer("refused", reason="Cooldown", message="the last scaling was grün-1…")]
    ended = await step_client.run("claim")
    assert ended.code == 3, ended.out
    assert (step_client.folder / "claim-7.reason").read_text(encoding="utf-8") == "Cooldown: the last scaling was grün-1…\n"


async def test_what_cannot_be_cleaned_up_stops_no_claim(step_gateway: Gateway, step_client: Client) -> None:
    (step_client.folder / "claim-3.event").mkdir()
    step_gateway.replies = [answer("succeeded", event="web-0f8e9-3")]
    assert (await step_client.run("claim")).code == 0
    assert (step_client.folder / "claim-7.event").read_text() == "web-0f8e9-3\n"


async def test_a_fault_of_its_own_is_told_without_its_text(step_gateway: Gateway, step_client: Client) -> None:
    """What an exception says may hold anything; and no traceback."""
    (step_client.folder / "claim-7.event").mkdir()
    step_gateway.replies = [answer("succeeded", event="web-0f8e9-3")]
    ended = await step_client.run("claim")
    assert ended.code == 70
    assert ended.out.splitlines()[-1].startswith("claim: a fault of vmscaler-step: IsADirectoryError at line ")
    assert "Traceback" not in ended.out and "claim-7" not in ended.out
