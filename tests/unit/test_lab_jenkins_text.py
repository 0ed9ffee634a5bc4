"""The lab Jenkins' pure parts: `tree=`, JSONPath, masking, config.xml's two forms, how a time is said."""

from __future__ import annotations

import base64

import pytest

from lab.jenkins import jsonpath, xmlstore
from lab.jenkins.pipeline.context import expand
from lab.jenkins.pipeline.masking import MaskedWriter, pattern
from lab.jenkins.pipeline.outcome import span, worse
from lab.jenkins.tree import Bean, TreeSyntaxError, api_json


def jobs() -> Bean:
    each = [Bean("Job").add("name", f"j{n}", 3).add("color", "blue").add("last", Bean("Run").add("number", n, 2)) for n in range(3)]
    return Bean("Root").add("mode", "NORMAL").add("jobs", each)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({}, '{"_class":"Root","mode":"NORMAL","jobs":[' + ",".join(f'{{"_class":"Job","name":"j{n}"}}' for n in range(3)) + "]}"),
        ({"tree": "mode,nosuch"}, '{"_class":"Root","mode":"NORMAL"}'),
        (
            {"tree": "jobs[name,last[number]]{1,2}"},
            '{"_class":"Root","jobs":[{"_class":"Job","name":"j1","last":{"_class":"Run","number":1}}]}',
        ),
        ({"tree": "jobs[name]{,1}"}, '{"_class":"Root","jobs":[{"_class":"Job","name":"j0"}]}'),
    ],
)
def test_tree_and_depth(query: dict[str, str], text: str) -> None:
    assert api_json(jobs(), query) == text


def test_depth_shows_more() -> None:
    assert '"color":"blue","last":{"_class":"Run","number":2}' in api_json(jobs(), {"depth": "1"})


@pytest.mark.parametrize("tree", ["jobs[name", "jobs]", "a,,b", "a{x}", "a{1,2"])
def test_a_wrong_tree_is_an_error(tree: str) -> None:
    with pytest.raises(TreeSyntaxError):
        api_json(jobs(), {"tree": tree})


def test_jsonpath() -> None:
    document = {"status": "firing", "alerts": [{"labels": {"service-name": "web"}, "n": None}, {"labels": {}}]}
    assert jsonpath.find(document, "$.alerts[0].labels['service-name']") == "web"
    assert jsonpath.find(document, "$.alerts[*].labels") == [{"service-name": "web"}, {}]
    with pytest.raises(jsonpath.NoMatch):
        jsonpath.find(document, "$.alerts[2]")
    with pytest.raises(jsonpath.UnknownPath, match="alerts"):
        jsonpath.find(document, "$.alerts[?(@.n)]")
    flat = jsonpath.flatten("alerts", document["alerts"])
    assert flat["alerts_0_labels_service_name"] == "web"
    assert flat["alerts"].startswith('[{"labels":')
    assert "alerts_0_n" not in flat


@pytest.mark.parametrize("prefix", ["", "u:", "x"])
def test_masks_the_value_and_base64_of_it_at_any_offset(prefix: str) -> None:
    secret, shown = "S3cr3t-Tok/en+42=x", []
    writer = MaskedWriter(shown.append, pattern([secret]))
    writer.write(f"a {secret} b\n{base64.b64encode((prefix + secret).encode()).decode()}")
    writer.flush()
    first, second, _ = "".join(shown).split("\n")
    assert first == "a **** b"
    assert second.endswith("****") and len(second) <= 8


def test_does_not_mask_what_a_real_one_does_not() -> None:
    shown: list[str] = []
    writer = MaskedWriter(shown.append, pattern(["ab", "one\ntwo"]))
    writer.write("cab\none\ntwo\n")
    assert "".join(shown) == "cab\none\ntwo\n"


def test_config_xml_is_stored_as_text_and_saved_anew() -> None:
    text = "<?xml version='1.0'?>\n<flow-definition><description>a \"q\" &amp; 'x'</description><triggers></triggers></flow-definition>\n"
    stored = xmlstore.stored(text)
    assert stored == (
        '<?xml version="1.1" encoding="UTF-8"?><flow-definition><description>a "q" &amp; \'x\'</description><triggers/></flow-definition>'
    )
    assert xmlstore.stored(stored) == stored
    saved = xmlstore.saved(xmlstore.parse(stored), None)
    assert "<description>a &quot;q&quot; &amp; &apos;x&apos;</description>" in saved
    with pytest.raises(xmlstore.ConfigError):
        xmlstore.stored("<project/>")


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 sec"), (120, "2 min 0 sec"), (1800, "30 min"), (5400, "1 hr 30 min"), (0.5, "500 ms")]
)
def test_says_a_time_as_jenkins_does(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_result_only_gets_worse() -> None:
    assert worse("NOT_BUILT", "FAILURE") == "NOT_BUILT"
    assert worse("FAILURE", "ABORTED") == "ABORTED"


def test_a_payload_is_expanded_once() -> None:
    assert expand("$A ${B} $$ $1 ${env.PATH} $C", {"A": "$B", "B": "b"}) == "$B b $ $1 ${env.PATH} $C"
