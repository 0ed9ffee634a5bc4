"""What of a Jenkins job is ours, and how two configurations are compared.

Called by `job`, and by the reconcile to find drift. Jenkins rewrites what it stores (facts/jenkins.md config.xml): `plugin=` attributes,
actions, the order of fields, empty elements and false booleans come and go. So never the text is compared, only these fields.
"""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping

from vmscaler.decide import xmltext

PROPERTIES = "org.jenkinsci.plugins.workflow.job.properties."
TRIGGERS = f"properties/{PROPERTIES}PipelineTriggersJobProperty/triggers"
GWT = "org.jenkinsci.plugins.gwt."
GENERIC_TRIGGER = f"{TRIGGERS}/{GWT}GenericTrigger"

DESCRIPTION = "description"
DISABLED = "disabled"
UNREADABLE = "config.xml"
"""What `differs` names when the actual text cannot be read at all."""

_LISTS = {
    "genericVariables": "variable",
    "genericRequestVariables": "requestVariable",
    "genericHeaderVariables": "headerVariable",
}
# Defaults that Jenkins leaves out or writes as it likes.
_DEFAULTS = ("", "false")


def _text(element: ET.Element | None) -> str:
    # Line ends as XML 1.0 reads them; the end of a text is what editors and transforms touch first.
    return ("" if element is None else element.text or "").replace("\r\n", "\n").strip()


def _trigger(trigger: ET.Element) -> dict[str, str]:
    fields: dict[str, str] = {}
    for child in trigger:
        kind = _LISTS.get(child.tag)
        if kind is None:
            fields[child.tag] = _text(child)
            continue
        for variable in child:
            parts = {part.tag: _text(part) for part in variable if _text(part)}
            name = f"{kind}.{parts.pop('key', '')}"
            while name in fields:
                name += "+"
            fields[name] = json.dumps(parts, sort_keys=True)
    return fields


def managed_fields(xml: str) -> Mapping[str, str]:
    """Our part of a job's configuration, field by field; what is empty or false is left out. Raises ValueError on unreadable XML."""
    root = xmltext.parse(xml)
    fields: dict[str, str] = {tag: _text(root.find(tag)) for tag in (DESCRIPTION, DISABLED, "quietPeriod")}
    concurrent = root.find(f"properties/{PROPERTIES}DisableConcurrentBuildsJobProperty")
    fields["concurrentBuilds"] = "allowed" if concurrent is None else ""
    fields["concurrentBuilds.abortPrevious"] = "" if concurrent is None else _text(concurrent.find("abortPrevious"))
    # Without resuming, a restart of Jenkins leaves no post section and an orphaned shell (facts/jenkins.md Restarts 1).
    fields["resume"] = "" if root.find(f"properties/{PROPERTIES}DisableResumeJobProperty") is None else "disabled"
    for tag in ("daysToKeep", "numToKeep"):
        fields[f"buildDiscarder.{tag}"] = _text(root.find(f"properties/jenkins.model.BuildDiscarderProperty/strategy/{tag}"))
    definition = root.find("definition")
    fields["definition"] = "" if definition is None else definition.get("class", "")
    for tag in ("script", "sandbox"):
        fields[f"definition.{tag}"] = _text(root.find(f"definition/{tag}"))
    holders = [*root.findall(TRIGGERS), *root.findall("triggers")]
    fields["triggers"] = " ".join(sorted(trigger.tag for holder in holders for trigger in holder))
    for trigger in root.findall(GENERIC_TRIGGER):
        fields.update({f"trigger.{name}": value for name, value in _trigger(trigger).items()})
    return {name: value for name, value in fields.items() if value not in _DEFAULTS}


def job_hash(xml: str) -> str:
    """sha256 (64 hex digits) over the managed fields but the description, which holds it, and `disabled`, which has a call of its own.

    The same for what we send and for what Jenkins makes of it. Raises ValueError on unreadable XML.
    """
    fields = {name: value for name, value in managed_fields(xml).items() if name not in (DESCRIPTION, DISABLED)}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def differs(wanted_xml: str, actual_xml: str) -> list[str]:
    """Names of the managed fields that differ, sorted; `config.xml` alone where the actual text cannot be read. Raises ValueError on unreadable wanted XML."""
    wanted = managed_fields(wanted_xml)
    try:
        actual = managed_fields(actual_xml)
    except ValueError:
        return [UNREADABLE]
    return sorted(name for name in wanted.keys() | actual.keys() if wanted.get(name) != actual.get(name))
