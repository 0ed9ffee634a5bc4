"""The gateway over HTTP: who is let in, what is refused and how, the long poll. The flows behind it run on fakes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from tests.fakes.world import World
from yarl import URL

from vmscaler.entry import gateway
from vmscaler.flows.tokens import policies_by_step_token
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Rejected, Retryable, Untrusted

BODY: dict[str, Any] = {"job": "autoscale-acme-web", "generation": "", "build": 1, "buildUrl": "https://jenkins.example.org/job/x/1/"}


class Bench:
    """A world that is ready, the gateway before it, and a client."""

    def __init__(self, world: World, client: TestClient[Any, Any], token: str) -> None:
        self.world, self.client, self.token = world, client, token
        self.now = 0.0

    async def ask(self, step: str = "claim", *, token: str | None = None, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        asked = {"Authorization": f"Bearer {token or self.token}", **headers}
        data = body if isinstance(body, bytes) else json.dumps(BODY if body is None else body).encode()
        async with self.client.post(f"/v1/steps/{step}", data=data, headers=asked) as response:
            text = await response.text()
            assert self.token not in text
            return response.status, json.loads(text) if response.content_type == "application/json" else {"message": text}

    async def build(self, number: int = 1, **more: Any) -> dict[str, Any]:
        ref = await self.world.build_ref(number)
        return {**BODY, "job": ref.job, "generation": ref.generation, "build": number, **more}


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(gateway, "LONG_POLL_SECONDS", 120.0)  # an answer is how the step ended, whatever else this machine does
    world = await World.make()
    world.vsphere.clone_seconds = world.vsphere.boot_seconds = 0.0
    operator = await world.start()

    async def look() -> bool:
        return (await world.condition("Ready"))[0] == "True"

    await world.until("the policy is Ready", look, 120, pause=0.005)
    world.fires()
    (token,) = await policies_by_step_token(operator.ctx)
    made: list[Bench] = []
    app = gateway.make_gateway(operator.ctx, operator.runner, lambda: made[0].now)
    async with TestClient(TestServer(app)) as client:
        made.append(Bench(world, client, token))
        yield made[0]
    await world.stop()


async def test_a_claim_through_the_wire(bench: Bench) -> None:
    status, answer = await bench.ask(body=await bench.build(hook={"am_status": "firing"}))
    (event,) = await bench.world.events()
    assert status == 200 and (answer["state"], answer["reason"], answer["event"]) == ("succeeded", "ScaleOut", event.metadata.name)
    assert event.spec.build.url == BODY["buildUrl"] and (answer["progress"], answer["next"]) == ([], 0)
    status, answer = await bench.ask(body=await bench.build(2))
    assert status == 200 and (answer["state"], answer["reason"], answer["event"]) == ("refused", "AlreadyRunning", None)
    assert answer["message"]


async def test_a_step_under_way_is_told_as_running_with_its_progress(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.ask(body=await bench.build())
    monkeypatch.setattr(gateway, "LONG_POLL_SECONDS", 0.3)
    bench.world.bigip.fail("pool", Retryable("bigip", "Down", "503 of the BIG-IP"), times=None)
    status, answer = await bench.ask("allocate", body=await bench.build())
    while not answer["progress"]:  # this poll ended first
        assert (status, answer["state"], answer["next"]) == (200, "running", 0)
        status, answer = await bench.ask("allocate", body=await bench.build())
    assert (status, answer["state"]) == (200, "running")
    assert [line["message"] for line in answer["progress"]] == ["bigip: 503 of the BIG-IP"] and answer["next"] == 1
    assert datetime.fromisoformat(answer["progress"][0]["time"]).tzinfo is not None  # the step client asks for ever where there is none
    status, later = await bench.ask("allocate", body=await bench.build(after=1))
    assert (status, later["state"], later["progress"], later["next"]) == (200, "running", [], 1)
    bench.world.bigip.heal()
    rollback = {"state": "running"}
    while rollback["state"] == "running":
        status, rollback = await bench.ask("rollback", body=await bench.build())
    assert (status, rollback["state"]) == (200, "succeeded")
    status, answer = await bench.ask("allocate", body=await bench.build())
    assert (status, answer["state"]) == (200, "failed")


@pytest.mark.parametrize(
    ("header", "status", "reason"),
    [
        (None, 401, "NoToken"),
        ("", 401, "NoToken"),
        ("Bearer", 401, "NoToken"),
        ("Bearer  ", 401, "NoToken"),
        ("Basic c2FtcGxl", 401, "NoToken"),
        ("Bearer wrong", 403, "UnknownToken"),
        ("Bearer " + "x" * 4000, 403, "UnknownToken"),
    ],
)
async def test_who_is_not_let_in(bench: Bench, header: str | None, status: int, reason: str) -> None:
    headers = {} if header is None else {"Authorization": header}
    async with bench.client.post("/v1/steps/claim", json=BODY, headers=headers) as response:
        assert (response.status, (await response.json())["reason"]) == (status, reason)
    assert await bench.world.events() == []


async def test_the_hooks_token_is_no_steps_token(bench: Bench) -> None:
    (secret,) = bench.world.kube.secrets.values()
    assert (await bench.ask(token=secret.data["hookToken"]))[0] == 403


async def test_a_token_that_was_taken_back_is_refused_within_a_minute(bench: Bench) -> None:
    assert (await bench.ask(body=await bench.build()))[0] == 200
    (name,) = bench.world.kube.secrets
    bench.world.kube.secrets[name].data["stepToken"] = "another-sample-token"
    bench.now = gateway.KNOWN_SECONDS + 1
    assert (await bench.ask(body=await bench.build()))[0] == 403
    assert (await bench.ask(token="another-sample-token", body=await bench.build()))[0] == 200


async def test_unknown_tokens_cause_one_read_in_a_while(bench: Bench) -> None:
    reads = 0
    plain = bench.world.kube.list_secrets

    async def counted(labels: dict[str, str]) -> Any:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0.2)  # the others ask meanwhile
        return await plain(labels)

    bench.world.kube.list_secrets = counted  # type: ignore[method-assign]
    answers = await asyncio.gather(*(bench.ask(token=f"wrong-{number}") for number in range(20)))
    assert {status for status, _ in answers} == {403} and reads == 1
    bench.now += gateway.REFRESH_SECONDS
    await bench.ask(token="wrong")
    assert reads == 2
    bench.now += gateway.KNOWN_SECONDS - 1
    assert (await bench.ask(body=await bench.build()))[0] == 200
    assert reads == 2, "a token that is known is not looked up for each poll of each build"
    bench.now += 1
    assert (await bench.ask(body=await bench.build()))[0] == 200
    assert reads == 3


async def test_an_api_server_that_is_away_is_no_unknown_token(bench: Bench) -> None:
    async def away(labels: dict[str, str]) -> Any:
        raise Retryable("kubernetes", "Down", "the API server is away")

    kept, bench.world.kube.list_secrets = bench.world.kube.list_secrets, away  # type: ignore[method-assign]
    for _ in range(3):  # each time: a 403 would end the build for good
        status, answer = await bench.ask(body=await bench.build())
        assert (status, answer["reason"]) == (503, "Down")
    bench.world.kube.list_secrets = kept  # type: ignore[method-assign]
    assert (await bench.ask(body=await bench.build()))[0] == 200


@pytest.mark.parametrize("step", ["destroy", "Claim", "claim%00", "..%2fclaim", "%F0%9F%92%A5"])
async def test_steps_that_are_none(bench: Bench, step: str) -> None:
    url = URL(f"{bench.client.make_url('/v1/steps/')}{step}", encoded=True)
    async with bench.client.session.post(url, json=BODY, headers={"Authorization": f"Bearer {bench.token}"}) as response:
        assert response.status == 404


async def test_a_header_that_is_no_text(bench: Bench) -> None:
    reader, writer = await asyncio.open_connection(bench.client.host, bench.client.port)
    writer.write(b"POST /v1/steps/claim HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\nContent-Length: 0\r\n\r\n")
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert line.split()[1] in (b"400", b"403")


async def test_only_post_is_served(bench: Bench) -> None:
    for method in ("GET", "PUT", "DELETE"):
        async with bench.client.request(method, "/v1/steps/claim", headers={"Authorization": f"Bearer {bench.token}"}) as response:
            assert response.status == 405


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 10_000,
        b'{"job": "\\ud800", "generation": "g", "build": 1}',
        *(
            json.dumps({**BODY, **change}).encode()
            for change in (
                {"build": 0},
                {"build": -1},
                {"build": 2**31},
                {"build": 2**63},
                {"build": 1.5},
                {"build": "NaN"},
                {"build": None},
                {"job": ""},
                {"job": "a\nb"},
                {"job": "x" * 300},
                {"job": "${7*7}"},
                {"generation": "a b"},
                {"generation": "x" * 65},
                {"buildUrl": "https://x/\r\nX-Evil: 1"},
                {"buildUrl": "x" * 600},
                {"hook": ["x"]},
                {"hook": {"am_status": 1}},
                {"after": -1},
                {"after": 10**9},
            )
        ),
    ],
)
async def test_bodies_that_are_refused(bench: Bench, body: bytes) -> None:
    status, answer = await bench.ask(body=body)
    assert (status, answer["reason"]) == (422, "BadRequest") and answer["message"]
    assert await bench.world.events() == []


async def test_a_body_beyond_the_limit(bench: Bench) -> None:
    status, answer = await bench.ask(body=b'{"hook": {"am_x": "' + b"x" * (gateway.MAX_BODY + 1) + b'"}}')
    assert (status, answer["reason"]) == (413, "BodyTooLarge")


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "http://user:sample-password@jenkins.example.org/",
        "https://jenkins.example.org/\u202egpj",
        'https://jenkins.example.org/"><script>',
        "ftp://x/",
    ],
)
async def test_a_builds_link_that_is_none_is_left_out(bench: Bench, url: str) -> None:
    status, _ = await bench.ask(body=await bench.build(buildUrl=url))
    (event,) = await bench.world.events()
    assert status == 200 and event.spec.build.url == ""


async def test_hook_values_decide_nothing_and_are_kept_nowhere(bench: Bench) -> None:
    bench.world.fires(False)
    hostile = {"am_status": "firing", "am_x": "\x1b[31m${jndi:ldap://x}\u202e' ; DROP TABLE", "__proto__": "x" * 10_000}
    status, answer = await bench.ask(body=await bench.build(hook=hostile))
    assert (status, answer["state"], answer["reason"]) == (200, "refused", "AlertNotFiring")
    assert "jndi" not in repr(bench.world.kube.objects)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Retryable("x", "Down", "away"), 503),
        (Untrusted("x", "CertificateNotTrusted", "no"), 503),
        (NotFound("x", "NotFound", "gone"), 404),
        (Conflict("x", "Conflict", "changed"), 409),
        (Rejected("x", "No", "no"), 409),
        (OutsideError("x", "Odd", "odd"), 500),
    ],
)
def test_errors_on_the_wire(error: OutsideError, status: int) -> None:
    answer = gateway._outside(error)
    assert answer.status == status and isinstance(answer.body, bytes)
    assert json.loads(answer.body) == {"reason": error.reason, "message": str(error)}


async def test_a_build_that_holds_no_claim(bench: Bench) -> None:
    status, answer = await bench.ask("clone", body=await bench.build())
    assert (status, answer["reason"]) == (409, "NotClaimed")
