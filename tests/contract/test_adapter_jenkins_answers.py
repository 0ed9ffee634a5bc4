"""What a status and a body of Jenkins stand for: triggered or not, refused or starting, gone or not shown (facts/jenkins.md)."""

from __future__ import annotations

import pytest
from aiohttp import web
from tests.contract.jenkins_stranger import Server, answering, by_path

from vmscaler.decide import xmltext
from vmscaler.ports.errors import Conflict, OutsideError, Rejected, Retryable, Untrusted
from vmscaler.ports.jenkins import BuildState


@pytest.mark.parametrize(
    ("status", "text", "found"),
    [
        (200, '{"jobs": {"a": {"triggered": false, "id": 0}, "b": {"triggered": true, "id": 0}}}', ["b"]),
        (200, '{"jobs": {"a": {"triggered": false, "id": 0, "url": ""}}, "message": "Triggered jobs."}', []),
        (404, '{"jobs": null, "message": "Did not find any jobs with GenericTrigger configured!"}', []),
    ],
)
async def test_what_a_dry_run_says(status: int, text: str, found: list[str]) -> None:
    """200 is not "started": `triggered` says it."""
    async with Server(answering(status, text)) as server:
        client = server.client()
        assert await client.dry_run_hook("sample-token") == found
        await client.close()


@pytest.mark.parametrize("text", ["<html>no such page</html>", '{"jobs": {}}', '{"error": "not found"}', "[]"])
async def test_a_404_that_is_not_the_plugins_does_not_say_that_no_job_has_the_token(text: str) -> None:
    async with Server(answering(404, text, X_Jenkins="2.492.1")) as server:
        client = server.client()
        with pytest.raises(OutsideError) as caught:
            await client.dry_run_hook("sample-token")
        assert caught.value.reason in ("UnexpectedAnswer", "NotFound")
        await client.close()


async def test_an_enabled_job_is_looked_at() -> None:
    """A redirect is the answer of enable and disable; to a log-in page, too."""
    async with Server(by_path({("POST", "/enable"): (302, ""), ("GET", "/api/json"): (200, '{"buildable": false}')})) as server:
        client = server.client()
        with pytest.raises(Retryable, match="is not enabled after the call") as caught:
            await client.enable_job("x", True)
        assert caught.value.reason == "UnexpectedAnswer"
        await client.close()


async def test_a_credential_that_is_made_meanwhile_is_overwritten() -> None:
    async with Server(by_path({("POST", "/createCredentials"): (409, ""), ("POST", "/config.xml"): (200, "")})) as server:
        client = server.client()
        await client.put_secret_text("x", "sample-secret", "d")
        assert [path.rpartition("/")[2] for method, path, _ in server.requests if method == "POST"] == ["createCredentials", "config.xml"]
        await client.close()


async def test_a_credential_as_it_is_posted() -> None:
    """Of scope GLOBAL: one of SYSTEM is not found by a pipeline's credentials()."""
    bodies = []

    async def handler(request: web.Request) -> web.Response:
        if request.method == "POST":
            bodies.append(await request.text())
            return web.Response()
        return web.Response(status=404, headers={"X-Jenkins": "2.492.1"})

    async with Server(handler) as server:
        client = server.client()
        await client.put_secret_text("vmscaler-step-1", "sample & <secret>", "of a policy")
        await client.close()
    (body,) = bodies
    root = xmltext.parse(body)
    assert {part.tag: part.text for part in root} == {
        "scope": "GLOBAL",
        "id": "vmscaler-step-1",
        "description": "of a policy",
        "secret": "sample & <secret>",
    }


async def test_a_name_that_is_taken_meanwhile() -> None:
    async def handler(request: web.Request) -> web.Response:
        status, said = (400, "A job already exists with the name 'x'") if request.method == "POST" else (404, "")
        return web.Response(status=status, headers={"X-Jenkins": "2.492.1", "X-Error": said})

    async with Server(handler) as server:
        client = server.client()
        with pytest.raises(Conflict) as caught:
            await client.create_job("x", "<flow-definition/>")
        assert caught.value.reason == "NameTaken"
        await client.close()


async def test_a_build_whose_post_section_runs_is_building() -> None:
    """Its result is set already."""
    builds = '{"builds": [{"number": 7, "building": true, "result": "ABORTED", "url": "u", "description": null}]}'
    async with Server(by_path({("GET", "/job/x/api/json"): (200, builds)})) as server:
        client = server.client()
        assert await client.last_builds("x") == [BuildState(7, True, "ABORTED", "u", "")]
        await client.close()


@pytest.mark.parametrize(("starting", "error", "reason"), [(True, Retryable, "ServerError"), (False, Rejected, "RefusedByJenkins")])
async def test_a_500_is_a_refusal_only_of_a_jenkins_that_is_up(starting: bool, error: type[OutsideError], reason: str) -> None:
    """It answers 500 to XML that it cannot read, and 500 while it starts."""
    me = (503, "") if starting else (200, "{}")
    async with Server(by_path({("POST", "/createItem"): (500, "oops"), ("GET", "/me/api/json"): me})) as server:
        client = server.client()
        with pytest.raises(error) as caught:
            await client.create_job("x", "<flow-definition/>")
        assert (type(caught.value), caught.value.reason) == (error, reason)
        await client.close()


async def test_a_500_to_a_deletion_is_no_refusal() -> None:
    answers = {("POST", "/doDelete"): (500, "oops"), ("GET", "/me/api/json"): (200, "{}"), ("GET", "/api/json"): (200, '{"name": "x"}')}
    async with Server(by_path(answers)) as server:
        client = server.client()
        with pytest.raises(Retryable) as caught:
            await client.delete_job("x")
        assert caught.value.reason == "ServerError"
        await client.close()


async def test_a_whitelist_without_the_operator_is_told_and_not_taken_for_a_missing_right() -> None:
    async with Server(answering(403, "Forbidden", X_Jenkins="2.492.1")) as server:
        client = server.client()
        with pytest.raises(Untrusted, match="whitelist") as caught:
            await client.dry_run_hook("sample-token")
        assert caught.value.reason == "PermissionDenied"
        await client.close()
