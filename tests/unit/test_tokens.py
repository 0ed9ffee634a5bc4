"""A policy's pair of tokens as the operator holds it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from tests.fakes.effects import DirectEffects
from tests.fakes.kube import FakeKube

from vmscaler.adapters.kube.secrets import SecretStore
from vmscaler.flows.tokens import HOOK, LABELS, NAME, NAMESPACE, STEP, UID, Tokens, policies_by_step_token


def test_they_are_not_shown() -> None:
    """Whatever prints one, a log line or a traceback, prints no secret."""
    for shown in (repr(Tokens(hook="sample-hook", step="sample-step")), f"{Tokens(hook='sample-hook', step='sample-step')}"):
        assert "sample" not in shown


async def test_a_secret_that_somebody_spoiled_shuts_out_no_other_policys_builds() -> None:
    kube = FakeKube(DirectEffects())
    notes = {NAMESPACE: "acme", NAME: "web", UID: "uid-web"}
    pair = {HOOK: "sample-hook", STEP: "sample-step"}
    await kube.create_secret("good", pair, LABELS, notes)
    for number, (data, said) in enumerate(
        [
            ({**pair, STEP: "sample-a"}, {UID: "uid-web"}),
            ({**pair, STEP: "sample-b"}, {**notes, NAMESPACE: "Not A Namespace"}),
            ({HOOK: "sample-hook"}, notes),
            ({**pair, STEP: ""}, notes),
        ]
    ):
        await kube.create_secret(f"spoiled-{number}", data, LABELS, said)
    found = await policies_by_step_token(SimpleNamespace(kube=kube))  # type: ignore[arg-type]
    assert {token: ref.uid for token, ref in found.items()} == {"sample-step": "uid-web"}


async def test_a_secret_that_is_not_text_hides_no_other() -> None:
    def secret(name: str, value: bytes) -> dict[str, Any]:
        return {"metadata": {"name": name}, "data": {"stepToken": base64.b64encode(value).decode()}}

    async def pages(path: str, query: dict[str, str]) -> AsyncIterator[dict[str, Any]]:
        for item in (secret("binary", b"\xff\x00"), secret("good", b"sample")):
            yield item

    store = SecretStore(SimpleNamespace(pages=pages), "vmscaler-system", DirectEffects())  # type: ignore[arg-type]
    assert await store.list_all(LABELS) == [("good", {}, {"stepToken": "sample"})]
