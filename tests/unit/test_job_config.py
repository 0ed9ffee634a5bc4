"""A job's text: goldens, what is set where, and strings that must never become XML or Groovy."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.job_inputs import INPUTS, PEM, UID, VALUES

from vmscaler.api.autoscalingpolicy import Timeouts
from vmscaler.decide import job, pipeline, xmltext
from vmscaler.decide.job_fields import GENERIC_TRIGGER

HOSTILE = [
    '<!DOCTYPE x[<!ENTITY e SYSTEM "file:///etc/passwd">]>&e;',
    "]]><script>x</script><![CDATA[",
    '${"id".execute().text}',
    "'''+\"id\".execute()+'''",
    "$var",
    "a back-slash at the end\\",
    "' + evil() + '",
    "\\u0027 + evil() + \\u0027",
    "a\r\nX-Evil: 1",
    "web\u202efdp",
    "$(id)",
    "x" * 100_000,
]


def script(xml: str) -> str:
    text = xmltext.only(xmltext.parse(xml), "definition/script").text
    assert text is not None
    return text


def test_golden(golden: Callable[[str, str], None]) -> None:
    config = job.job_config(INPUTS)
    golden("jenkins/job.xml", config)
    golden("jenkins/Jenkinsfile", script(config))


def test_what_is_set_is_set() -> None:
    root = xmltext.parse(job.job_config(dataclasses.replace(INPUTS, disabled=True)))
    assert root.findtext("disabled") == "true"
    assert root.findtext(f"{GENERIC_TRIGGER}/tokenCredentialId") == f"vmscaler-hook-{UID}"
    assert not root.findtext(f"{GENERIC_TRIGGER}/token")
    # A token of the template's would open the hook to whoever has read the template.
    holding = dataclasses.replace(INPUTS, job_template=INPUTS.job_template.replace("<token></token>", "<token>sample</token>"))
    assert holding != INPUTS and job.job_config(holding) == job.job_config(INPUTS)
    description = root.findtext("description") or ""
    assert description.startswith("Managed by vmscaler for acme/web (Acme web shop) ")
    assert job.owner(description) == job.JobOwner("acme", "web", UID)


def test_the_description_holds_the_hash_of_the_rest() -> None:
    config = job.job_config(INPUTS)
    assert f"hash=sha256:{job.job_hash(config)}" in (xmltext.parse(config).findtext("description") or "")
    assert job.job_hash(config) == job.job_hash(job.job_config(dataclasses.replace(INPUTS, display_name="other", disabled=True)))
    other = dataclasses.replace(VALUES, gateway_url="https://elsewhere.example.org")
    assert job.job_hash(config) != job.job_hash(job.job_config(dataclasses.replace(INPUTS, values=other)))


def test_the_ca_arrives_whole() -> None:
    found = re.search(r"VMSCALER_GATEWAY_CA = '([A-Za-z0-9+/=]+)'", script(job.job_config(INPUTS)))
    assert found is not None
    assert base64.b64decode(found[1]).decode() == PEM


def test_an_agent_label_is_a_literal_and_none_means_any() -> None:
    assert "  agent any\n" in script(job.job_config(INPUTS))
    labelled = dataclasses.replace(INPUTS, values=dataclasses.replace(VALUES, agent_label="vm-agents"))
    assert "  agent { label 'vm-agents' }\n" in script(job.job_config(labelled))


def test_stage_limits_come_from_the_policys_timeouts() -> None:
    limits = pipeline.stage_limits(Timeouts(clone="1h", boot="2m", health="3m", member="4m", drain="5m"))
    assert (limits.clone, limits.verify, limits.join, limits.rollback) == (4200, 900, 840, 4500)
    text = script(job.job_config(dataclasses.replace(INPUTS, values=dataclasses.replace(VALUES, limits=limits))))
    for seconds in (4200, 900, 840):
        assert f"options {{ timeout(time: {seconds}, unit: 'SECONDS') }}" in text
    assert text.count("timeout(time: 4500, unit: 'SECONDS') { sh '\"$STEP\" rollback' }") == 2


def test_the_pipeline_has_no_limit_of_its_own_and_names_no_hook_variable() -> None:
    text = script(job.job_config(INPUTS))
    before_stages = text[: text.index("stages {")]
    assert "timeout" not in before_stages
    code = "\n".join(line for line in text.splitlines() if not line.startswith("//"))
    assert "am_" not in code
    assert "@" not in code


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_display_name_changes_one_text_only(text: str) -> None:
    plain, hostile = job.job_config(INPUTS), job.job_config(dataclasses.replace(INPUTS, display_name=text))
    assert job.differs(plain, hostile) == ["description"]
    assert [element.tag for element in xmltext.parse(hostile).iter()] == [element.tag for element in xmltext.parse(plain).iter()]
    description = xmltext.parse(hostile).findtext("description") or ""
    assert not set(description) & set("<>&'\"$\\{}\r\n\u202e")
    assert job.owner(description) == job.JobOwner("acme", "web", UID)


@given(st.text(max_size=200))
def test_no_display_name_breaks_the_text_or_claims_another_owner(text: str) -> None:
    config = job.job_config(dataclasses.replace(INPUTS, display_name=text))
    assert job.owner(xmltext.parse(config).findtext("description") or "") == job.JobOwner("acme", "web", UID)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["step_command", "gateway_url", "job_generation", "step_credential", "agent_label"])
def test_hostile_values_never_reach_the_pipeline(field: str, text: str) -> None:
    with pytest.raises(ValueError, match="may not stand in a pipeline"):
        job.job_config(dataclasses.replace(INPUTS, values=dataclasses.replace(VALUES, **{field: text})))


def test_limits_and_a_ca_that_cannot_be_are_refused() -> None:
    for stage in ("claim", "rollback"):
        for seconds in (0, -5):
            limits = dataclasses.replace(VALUES.limits, **{stage: seconds})
            with pytest.raises(ValueError, match=f"{stage} is {seconds} s: it must be at least 1 s"):
                pipeline.render(INPUTS.pipeline_template, dataclasses.replace(VALUES, limits=limits))
        limits = dataclasses.replace(VALUES.limits, **{stage: 1})
        assert pipeline.render(INPUTS.pipeline_template, dataclasses.replace(VALUES, limits=limits))
    # In base64: 48 KiB, below what a Java class and an environment variable hold.
    assert pipeline.render(INPUTS.pipeline_template, dataclasses.replace(VALUES, gateway_ca_pem="x" * 36 * 1024))
    with pytest.raises(ValueError, match="GATEWAY_CA"):
        pipeline.render(INPUTS.pipeline_template, dataclasses.replace(VALUES, gateway_ca_pem="x" * (36 * 1024 + 1)))


def test_an_empty_hook_credential_is_refused() -> None:
    with pytest.raises(ValueError, match="not usable as a credential"):
        job.job_config(dataclasses.replace(INPUTS, hook_credential=""))


def test_a_template_that_is_not_ours_is_refused() -> None:
    with pytest.raises(ValueError, match="does not use"):
        job.job_config(dataclasses.replace(INPUTS, pipeline_template="pipeline { agent any }"))
    with pytest.raises(ValueError, match="asks for NO_SUCH"):
        job.job_config(dataclasses.replace(INPUTS, pipeline_template=INPUTS.pipeline_template + "'@NO_SUCH@'"))
    with pytest.raises(ValueError, match="0 elements at"):
        job.job_config(dataclasses.replace(INPUTS, job_template="<flow-definition/>"))
    with pytest.raises(ValueError, match="document type"):
        job.job_config(dataclasses.replace(INPUTS, job_template='<!DOCTYPE x [<!ENTITY e "x">]><flow-definition>&e;</flow-definition>'))


def ungroovy(literal: str) -> str:
    """Read a single-quoted Groovy string as its lexer does; fails where the string ends before the end."""
    assert literal[0] == literal[-1] == "'"
    out, rest = [], literal[1:-1]
    while rest:
        character, rest = rest[0], rest[1:]
        assert character not in "'\n\r"
        if character == "\\":
            escaped, rest = rest[0], rest[1:]
            assert escaped in "\\'nrt"
            character = {"n": "\n", "r": "\r", "t": "\t"}.get(escaped, escaped)
        out.append(character)
    return "".join(out)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], include_characters="\n\r\t\\'$\""), max_size=100))
def test_a_literal_reads_back_as_what_it_was(text: str) -> None:
    assert ungroovy(pipeline.groovy_literal(text)) == text


@pytest.mark.parametrize("text", ["\0", "\x1b[0m", "\ud800", "\u2028"])
def test_a_literal_holds_no_control_character(text: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a Groovy string"):
        pipeline.groovy_literal(text)
