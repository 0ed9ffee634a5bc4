"""config.xml as Jenkins keeps it: your text through an XML transform, then XStream's own text at the next save (facts/jenkins.md "config.xml").

`stored` is the first, `saved` the second. Both are measured (recordings/jenkins/02, 05, 06, 07; proven/config-after-builds.xml); classes that this
Jenkins does not know are accepted, and left out at the next save.
"""

from __future__ import annotations

import base64
import hashlib
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

ROOT = "flow-definition"
WORKFLOW_JOB = "workflow-job@1498.v33a_0c6f3a_4b_4"
WORKFLOW_CPS = "workflow-cps@4014.vcd7dc51d8b_30"
MODEL_DEFINITION = "pipeline-model-definition@2.2221.vc657003fb_d93"
GWT = "generic-webhook-trigger@2.4.1"
CPS_DEFINITION = "org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition"
DISABLE_CONCURRENT = "org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty"
TRIGGERS = "org.jenkinsci.plugins.workflow.job.properties.PipelineTriggersJobProperty"
GENERIC_TRIGGER = "org.jenkinsci.plugins.gwt.GenericTrigger"
PARAMETERS = "hudson.model.ParametersDefinitionProperty"
DISCARDER = "jenkins.model.BuildDiscarderProperty"
_ACTION = "org.jenkinsci.plugins.pipeline.modeldefinition.actions."

# Fields of the trigger in the order in which they are saved; a default means that the field is always there.
_TRIGGER_FIELDS: tuple[tuple[str, str | None], ...] = (
    ("spec", None),
    ("genericVariables", None),
    ("regexpFilterText", None),
    ("regexpFilterExpression", None),
    ("genericRequestVariables", None),
    ("genericHeaderVariables", None),
    ("printPostContent", "false"),
    ("printContributedVariables", "false"),
    ("causeString", None),
    ("token", None),
    ("tokenCredentialId", None),
    ("silentResponse", "false"),
    ("overrideQuietPeriod", "false"),
    ("shouldNotFlattern", "false"),
    ("allowSeveralTriggersPerBuild", "false"),
)


class ConfigError(ValueError):
    """Not XML, or the root element of another class: Jenkins answers 500."""


@dataclass(frozen=True)
class Parameter:
    """A declared build parameter; `kind` is String, Boolean or Password."""

    kind: str
    name: str
    default: str = ""
    description: str | None = None


@dataclass
class Declared:
    """What declarative remembers at the job after a build."""

    parameters: list[Parameter] = field(default_factory=list)


def parse(text: str) -> ET.Element:
    """The root element. Raises ConfigError."""
    try:
        root = ET.fromstring(text.encode())
    except (ET.ParseError, ValueError) as error:
        raise ConfigError(str(error)) from error
    if root.tag != ROOT:
        raise ConfigError(f"root element {root.tag}")
    return root


def stored(text: str) -> str:
    """The text after createItem or POST config.xml: a new first line, `<a></a>` as `<a/>`, nothing else. Raises ConfigError."""
    parse(text)
    out: list[str] = []
    is_open = False

    def close_tag() -> None:
        nonlocal is_open
        if is_open:
            out.append(">")
            is_open = False

    def start(name: str, attributes: list[str]) -> None:
        nonlocal is_open
        close_tag()
        pairs = zip(attributes[::2], attributes[1::2], strict=True)
        out.append("<" + name + "".join(f" {key}={quoteattr(value)}" for key, value in pairs))
        is_open = True

    def end(name: str) -> None:
        nonlocal is_open
        out.append("/>" if is_open else f"</{name}>")
        is_open = False

    def characters(content: str) -> None:
        close_tag()
        out.append(escape(content).replace("\r", "&#13;"))

    def comment(content: str) -> None:
        close_tag()
        out.append(f"<!--{content}-->")

    parser = expat.ParserCreate()
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.CommentHandler = comment
    parser.Parse(text.encode(), True)
    return '<?xml version="1.1" encoding="UTF-8"?>' + "".join(out)


def _quoted(text: str) -> str:
    return escape(text, {'"': "&quot;", "'": "&apos;", "\r": "&#xd;"})


def encrypted(secret: str) -> str:
    """How a saved password looks; nothing here can read it back."""
    return "{AQAA" + base64.b64encode(hashlib.sha256(secret.encode()).digest()).decode() + "}"


def _leaf(name: str, text: str, depth: int) -> str:
    return f"{'  ' * depth}<{name}>{_quoted(text)}</{name}>"


