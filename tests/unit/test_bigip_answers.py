"""What a BIG-IP's answers stand for, and its names, without a wire."""

from __future__ import annotations

import json

import pytest

from vmscaler.adapters.bigip import names, shapes
from vmscaler.adapters.bigip.answers import Reply, error_of
from vmscaler.ports.errors import NotFound, Rejected, Retryable, Untrusted

ABSENT = "01020036:3: The requested Pool (/Common/web) was not found."


def reply(status: int, message: str) -> Reply:
    return Reply(status, json.dumps({"code": status, "message": message, "errorStack": [], "apiError": 3}).encode())


@pytest.mark.parametrize(
    ("status", "message", "kind", "reason"),
    [
        (404, ABSENT, NotFound, "NotFound"),
        (404, "Public URI path not registered", Retryable, "AbsenceNotProven"),
        (404, f"odd: {ABSENT}", Retryable, "AbsenceNotProven"),
        (401, "Authorization failed: user=sample", Untrusted, "LoginRefused"),
        (400, "01070734:3: Configuration error", Rejected, "BigIpRefused"),
        (403, "Authorization failed", Rejected, "BigIpRefused"),
        (409, "01020066:3: already exists", Rejected, "BigIpRefused"),
        (429, "", Retryable, "ServerError"),
        (500, "The connection to mcpd has been lost, try again.", Retryable, "ServerError"),
        (503, "There is an active asynchronous task executing.", Retryable, "BigIpBusy"),
        (301, "", Retryable, "Redirected"),
    ],
)
def test_each_refusal_has_its_kind(status: int, message: str, kind: type[Exception], reason: str) -> None:
    error = error_of(reply(status, message), "pool /Common/web")
    assert type(error) is kind or (kind is Rejected and isinstance(error, Rejected))
    assert error.reason == reason and error.system == "bigip"


@pytest.mark.parametrize("content", [b"<html>\xff</html>", b"", b"[]", b'{"message": null}', b'{"message": ["a"]}'])
def test_pages_and_odd_bodies_are_classified_too(content: bytes) -> None:
    assert error_of(Reply(503, content), "x").reason == "BigIpBusy"
    assert error_of(Reply(404, content), "x").reason == "AbsenceNotProven"


def test_the_devices_words_are_bounded_and_harmless() -> None:
    message = error_of(reply(400, "a\x1b[31m\r\n\u202eb" + "x" * 100_000), "it").message
    assert message.isprintable() and len(message) < 400 and "a [31m b" in message


def test_names() -> None:
    assert names.segment("/Common/10.0.0.6%1:80") == "~Common~10.0.0.6%251:80"
    assert names.segment("/a/b c/d/e?f#g") == "~a~b%20c~d~e%3Ff%23g"
    assert [names.bare(text) for text in ("10.0.0.6%1", "10.0.0.6%12:80", "10.0.0.6:80", "2001:db8::6%1.80")] == [
        "10.0.0.6",
        "10.0.0.6:80",
        "10.0.0.6:80",
        "2001:db8::6.80",
    ]
    assert [names.route_domain(text) for text in ("10.0.0.6%1", "10.0.0.6%12:80", "10.0.0.6:80")] == ["%1", "%12", ""]
    assert names.split_port("2001:db8::6.80") == ("2001:db8::6", 80)
    assert names.split_port("10.0.0.6:any") == ("10.0.0.6", 0)
    assert [names.split_port(text) for text in ("any6.any", "any6.443", "any6%1.0")] == [("any6", 0), ("any6", 443), ("any6%1", 0)]


VIRTUALS = {"kind": "tm:ltm:virtual:virtualcollectionstate"}


def test_a_virtual_server_without_a_pool_or_destination_is_left_out() -> None:
    destination, pool = "/Common/2001:db8::1.443", "/Common/web"
    items = [
        {"fullPath": "/Common/a", "destination": destination, "pool": pool},
        {"fullPath": "/Common/b", "destination": destination},
        {"fullPath": "/Common/c", "pool": pool},
    ]
    assert [(v.name, v.address, v.port) for v in shapes.virtual_servers(VIRTUALS | {"items": items}, pool)] == [
        ("/Common/a", "2001:db8::1", 443)
    ]
    assert shapes.virtual_servers(VIRTUALS, pool) == []


def test_anybodys_odd_virtual_server_stops_no_other_pool() -> None:
    """An outbound gateway for all of IPv6 is on many a BIG-IP; a port may be called by its service."""
    ours = {"fullPath": "/Common/a", "destination": "/Common/192.0.2.10:443", "pool": "/Common/web"}
    others = [
        {"fullPath": "/Common/out", "destination": "/Common/any6.any", "pool": "/Common/gateways"},
        {"fullPath": "/Common/odd", "destination": "/Common/192.0.2.11:https", "pool": "/Common/other"},
    ]
    assert [v.name for v in shapes.virtual_servers(VIRTUALS | {"items": [*others, ours]}, "/Common/web")] == ["/Common/a"]


def test_what_has_another_shape_is_no_answer() -> None:
    for answer in ({}, {"entries": {}}, {"entries": []}, {"entries": {"x": {"nestedStats": 3}}}):
        with pytest.raises(Retryable) as raised:
            shapes.read(shapes.current_connections, answer, "it")
        assert raised.value.reason == "UnexpectedAnswer"
    for answer in ({}, {"items": []}, {"kind": "tm:ltm:node:nodestate"}):
        for shape in (shapes.nodes_by_address, shapes.group_to_sync):
            with pytest.raises(Retryable) as raised:
                shapes.read(shape, answer, "it")
            assert raised.value.reason == "UnexpectedAnswer"
