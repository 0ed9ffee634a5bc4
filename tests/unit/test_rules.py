from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from ruamel.yaml import YAML
from tests.fakes.policies import instance, policy

from vmscaler.decide.promql import cpu_expression, memory_expression, reserved_labels
from vmscaler.decide.rules import CONTENT_ANNOTATION, figures, rule_document, template_literal
from vmscaler.decide.targets import target_groups
from vmscaler.decide.yaml_text import text

HOSTILE = ['x"} or vector(1) #', "back\\slash\\", "new\nline", '{{ query "up" }}', "web\u202efdp", ".*", "é🙂"]


@pytest.mark.parametrize(
    ("name", "monitoring"),
    [
        ("node", {"matchLabels": {"env": "production"}, "memoryThreshold": 90, "duration": "1.5m"}),
        ("windows", {"exporter": "Windows", "memoryThreshold": 75, "window": "2m"}),
        ("hostile", {"prometheusJob": HOSTILE[0], "past_the_api": {f"l{i}": value for i, value in enumerate(HOSTILE)}}),
    ],
)
def test_rule_files_as_they_are_written(name: str, monitoring: dict[str, object], golden: Callable[[str, str], None]) -> None:
    shown = {"name": "web", "displayName": '{{ query "up" }} {{{'} if name == "hostile" else None
    document = rule_document(
        policy(service=shown, **monitoring), site_name="default", evaluation_interval="15s" if name == "node" else None
    )
    golden(f"monitoring/want/rules-{name}.yml", text(document))
    assert YAML(typ="safe", pure=True).load(text(document)) == document


def test_the_rule_carries_who_it_is_for() -> None:
    [group] = rule_document(policy(), site_name="berlin")["groups"]
    [rule] = group["rules"]
    assert group["name"] == "vmscaler/acme/web"
    assert rule["alert"] == "VmscalerHighCpu"
    assert rule["labels"] == {"vmscaler_policy": "acme/web", "vmscaler_site": "berlin", "service": "web", "customer": "acme"}
    assert (rule["for"], rule["annotations"]["threshold"]) == ("300s", "80")


def test_the_content_annotation_changes_with_the_content_only() -> None:
    def content(**monitoring: object) -> str:
        return str(rule_document(policy(**monitoring), site_name="default")["groups"][0]["rules"][0]["annotations"][CONTENT_ANNOTATION])

    assert content() == content()
    assert len({content(), content(cpuThreshold=81), content(duration="6m"), content(matchLabels={"a": "b"})}) == 4


def test_no_threshold_no_rule() -> None:
    [group] = rule_document(policy(cpuThreshold=None), site_name="default")["groups"]
    assert group["rules"] == []


@pytest.mark.parametrize("thresholds", [{}, {"memoryThreshold": 90}, {"memoryThreshold": 90, "cpuThreshold": None}, {"cpuThreshold": None}])
def test_the_figures_are_what_the_rules_compare(thresholds: dict[str, object]) -> None:
    one = policy(**thresholds)
    [group] = rule_document(one, site_name="default")["groups"]
    assert figures(one) == [rule["expr"].rpartition(" > ")[0] for rule in group["rules"]]


def test_expressions_select_the_job_and_the_labels() -> None:
    monitoring = policy(matchLabels={"b": '2"', "a": "1\\"}).spec.monitoring
    assert cpu_expression(monitoring, "acme") == (
        'avg(100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{job="acme-web",a="1\\\\",b="2\\"",mode="idle",vmscaler_policy=~"|acme/.+"}[120s]))))'
    )
    assert (
        'node_memory_MemAvailable_bytes{job="acme-web",a="1\\\\",b="2\\"",vmscaler_policy=~"|acme/.+"} / node_memory_MemTotal_bytes{'
        in (memory_expression(monitoring, "acme"))
    )


def test_labels_that_would_steer_the_scrape_are_refused() -> None:
    labels = {"__address__": "198.51.100.1:80", "job": "x", "instance": "y", "vmscaler_policy": "other/web", "env": "production"}
    assert reserved_labels(labels) == ["__address__", "instance", "job", "vmscaler_policy"]
    with pytest.raises(ValueError, match="must not hold __address__, instance, job, vmscaler_policy"):
        rule_document(policy(past_the_api=labels), site_name="default")
    with pytest.raises(ValueError, match="must not hold"):
        target_groups([instance("a", "192.0.2.100", labels=labels)])


def test_templates_are_text() -> None:
    assert template_literal('a {{ query "up" }} {{{ }}') == 'a {{"{{"}} query "up" }} {{"{{"}}{ }}'


def test_target_groups_of_instances_with_an_address(golden: Callable[[str, str], None]) -> None:
    groups = target_groups(
        [
            instance("web-2", "192.0.2.101", labels={"env": "production", "service": "shop"}),
            instance("web-3", None),
            instance("web-1", "192.0.2.100", labels={"env": "production"}, port=9182),
        ]
    )
    golden("monitoring/want/targets.json", json.dumps(groups, indent=2) + "\n")