def _copy(element: ET.Element, depth: int, plugin: str | None = None) -> list[str]:
    """An element as XStream writes it: two blanks a level, strings in full, empty collections short."""
    pad = "  " * depth
    mark = f" plugin={quoteattr(plugin)}" if plugin else ""
    keep = "".join(f" {key}={quoteattr(value)}" for key, value in element.attrib.items() if key != "plugin")
    if len(element):
        lines = [line for child in element for line in _copy(child, depth + 1)]
        return [f"{pad}<{element.tag}{keep}{mark}>", *lines, f"{pad}</{element.tag}>"]
    return [f"{pad}<{element.tag}{keep}{mark}>{_quoted(element.text or '')}</{element.tag}>"]


def saved(root: ET.Element, declared: Declared | None) -> str:
    """The text after Jenkins saved the job itself; `declared` after its first declarative build."""
    lines = ["<?xml version='1.1' encoding='UTF-8'?>", f'<{ROOT} plugin="{WORKFLOW_JOB}">']
    lines += _actions(declared)
    for name in ("description", "keepDependencies"):
        if (element := root.find(name)) is not None:
            lines.append(_leaf(name, element.text or "", 1))
    lines += _properties(root, declared)
    definition = root.find("definition")
    if definition is not None and definition.get("class") == CPS_DEFINITION:
        lines.append(f'  <definition class="{CPS_DEFINITION}" plugin="{WORKFLOW_CPS}">')
        lines += [_leaf(c.tag, c.text or "", 2) for c in definition if c.tag in ("script", "sandbox")]
        lines.append("  </definition>")
    lines.append("  <triggers/>")
    if (quiet := root.findtext("quietPeriod")) is not None:
        lines.append(_leaf("quietPeriod", quiet, 1))
    lines.append(_leaf("disabled", root.findtext("disabled") or "false", 1))
    return "\n".join([*lines, f"</{ROOT}>"])


def _actions(declared: Declared | None) -> list[str]:
    if declared is None:
        return ["  <actions/>"]
    mark = f' plugin="{MODEL_DEFINITION}"'
    tracker = f"{_ACTION}DeclarativeJobPropertyTrackerAction"
    names = [_leaf("string", p.name, 4) for p in declared.parameters]
    parameters = ["      <parameters>", *names, "      </parameters>"] if names else ["      <parameters/>"]
    return [
        "  <actions>",
        f"    <{_ACTION}DeclarativeJobAction{mark}/>",
        f"    <{tracker}{mark}>",
        "      <jobProperties/>",
        "      <triggers/>",
        *parameters,
        "      <options/>",
        f"    </{tracker}>",
        "  </actions>",
    ]


def _properties(root: ET.Element, declared: Declared | None) -> list[str]:
    lines: list[str] = []
    for element in root.find("properties") if root.find("properties") is not None else ():  # type: ignore[union-attr]
        if element.tag == DISCARDER:
            strategy = element.find("strategy")
            if strategy is not None and strategy.find("removeLastBuild") is None:
                ET.SubElement(strategy, "removeLastBuild").text = "false"
            lines += _copy(element, 2)
        elif element.tag == DISABLE_CONCURRENT:
            abort = element.findtext("abortPrevious") or "false"
            lines += [f"    <{element.tag}>", _leaf("abortPrevious", abort, 3), f"    </{element.tag}>"]
        elif element.tag == TRIGGERS:
            lines += [f"    <{TRIGGERS}>", "      <triggers>"]
            for trigger in element.iterfind(f"triggers/{GENERIC_TRIGGER}"):
                lines += _trigger(trigger)
            lines += ["      </triggers>", f"    </{TRIGGERS}>"]
        elif element.tag == PARAMETERS and not (declared and declared.parameters):
            lines += _copy(element, 2)
    if declared and declared.parameters:
        lines += [f"    <{PARAMETERS}>", "      <parameterDefinitions>"]
        for p in declared.parameters:
            kind = f"hudson.model.{p.kind}ParameterDefinition"
            lines += [f"        <{kind}>", _leaf("name", p.name, 5)]
            lines += [_leaf("description", p.description, 5)] if p.description else []
            lines += [_leaf("defaultValue", encrypted(p.default) if p.kind == "Password" else p.default, 5)]
            lines += [_leaf("trim", "false", 5)] if p.kind == "String" else []
            lines += [f"        </{kind}>"]
        lines += ["      </parameterDefinitions>", f"    </{PARAMETERS}>"]
    return ["  <properties>", *lines, "  </properties>"] if lines else ["  <properties/>"]


def _trigger(trigger: ET.Element) -> list[str]:
    lines = [f'        <{GENERIC_TRIGGER} plugin="{GWT}">']
    for name, default in _TRIGGER_FIELDS:
        element = trigger.find(name)
        if element is not None and name.startswith("generic") and not len(element):
            lines.append(f"          <{name}/>")
        elif element is not None:
            lines += _copy(element, 5)
        elif default is not None:
            lines.append(_leaf(name, default, 5))
    return [*lines, f"        </{GENERIC_TRIGGER}>"]
