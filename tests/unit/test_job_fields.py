"""Drift: what Jenkins rewrites is no difference, what a person changes is, by name. Held against texts that a real Jenkins stored."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.fakes.job_inputs import INPUTS

from vmscaler.decide import job, xmltext
from vmscaler.decide.job_fields import GENERIC_TRIGGER, GWT, PROPERTIES, TRIGGERS, managed_fields

PROVEN = Path(__file__).resolve().parents[3] / "shared" / "recordings" / "jenkins" / "proven"


@pytest.fixture(name="proven")
def recorded() -> tuple[str, str]:
    if not PROVEN.is_dir():
        pytest.skip("the recordings of a real Jenkins are not beside this checkout (../shared)")
    return (PROVEN / "config.xml").read_text(), (PROVEN / "config-after-builds.xml").read_text()


def test_what_a_real_jenkins_makes_of_a_job_is_no_drift(proven: tuple[str, str]) -> None:
    sent, stored = proven
    assert job.differs(sent, stored) == []
    assert job.job_hash(sent) == job.job_hash(stored)


def test_our_job_stays_close_to_the_proven_one(proven: tuple[str, str]) -> None:
    assert job.differs(proven[0], job.job_config(INPUTS)) == [
        "definition.script",
        "description",
        "trigger.causeString",
        "trigger.tokenCredentialId",
        "trigger.variable.am_customer",
        "trigger.variable.am_service",
    ]


def rewritten(text: str) -> str:
    """As Jenkins saves it: declaration, plugin attributes, actions, fields in another order, false booleans left out, entities."""
    root = xmltext.parse(text)
    for element in root.iter():
        if "." in element.tag:
            element.set("plugin", "x@1.2")
        for child in list(element):
            if child.text == "false" or (not len(child) and not child.text and not child.attrib):
                element.remove(child)
        element[:] = list(reversed(list(element)))
    root.insert(0, root.makeelement("actions", {}))
    body = xmltext.render(root).split("\n", 1)[1]
    return "<?xml version='1.1' encoding='UTF-8'?>\n" + body.replace("'$", "&apos;$")


def test_a_rewriting_as_jenkins_does_it_is_no_drift() -> None:
    wanted = job.job_config(INPUTS)
    assert rewritten(wanted) != wanted
    assert job.differs(wanted, rewritten(wanted)) == []
    assert job.job_hash(wanted) == job.job_hash(rewritten(wanted))


@pytest.mark.parametrize(
    ("path", "text", "field"),
    [
        ("description", "mine now", "description"),
        ("disabled", "true", "disabled"),
        ("quietPeriod", "5", "quietPeriod"),
        ("definition/script", "pipeline { agent any }", "definition.script"),
        ("definition/sandbox", "false", "definition.sandbox"),
        (f"{GENERIC_TRIGGER}/token", "plain-sample-token", "trigger.token"),
        (f"{GENERIC_TRIGGER}/tokenCredentialId", "", "trigger.tokenCredentialId"),
        (f"{GENERIC_TRIGGER}/regexpFilterExpression", ".*", "trigger.regexpFilterExpression"),
        (f"{GENERIC_TRIGGER}/allowSeveralTriggersPerBuild", "true", "trigger.allowSeveralTriggersPerBuild"),
        (f"{GENERIC_TRIGGER}/genericVariables/{GWT}GenericVariable[1]/value", "$.x", "trigger.variable.am_status"),
        (
            f"properties/{PROPERTIES}DisableConcurrentBuildsJobProperty/abortPrevious",
            "true",
            "concurrentBuilds.abortPrevious",
        ),
        ("properties/jenkins.model.BuildDiscarderProperty/strategy/numToKeep", "1", "buildDiscarder.numToKeep"),
    ],
)
def test_a_changed_field_is_named(path: str, text: str, field: str) -> None:
    wanted = job.job_config(INPUTS)
    root = xmltext.parse(wanted)
    xmltext.only(root, path).text = text
    assert job.differs(wanted, xmltext.render(root)) == [field]


def test_what_is_added_or_taken_away_is_named() -> None:
    wanted = job.job_config(INPUTS)
    root = xmltext.parse(wanted)
    triggers = xmltext.only(root, TRIGGERS)
    triggers.append(triggers.makeelement("hudson.triggers.TimerTrigger", {}))
    assert job.differs(wanted, xmltext.render(root)) == ["triggers"]

    root = xmltext.parse(wanted)
    properties = xmltext.only(root, "properties")
    properties.remove(xmltext.only(properties, f"{PROPERTIES}DisableConcurrentBuildsJobProperty"))
    assert job.differs(wanted, xmltext.render(root)) == ["concurrentBuilds"]

    root = xmltext.parse(wanted)
    variables = xmltext.only(root, f"{GENERIC_TRIGGER}/genericVariables")
    variables.append(variables[0])
    assert job.differs(wanted, xmltext.render(root)) == ["trigger.variable.am_status+"]


@pytest.mark.parametrize(("holder", "kind"), [("genericRequestVariables", "Request"), ("genericHeaderVariables", "Header")])
def test_a_variable_from_the_hooks_url_or_headers_is_named(holder: str, kind: str) -> None:
    """Whoever calls the hook would choose it; Jenkins writes them as a list of their own."""
    wanted = job.job_config(INPUTS)
    root = xmltext.parse(wanted)
    trigger = xmltext.only(root, GENERIC_TRIGGER)
    variables = trigger.makeelement(holder, {})
    variable = variables.makeelement(f"{GWT}Generic{kind}Variable", {})
    key = variable.makeelement("key", {})
    key.text = "PATH"
    variable.append(key)
    variables.append(variable)
    trigger.append(variables)
    assert job.differs(wanted, xmltext.render(root)) == [f"trigger.{kind.lower()}Variable.PATH"]


def test_a_job_that_may_not_resume_is_named() -> None:
    """A tick in the job's page: after a restart of Jenkins the build would end without its post section, and its event would run for ever."""
    wanted = job.job_config(INPUTS)
    root = xmltext.parse(wanted)
    properties = xmltext.only(root, "properties")
    properties.append(properties.makeelement(f"{PROPERTIES}DisableResumeJobProperty", {}))
    assert job.differs(wanted, xmltext.render(root)) == ["resume"]


