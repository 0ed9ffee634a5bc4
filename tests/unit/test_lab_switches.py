"""Fault switches as words."""

from __future__ import annotations

import pytest

from lab import switches


def test_globs_and_seconds_are_written_without_json() -> None:
    assert switches.parse("guests", ["die=web-1,web-2", "slow=web-1:0.5,web-*:2"]) == {
        "die": ["web-1", "web-2"],
        "slow": {"web-1": 0.5, "web-*": 2.0},
    }


def test_values_are_json_else_words() -> None:
    assert switches.parse("bigip", ["latency_s=2", "http_503=true", 'restart={"for_s": 5}']) == {
        "latency_s": 2,
        "http_503": True,
        "restart": {"for_s": 5},
    }
    assert switches.parse("monitoring", ["prometheus=down"]) == {"prometheus": "down"}
    assert switches.parse("guests", ['hang=["a", "b"]']) == {"hang": ["a", "b"]}


@pytest.mark.parametrize(
    ("part", "word", "said"),
    [
        ("jenkin", "down=true", "vcenter, guests"),
        ("jenkins", "dwn=true", "it has bad_login"),
        ("jenkins", "down", "NAME=VALUE"),
        ("bigip", "foo", "NAME=VALUE; bigip has http_503"),
        ("guests", "slow=web-1", "GLOB:SECONDS"),
        ("guests", "die=", "web-1,web-2"),
        ("bigip", "http_503", "NAME=VALUE: 503 with"),
        ("bigip", "http_503=maybe", "true or false"),
        ("jenkins", "hang=1", "true or false"),
        ("vcenter", "latency=-3", "seconds from 0"),
        ("vcenter", "tasks=CloneVM_Task", "CloneVM_Task"),
    ],
)
def test_what_is_no_fault_is_refused_with_what_there_is(part: str, word: str, said: str) -> None:
    with pytest.raises(switches.BadSwitch, match=said):
        switches.parse(part, [word])


def test_what_is_on() -> None:
    assert switches.on("bigip", {"http_503": {}, "latency_s": {"value": 2}}) == {"http_503": True, "latency_s": {"value": 2}}
    assert switches.on("vcenter", {"down": False, "latency": 0, "tasks": None, "calls": [{"method": "x"}]}) == {"calls": [{"method": "x"}]}


def test_every_fault_says_what_it_does() -> None:
    assert all(words for known in switches.KNOWN.values() for words in known.values())
    assert set(switches.KNOWN) == {"vcenter", "guests", "bigip", "jenkins", "monitoring"}
