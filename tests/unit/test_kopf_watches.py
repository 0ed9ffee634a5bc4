"""kopf's part (entry/handlers.py): what each of its events wakes, and settings under which no outage of the API server ends a watch."""

from __future__ import annotations

from itertools import islice
from types import SimpleNamespace
from typing import Any

import kopf
import pytest

from vmscaler.entry.handlers import WATCHED, EndlessBackoffs, make_registry, make_settings

Woken = list[tuple[str, str | None, str]]


async def connection() -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(server="https://192.0.2.1")


def handlers(woken: Woken) -> dict[str, Any]:
    """The watch handlers by the plural of what they watch."""
    registry = make_registry(lambda *key: woken.append(key), connection)
    return {str(handler.selector.any_name or handler.selector.plural): handler.fn for handler in registry._watching.get_all_handlers()}


def test_every_kind_is_watched_and_nothing_else_is_done() -> None:
    registry = make_registry(lambda *key: None, connection)
    assert set(handlers([])) == {kind.PLURAL for kind in WATCHED}
    others = (registry._indexing, registry._spawning, registry._changing, registry._webhooks)
    assert [list(other.get_all_handlers()) for other in others] == [[], [], [], []]


@pytest.mark.parametrize("type_", [None, "ADDED", "MODIFIED", "DELETED"])
def test_an_event_wakes_its_object(type_: str | None) -> None:
    woken: Woken = []
    handlers(woken)["ipleases"](name="default.net.192.0.2.1", namespace=None, body={}, type=type_)
    assert woken == [("IpLease", None, "default.net.192.0.2.1")]


def test_an_instance_that_is_gone_wakes_its_event_too() -> None:
    woken: Woken = []
    body = {"spec": {"eventRef": {"name": "web-1"}}}
    seen = handlers(woken)["vminstances"]
    seen(name="web-1-1", namespace="acme", body=body, type="MODIFIED")
    assert woken == [("VmInstance", "acme", "web-1-1")]
    seen(name="web-1-1", namespace="acme", body=body, type="DELETED")
    assert woken[1:] == [("VmInstance", "acme", "web-1-1"), ("ScaleOutEvent", "acme", "web-1")]
    seen(name="web-1-1", namespace="acme", body={}, type="DELETED")
    assert woken[3:] == [("VmInstance", "acme", "web-1-1")]


def test_a_status_that_only_we_write_wakes_nobody() -> None:
    woken: Woken = []
    seen = handlers(woken)["autoscalingpolicies"]
    body = {"metadata": {"name": "web", "namespace": "acme", "uid": "u", "generation": 1}, "status": {"x": 1}}
    seen(name="web", namespace="acme", body=body, type="ADDED")
    seen(name="web", namespace="acme", body={**body, "status": {"x": 2}}, type="MODIFIED")
    assert woken == [("AutoscalingPolicy", "acme", "web")]


def test_a_request_is_tried_for_ever_and_each_one_from_the_beginning() -> None:
    """Of a tuple kopf is at the end after 54 s, and the process with it."""
    backoffs = EndlessBackoffs()
    assert list(islice(backoffs, 8)) == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert next(islice(backoffs, 10_000, None)) == 30.0 and next(iter(backoffs)) == 0.5


def test_the_settings() -> None:
    settings = make_settings()
    assert isinstance(settings.networking.error_backoffs, EndlessBackoffs)
    assert not settings.posting.enabled and settings.scanning.disabled
    watching = settings.watching
    assert watching.server_timeout is not None and watching.client_timeout is not None
    assert watching.client_timeout > watching.server_timeout, "the server ends a watch first, in good order"
    assert watching.inactivity_timeout and watching.chunk_size == 500
    assert SimpleNamespace(**vars(settings.queueing)).worker_limit is None
