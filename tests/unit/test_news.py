"""Which events of a watch wake a reconcile (entry/news.py)."""

from __future__ import annotations

from typing import Any

import pytest

from vmscaler.entry.news import News


def body(**meta: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "acme", "name": "web", "uid": "u-1", "generation": 1, **meta}, "status": {}}


def test_what_is_new_is_looked_at_and_our_own_status_is_not() -> None:
    news = News()
    assert news("AutoscalingPolicy", body(), None)
    for again in (body(resourceVersion="2"), body(finalizers=["vmscaler.io/finalizer"]), body() | {"status": {"conditions": []}}):
        assert not news("AutoscalingPolicy", again, "MODIFIED")


@pytest.mark.parametrize(
    "changed",
    [
        {"generation": 2},
        {"deletionTimestamp": "2026-01-02T03:04:05Z"},
        {"uid": "u-2"},
        {"labels": {"team": "a"}},
        {"annotations": {"note": "b"}},
    ],
)
def test_what_people_change_is_looked_at_once(changed: dict[str, Any]) -> None:
    news = News()
    assert news("AutoscalingPolicy", body(), "ADDED")
    assert news("AutoscalingPolicy", body(**changed), "MODIFIED")
    assert not news("AutoscalingPolicy", body(**changed), "MODIFIED")
    assert news("AutoscalingPolicy", body(), "MODIFIED")  # and changed back


def test_objects_are_apart_and_what_is_gone_is_forgotten() -> None:
    news = News()
    assert news("AutoscalingPolicy", body(), "ADDED")
    assert news("AutoscalingPolicy", body(namespace="other"), "ADDED")
    assert news("AutoscalingPolicy", body(name="api"), "ADDED")
    assert news("VmTemplate", body(), "ADDED")
    assert news("AutoscalingPolicy", body(), "DELETED")
    assert news("AutoscalingPolicy", body(), "ADDED")


@pytest.mark.parametrize("kind", ["VmInstance", "ScaleOutEvent", "IpLease"])
def test_where_a_status_asks_for_something_each_event_does(kind: str) -> None:
    news = News()
    assert all(news(kind, body(), type_) for type_ in (None, "MODIFIED", "MODIFIED", "DELETED"))
