"""Hostile strings in every string field of every kind: refused, or stored as they are where free text belongs and does no harm.

One request per kind and string holds it in all fields at once; the answer names each field that refuses it. A second request holds it
in those that did not, and shows what would be stored.
"""

from __future__ import annotations

import copy
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract.crd_samples import SPECS, manifest
from tests.contract.kube_api import KubeApi

from vmscaler.api.crd import KINDS, schema_of

Path = tuple[str | int, ...]
SCHEMAS = {kind.KIND: schema_of(kind)["properties"]["spec"] for kind in KINDS}
ORDINARY = ("no", "1e3", "-1", "0", "NaN", "80%", "9223372036854775808", "x" * 300)
HOSTILE = (
    '<!DOCTYPE x[<!ENTITY e SYSTEM "file:///etc/passwd">]>&e;',
    "]]><script>x</script><![CDATA[",
    "a\x00b",
    "a\ud800b",
    '${"id".execute().text}',
    "'''+\"id\".execute()+'''",
    "$var",
    "ends with \\",
    "&a [*a,*a]",
    "<<: *x",
    "!!python/object/apply:os.system",
    "a: b\na: c",
    "- x\n- y",
    "\tx",
    'x"} or vector(1) #',
    '{{ query "up" }}',
    ".*",
    "[unclosed",
    "../../etc/cron.d/x",
    "a/../../b",
    "*.yml",
    ".hidden",
    "$(id)",
    ";id",
    "-oProxyCommand=id",
    "a\nb",
    "--",
    "a\r\nX-Evil: 1",
    "https://user:password@example.org/",
    "http://example.org/?a=b#c",
    "web\u202efdp",
    "w\u0435b",
    "e\u0301",
    "a\u200db",
    "\ufeffx",
    "a\u2028b",
    "\U0001f600",
    "a\x7fb\x9bc",
    "\U000e0041",
)
# Where people's own words, or other systems' own names, belong. Whoever uses them escapes them for where they go.
FREE = re.compile(
    r"displayName|description|versionNotes|expr|prometheusJob|matchLabels\[\w+\]|labels\[\w+\]|portGroup|datacenter|loginProvider"
    r"|checkConfigCommand\[0\]|checkRulesCommand\[0\]|inventoryPath|folders?(\[0\])?|resourcePool|datastore|customization|vmName"
    r"|cause\.\w+|build\.\w+|moRef|domain|healthCheckPath"
)
MACHINE_WRITTEN = {"VmInstance", "ScaleOutEvent", "ScaleInEvent"}


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        yield from leaves(value[0], (*path, 0))
    elif isinstance(value, str):
        yield path


def schema_leaves(schema: dict[str, Any], path: Path = ()) -> Iterator[tuple[str | int, ...]]:
    if schema["type"] == "object" and "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from schema_leaves(inner, (*path, name))
    elif schema["type"] == "array":
        yield from schema_leaves(schema["items"], (*path, 0))
    elif schema["type"] == "string" or "additionalProperties" in schema:
        yield path


def at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def put(spec: Any, path: Path, value: str) -> None:
    at(spec, path[:-1])[path[-1]] = value


def dotted(path: Path) -> str:
    """As the API server names it."""
    parents = ("", *path)
    return "spec" + "".join(
        f"[{part}]" if isinstance(part, int) or parent in ("matchLabels", "labels") else f".{part}"
        for parent, part in zip(parents, path, strict=False)
    )


def limit(kind: str, path: Path) -> int:
    schema = SCHEMAS[kind]
    for part in path:
        schema = schema["items"] if isinstance(part, int) else schema.get("properties", {}).get(part) or schema["additionalProperties"]
    # A word of a list or a date refuses everything at once, and then no rules are asked.
    return 0 if "enum" in schema or schema.get("format") == "date-time" else int(schema["maxLength"])


@pytest.mark.parametrize("kind", SPECS)
def test_the_samples_hold_every_string_field(kind: str) -> None:
    held = {path[: len(path)] for path in leaves(SPECS[kind])}
    held |= {path[:-1] for path in held}
    assert [dotted(path) for path in schema_leaves(SCHEMAS[kind]) if path not in held] == []