def test_a_carriage_return_of_an_editors_is_no_drift() -> None:
    wanted = job.job_config(INPUTS)
    script = xmltext.parse(wanted).findtext("definition/script") or ""
    root = xmltext.parse(wanted)
    xmltext.only(root, "definition/script").text = "SCRIPT"
    stored = xmltext.render(root).replace("SCRIPT", "")
    assert "\n" in script
    body = script.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "&#13;&#10;")
    stored = stored.replace("<script></script>", f"<script>{body}</script>").replace("<script />", f"<script>{body}</script>")
    assert job.differs(wanted, stored) == []


def test_what_a_person_may_add_is_none_of_our_business() -> None:
    wanted = job.job_config(INPUTS)
    root = xmltext.parse(wanted)
    properties = xmltext.only(root, "properties")
    properties.append(properties.makeelement("com.example.CostCentreProperty", {}))
    assert job.differs(wanted, xmltext.render(root)) == []


@pytest.mark.parametrize("actual", ["", "not xml", "<flow-definition>", '<!DOCTYPE x [<!ENTITY e "x">]><flow-definition/>'])
def test_an_unreadable_job_differs_as_a_whole(actual: str) -> None:
    assert job.differs(job.job_config(INPUTS), actual) == ["config.xml"]
    with pytest.raises(ValueError, match=r"XML|document type"):
        managed_fields(actual)


def test_text_that_xml_cannot_hold_is_refused() -> None:
    root = xmltext.parse("<a/>")
    for bad in ("\0", "\x0b", "\ud800", "\ufffe", "\x85"):
        root.text = f"x{bad}"
        with pytest.raises(ValueError, match="cannot stand in XML"):
            xmltext.render(root)


def test_a_foreign_description_has_no_owner() -> None:
    assert job.owner("build of the shop") is None
    assert job.owner("") is None
    assert job.owner(managed_fields(job.job_config(dataclasses.replace(INPUTS, display_name="")))["description"]) is not None
