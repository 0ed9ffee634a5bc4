from __future__ import annotations

import pytest

from vmscaler.decide import names
from vmscaler.decide.routes import PREFIX, policy_matchers, receiver_document, route_document


def test_the_receiver_sends_its_token_to_one_url_only() -> None:
    document = receiver_document("vmscaler/acme/web", url="https://jenkins.example.com/hook", token_file="/t", ca_file="/ca.pem")
    [webhook] = document["webhook_configs"]
    assert webhook["send_resolved"] is False
    assert webhook["http_config"] == {
        "authorization": {"type": "Bearer", "credentials_file": "/t"},
        "follow_redirects": False,
        "tls_config": {"ca_file": "/ca.pem"},
    }


@pytest.mark.parametrize(("url", "ca_file"), [("http://jenkins.example.com", "/ca.pem"), ("https://jenkins.example.com", None)])
def test_no_tls_section_without_tls_or_without_a_ca(url: str, ca_file: str | None) -> None:
    [webhook] = receiver_document("x", url=url, token_file="/t", ca_file=ca_file)["webhook_configs"]
    assert "tls_config" not in webhook["http_config"]


def test_the_route_matches_its_policy_and_lets_others_match_too() -> None:
    document = route_document(
        "vmscaler/acme/web",
        matchers=policy_matchers("acme", "web", "default"),
        group_wait="10s",
        group_interval="1.5m",
        repeat_interval="1h",
    )
    assert document == {
        "receiver": "vmscaler/acme/web",
        "matchers": ['vmscaler_policy="acme/web"', 'vmscaler_site="default"'],
        "continue": True,
        "group_by": ["vmscaler_policy"],
        "group_wait": "10s",
        "group_interval": "90s",
        "repeat_interval": "3600s",
    }


def test_matchers_stand_in_one_order_and_routes_begin_alike() -> None:
    timing = {"group_wait": "1s", "group_interval": "1s", "repeat_interval": "1s"}
    assert route_document("x", matchers={"b": "2", "a": "1"}, **timing)["matchers"] == ['a="1"', 'b="2"']
    # By this beginning a route of ours is told from people's, ahead of which it must stand.
    assert names.receiver("acme", "web").startswith(PREFIX)


def test_matcher_values_are_quoted() -> None:
    document = route_document("x", matchers={"a": 'b"} or {c="\\'}, group_wait="1s", group_interval="1s", repeat_interval="1s")
    assert document["matchers"] == ['a="b\\"} or {c=\\"\\\\"']