@pytest.mark.parametrize("kind", SPECS)
async def test_hostile_strings(api: KubeApi, namespace: str, kind: str) -> None:
    wrong: list[str] = []
    for text in HOSTILE:
        paths = [path for path in leaves(SPECS[kind]) if len(text) <= limit(kind, path)]
        everywhere = copy.deepcopy(SPECS[kind])
        for path in paths:
            put(everywhere, path, text)
        status, answer = await api.create(manifest(kind, everywhere, namespace))
        assert status == 422, (text, answer)
        assert "were not checked" not in answer["message"], answer["message"]
        refused = {cause["field"] for cause in answer["details"]["causes"]}
        taken = [path for path in paths if dotted(path) not in refused]
        wrong += [f"{text!r} is taken by {dotted(path)}" for path in taken if not may_hold(kind, path, text)]

        some = copy.deepcopy(SPECS[kind])
        for path in taken:
            put(some, path, text)
        status, answer = await api.create(manifest(kind, some, namespace))
        assert status == 201, (text, answer.get("message"))
        stored = text.replace("\ud800", "\ufffd")
        wrong += [f"{text!r} is changed by {dotted(path)}" for path in taken if at(answer["spec"], path) != stored]
    assert wrong == []


def may_hold(kind: str, path: Path, text: str) -> bool:
    """Free text may be anything that can be seen; what only the operator writes is its own words."""
    if kind in MACHINE_WRITTEN and FREE.search(dotted(path)):
        return True
    allowed = "\n\t" if path[-1] in ("versionNotes", "expr") else ""
    visible = not any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c not in allowed for c in text)
    return bool(FREE.search(dotted(path))) and path[-1] not in ("healthCheckPath", "domain") and visible


@pytest.mark.parametrize("text", ORDINARY)
async def test_ordinary_words_stay_strings(api: KubeApi, namespace: str, text: str) -> None:
    spec = copy.deepcopy(SPECS["VmTemplate"])
    spec["versionNotes"] = text
    status, answer = await api.create(manifest("VmTemplate", spec, namespace))
    assert status == 201 and answer["spec"]["versionNotes"] == text


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("value", [-1, 1e308, 2**63, "80%", 1.5, None, True, [], {}], ids=str)
async def test_odd_numbers(api: KubeApi, namespace: str, kind: str, value: Any) -> None:
    for path in number_leaves(SPECS[kind]):
        spec = copy.deepcopy(SPECS[kind])
        at(spec, path[:-1])[path[-1]] = value
        status, answer = await api.create(manifest(kind, spec, namespace))
        if value is None and status == 201:
            # A null is an absent field: its default comes in.
            assert at(answer["spec"], path[:-1]).get(path[-1]) is not None or path[-1] in OPTIONAL_NUMBERS, dotted(path)
        else:
            assert status in (400, 422), (dotted(path), value, answer)


OPTIONAL_NUMBERS = ("memoryThreshold", "vipPort", "memberPort", "vlan", "port", "maxInstances")


def number_leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from number_leaves(inner, (*path, key))
    elif isinstance(value, list):
        if isinstance(value[0], dict):
            yield from number_leaves(value[0], (*path, 0))
    elif isinstance(value, int) and not isinstance(value, bool):
        yield path


async def test_too_much(api: KubeApi, namespace: str) -> None:
    for where, value in (("sharedWith", ["a"] * 10_000), ("description", "x" * 1_000_000)):
        spec = {**SPECS["VmTemplate"], where: value}
        status, answer = await api.create(manifest("VmTemplate", spec, namespace))
        assert status == 422, answer
    for where in ("sharedWith", "description", "unknown"):
        spec = {**SPECS["VmTemplate"], where: "NESTED"}
        status, answer = await api.create(manifest("VmTemplate", spec, namespace), insert={'"NESTED"': "[" * 1000 + "]" * 1000})
        assert status in (400, 422), answer
