"""The CRD generator: crds/ is fresh, every schema is structural and bounded, and what a model must not say is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import ConfigDict, Field, StringConstraints
from ruamel.yaml import YAML
from tests.contract.crd_samples import SPECS, manifest

from vmscaler.api import crd
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy, Monitoring
from vmscaler.api.cel import VALIDATIONS, ListKey, Rule, Says, literal, rules
from vmscaler.api.crd import KINDS, SchemaError, main, render, schema_of
from vmscaler.api.meta import Condition, Json, Model, PolicyRef, Resource, Word
from vmscaler.api.policystatus import Instances
from vmscaler.api.site import Site

CRDS = Path(__file__).resolve().parents[2] / "crds"


def test_crds_are_fresh() -> None:
    assert main(["--check", str(CRDS)]) == 0, "run `make generate` and commit"


def test_check_names_what_differs_and_generate_mends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    (tmp_path / "site.yaml").write_text("changed")
    (tmp_path / "iplease.yaml").unlink()
    (tmp_path / "old.yaml").write_text("")
    assert main(["--check", str(tmp_path)]) == 1
    assert "iplease.yaml, old.yaml, site.yaml" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == render()


def nodes(schema: Json, path: str = "", *, in_list: bool = False) -> Iterator[tuple[str, Json, bool]]:
    yield path, schema, in_list
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}", in_list=in_list)
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}[]", in_list=True)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_schemas_are_structural_and_bounded(kind: type[Resource[Any, Any]]) -> None:
    schema = schema_of(kind)
    assert schema["properties"]["metadata"] == {"type": "object"}
    for part in ("spec", "status"):
        for path, node, in_list in nodes(schema["properties"][part], part):
            assert not {"title", "$ref", "anyOf", "allOf", "oneOf", "nullable"} & set(node), path
            assert node["type"] in ("object", "array", "string", "integer", "boolean"), path
            bound = {"string": "maxLength", "array": "maxItems", "integer": "maximum"}.get(node["type"])
            assert bound is None or bound in node or "enum" in node, path
            assert "default" not in node or (part == "spec" and not in_list), path
            for rule in node.get(VALIDATIONS, []):
                assert len(rule["message"]) > 20, path


def test_every_kind_says_what_it_is() -> None:
    for kind in KINDS:
        whole = crd.crd(kind)["spec"]
        assert whole["names"]["categories"] == ["vmscaler"]
        version = whole["versions"][0]
        assert version["subresources"] == {"status": {}}
        assert version["schema"]["openAPIV3Schema"]["description"]
        assert [column["name"] for column in version["additionalPrinterColumns"]][-1] == "Age"


def test_what_yaml_1_1_reads_as_a_boolean_is_quoted() -> None:
    assert '- "Off"' in render()["autoscalingpolicy.yaml"]
    old = YAML(typ="safe", pure=True)
    old.version = (1, 1)  # type: ignore[assignment]
    text = render()["autoscalingpolicy.yaml"]
    assert old.load(text) == YAML(typ="safe", pure=True).load(text)


def test_an_object_s_default_leaves_out_what_its_fields_say() -> None:
    spec = schema_of(AutoscalingPolicy)["properties"]["spec"]["properties"]
    assert spec["siteRef"]["default"] == {"name": "default"}
    assert spec["timeouts"]["default"] == {} and spec["timeouts"]["properties"]["clone"]["default"] == "30m"
    assert "default" not in spec["placement"], "nothing inside has a default"


def kind_of(spec_model: type[Model], status_model: type[Model] = Model) -> type[Resource[Any, Any]]:
    class Thing(Resource[spec_model, status_model]):  # type: ignore[valid-type]
        """A thing."""

        KIND: ClassVar[str] = "Thing"
        PLURAL: ClassVar[str] = "things"
        SHORT: ClassVar[str] = "th"
        NAMESPACED: ClassVar[bool] = True

    return Thing


class Empty(Model):
    at: Annotated[str, Field(max_length=1)] = ""


class NoLength(Model):
    name: str


class NoItems(Model):
    names: list[Word]


class NoItemLength(Model):
    names: Annotated[list[str], Field(max_length=3)]


class NoBounds(Model):
    number: int


class NoKeys(Model):
    labels: dict[str, Word]


class Union(Model):
    value: Word | bool


class KeyPattern(Model):
    labels: Annotated[dict[Annotated[str, StringConstraints(pattern="^a$", max_length=3)], Word], Field(max_length=3)]


class Exclusive(Model):
    number: Annotated[int, Field(gt=0, lt=3)]


class Anything(Model):
    value: Any


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (NoLength, "spec.name: a string needs a maximum length"),
        (NoItems, "spec.names: a list needs a maximum number of items"),
        (NoItemLength, r"spec.names\[\]: a string needs a maximum length"),
        (NoBounds, "spec.number: a number needs a minimum and a maximum"),
        (NoKeys, "spec.labels: a map needs a maximum number of keys"),
        (Union, "spec.value: a structural schema knows no unions"),
        (KeyPattern, "spec.labels: the keys' pattern needs a Rule"),
        (Exclusive, "spec.number: a CRD has no exclusiveM"),
        (Anything, "spec.value: no type"),
    ],
)
def test_what_a_model_must_not_say(model: type[Model], says: str) -> None:
    with pytest.raises(SchemaError, match=says):
        schema_of(kind_of(model, Empty))
    with pytest.raises(SchemaError, match=says.replace("spec", "status")):
        schema_of(kind_of(Empty, model))


def test_an_empty_status_must_be_valid() -> None:
    class Status(Model):
        phase: Word

    with pytest.raises(SchemaError, match="an empty status must be valid"):
        schema_of(kind_of(Empty, Status))


def test_rules_of_type_field_and_model_are_all_kept() -> None:
    class Inner(Model):
        model_config = ConfigDict(json_schema_extra=rules(Rule("self.a != 'x'", "do not write x")))
        a: Annotated[
            str, StringConstraints(pattern="^[a-z']+$", max_length=9), Says("write letters"), Rule("self != 'y'", "do not write y")
        ]

    class Spec(Model):
        inner: Annotated[Inner, Rule("self == oldSelf", "do not change it")]
        many: Annotated[list[Inner], Field(max_length=3), ListKey("a")] = []

    spec = schema_of(kind_of(Spec, Empty))["properties"]["spec"]["properties"]
    assert [rule["message"] for rule in spec["inner"][VALIDATIONS]] == ["do not write x", "do not change it"]
    inner = spec["inner"]["properties"]["a"]
    assert inner[VALIDATIONS][0] == {"rule": 'self.matches(r"^[a-z\']+$")', "message": "write letters"} and "pattern" not in inner
    assert inner[VALIDATIONS][1]["message"] == "do not write y"
    assert spec["many"]["x-kubernetes-list-map-keys"] == ["a"]


def test_no_literal_for_both_quotes() -> None:
    with pytest.raises(ValueError, match="no raw CEL literal"):
        literal("'\"")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_the_models_read_and_write_the_complete_samples(kind: type[Resource[Any, Any]]) -> None:
    spec = SPECS[kind.KIND]
    parsed = kind.parse(manifest(kind.KIND, spec, "acme"))
    assert parsed.spec.model_dump(mode="json", by_alias=True, exclude_none=True) == spec


def test_zero_means_no_threshold() -> None:
    read = Monitoring.model_validate({"prometheusJob": "x", "cpuThreshold": 0, "memoryThreshold": 0})
    assert (read.cpu_threshold, read.memory_threshold) == (None, None)
    assert Monitoring.model_validate({"prometheusJob": "x"}).cpu_threshold == 80


def test_a_status_is_cut_not_refused() -> None:
    now = datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)
    condition = Condition(type="Ready", status="False", reason="X", message="m" * 9999, last_transition_time=now)
    assert len(condition.message) == 2048 and condition.message.endswith("…")
    assert condition.wire()["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert len(Instances(names=[str(number) for number in range(5000)]).names) == 1000
    with pytest.raises(ValueError, match="should match pattern"):
        PolicyRef(namespace="a b", name="x", uid="1")


@pytest.mark.parametrize("kind", KINDS[:3], ids=lambda kind: kind.KIND)
def test_what_people_write_is_explained(kind: type[Resource[Any, Any]]) -> None:
    whole = schema_of(kind)["properties"]["spec"]
    unsaid = [path for path, node, _ in nodes(whole, "spec") if "description" not in node and not path.endswith("[]")]
    assert unsaid == [], "give the field a description: kubectl explain shows it"


def test_kubectl_explain_tells_defaults_in_words() -> None:
    whole = crd.crd(AutoscalingPolicy)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert whole["scaling"]["properties"]["cooldownPeriod"]["description"].endswith(" Default: 300s.")
    assert whole["mode"]["description"].endswith(" Default: Active.")
    assert "Default" not in whole["scaling"]["properties"]["maxInstances"]["description"]  # has none
    site = crd.crd(Site)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert site["addressProbes"]["properties"]["tcpPorts"]["description"].endswith(" Default: 22, 80, 443, 3389.")
